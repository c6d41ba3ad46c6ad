"""What a forecast is worth, on arrays small enough to compute by hand: errors, naive forecasts, skill, intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tqs.building import figures
from edge_tqs.building.evaluate import Evaluation, mse_vs_truth, point_outputs
from edge_tqs.building.intervals import interval, resampled
from edge_tqs.building.naive import Naive, naive_forecasts, season_of
from edge_tqs.graph.graph import Forecast, Output, Scaling
from edge_tqs.graph.rollout import Rollout
from edge_tqs.project.rollouts import ProjectData, cut, evaluation_origins
from edge_tqs.project.series import Series
from edge_tqs.report.figure_table import figure_cells
from edge_tqs.report.figures import FigureRow, Figures

HOUR = 3600 * 10**9


def loop(**said: Any) -> Forecast:
    return Forecast(2, 1, "none", (0,), ("t",), Scaling((10.0,), (2.0,)), **said)


def driven(outputs: int, **said: Any) -> Forecast:
    return Forecast(2, 1, "none", (None,), ("t",), Scaling((10.0,), (2.0,)), outputs=outputs, **said)


def evaluation(forecast: Forecast, truth: Any, **outputs: Any) -> Evaluation:
    arrays = {name: np.asarray(values, float) for name, values in outputs.items()}
    arrays = {"float": arrays["mixed"], **arrays}
    count = len(arrays["mixed"])
    made = np.zeros((count, forecast.window, forecast.channels))
    return Evaluation(made, np.asarray(truth, float), arrays, Rollout("integer", arrays["mixed"]), {})


def row(found: Figures, measure: str, lead: int | None = None, level: float | None = None) -> FigureRow:
    (one,) = [row for row in found.rows if (row.measure, row.lead) == (measure, lead) and level in (None, row.level)]
    return one


# --- errors ---------------------------------------------------------------------------------------------------------


def test_a_closed_loop_has_errors_by_step_and_over_all_in_the_data_s_units() -> None:
    truth = np.zeros((2, 4, 1))
    mixed = np.array([[1.0, 0, 2, 3], [-1.0, 0, 2, -3]])[:, :, None]  # model's units; 2 of the data's each
    naive = Naive(np.full((2, 4, 1), 2.0), None, None, np.array([0.5]))
    found = figures.measure(evaluation(loop(), truth, mixed=mixed), loop(), naive)
    assert [r.lead for r in found.rows if r.measure == "rmse"] == [1, 2, 4, None]
    assert [r.mixed for r in found.rows if r.measure == "rmse"] == pytest.approx([2, 0, 6, 2 * np.sqrt(14 / 4)])
    assert row(found, "mae").mixed == pytest.approx(2 * 6 / 4)
    assert row(found, "mase").mixed == pytest.approx(3 / (0.5 * 2))
    assert row(found, "rmse").persistence == 4
    assert row(found, "rmse").seasonal is None
    assert {r.unit for r in found.rows if r.measure in ("rmse", "mae")} == {"data"}
    assert {r.name for r in found.rows} == {"t"}
    assert (found.windows, found.steps) == (2, 4)


def test_leads_of_a_direct_forecast_are_its_horizon() -> None:
    said = tuple(Output("t", lead, channel=0) for lead in range(1, 9))
    forecast = driven(8, predicted=said)
    truth = np.zeros((3, 5, 8))
    mixed = truth + np.arange(1, 9)
    found = figures.measure(evaluation(forecast, truth, mixed=mixed), forecast, Naive())
    assert {r.lead: r.mixed for r in found.rows if r.measure == "mae"} == {1: 2, 2: 4, 4: 8, 8: 16, None: 9}


def test_what_a_build_costs_and_its_skill() -> None:
    truth = np.array([[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]])
    values = {"float": truth + 0.3, "mixed": truth + 0.6}
    naive = Naive(truth + 1.2, np.where([[[True]], [[False]], [[True]], [[True]]], truth + 0.5, np.nan), 24)
    found = figures.measure(evaluation(loop(), truth, **values), loop(), naive)
    assert found.cost == pytest.approx(1)
    persistence, seasonal = found.skill
    assert (persistence.against, persistence.float, persistence.mixed) == ("persistence", pytest.approx(0.75), 0.5)
    assert seasonal.mixed == pytest.approx(-0.2)  # over the three windows that have one
    assert (persistence.low, persistence.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.season == 24


def test_a_soft_sensor_has_the_mean_to_beat_and_not_what_it_takes_the_place_of() -> None:
    forecast = driven(1, predicted=(Output("t", 0),))
    truth = np.array([1.0, -1.0, 1.0, -1.0])[:, None, None]
    naive = Naive(truth + 0.01, truth + 0.01, 24, mean=np.array([0.0]))
    (skill,) = figures.measure(evaluation(forecast, truth, mixed=truth + 0.5), forecast, naive).skill
    assert (skill.against, skill.mixed) == ("mean", 0.5)


def test_quantiles_have_pinball_loss_and_coverage() -> None:
    said = (Output("t", level=0.1, statistic="quantile"), Output("t", level=0.9, statistic="quantile"))
    forecast = driven(2, predicted=said, output_scaling=Scaling((0.0, 0.0), (1.0, 1.0)))
    truth = np.array([0.0, 2.0, 4.0, 10.0])[:, None, None] * np.ones(2)
    mixed = np.array([1.0, 5.0]) * np.ones((4, 1, 2))
    found = figures.measure(evaluation(forecast, truth, mixed=mixed), forecast, Naive())
    losses = {r.level: r.mixed for r in found.rows if r.measure == "pinball"}
    assert losses[0.1] == pytest.approx((0.9 * 1 + 0.1 * 1 + 0.1 * 3 + 0.1 * 9) / 4)
    assert losses[0.9] == pytest.approx((0.1 * 5 + 0.1 * 3 + 0.1 * 1 + 0.9 * 5) / 4)
    covered = {(r.name, r.level): r.mixed for r in found.rows if r.measure == "coverage"}
    assert covered["t", 0.1] == 0.25
    assert covered["t", 0.9] == 0.75
    assert covered["t between q0.1 and q0.9", 0.8] == 0.5
    assert not [r for r in found.rows if r.measure == "rmse"]


def test_a_mean_with_its_deviation_covers_what_a_gaussian_does_and_deviations_are_no_forecasts() -> None:
    said = (Output("t", statistic="mean", channel=0), Output("t", statistic="deviation", channel=0))
    forecast = driven(2, predicted=said)
    truth = np.array([0.0, 1.6, 1.7, -3.0])[:, None, None] * np.ones(2)
    mixed = np.array([0.0, 1.0]) * np.ones((4, 1, 2))
    made = evaluation(forecast, truth, mixed=mixed)
    found = figures.measure(made, forecast, Naive())
    assert row(found, "coverage", 1, 0.9).mixed == 0.5
    assert row(found, "mae", 1).mixed == pytest.approx(2 * (1.6 + 1.7 + 3) / 4)
    assert point_outputs(forecast) == [0]
    of_mean = mse_vs_truth(made, forecast)
    assert of_mean is not None
    assert of_mean.mixed == pytest.approx(np.mean([0, 1.6**2, 1.7**2, 9]))


def test_classes_have_accuracy_agreement_and_the_commonest_to_beat() -> None:
    forecast = driven(3, task="classes")
    truth = np.eye(3)[[[0, 0], [1, 2]]]
    said = {"float": np.eye(3)[[[0, 0], [1, 1]]], "mixed": np.eye(3)[[[0, 1], [1, 2]]]}
    found = figures.measure(evaluation(forecast, truth, **said), forecast, Naive(majority=0))
    assert row(found, "accuracy").float == 0.75
    assert row(found, "accuracy").mixed == 0.75
    assert row(found, "agreement").mixed == 0.5
    (skill,) = found.skill
    assert (skill.against, skill.mixed) == ("majority", 0.5)
    assert found.cost is None


def test_a_reconstruction_has_its_anomaly_scores() -> None:
    forecast = driven(2, task="reconstruction")
    truth = np.zeros((4, 1, 2))
    said = {"float": np.array([1.0, 2, 3, 4])[:, None, None] * [1, 0], "mixed": np.full((4, 1, 2), 1.0)}
    found = figures.measure(evaluation(forecast, truth, **said), forecast, Naive())
    assert row(found, "score", level=0.5).float == pytest.approx((2 + 4.5) / 2)
    assert row(found, "score", level=1.0).float == 8
    assert row(found, "score", level=1.0).mixed == 1
    assert row(found, "agreement").mixed == 0.75  # float's last is beyond its 0.9 quantile, none of mixed is
    assert row(found, "rmse").mixed == pytest.approx(np.sqrt(np.mean(np.square([0.5, -1, -3.5, -7]))))
    assert found.rows[0].unit == "model"


def test_what_cannot_be_had_is_none_not_a_number() -> None:
    truth = np.zeros((2, 1, 1))
    found = figures.measure(evaluation(loop(), truth, mixed=np.full((2, 1, 1), np.inf)), loop(), Naive())
    assert row(found, "rmse", 1).mixed is None
    assert row(found, "rmse", 1).int4 is None


# --- naive forecasts ------------------------------------------------------------------------------------------------


def data(values: list[float], rows: int, segments: tuple[tuple[int, int], ...] = (), **more: Any) -> ProjectData:
    array = np.array(values, np.float32)[:, None]
    series = Series(Path("s.csv"), ("t",), array, period=more.pop("period", None), segments=segments)
    return ProjectData(series, rows, Scaling((10.0,), (2.0,)), ("t",))


def test_a_closed_loop_repeats_the_last_value_of_its_window_and_that_of_the_season() -> None:
    values = [10.0 + (0, 6, 2, -4)[k % 4] + 0.5 * (k // 4) for k in range(40)]  # a season of 4 on a slope
    given = data(values, 24)
    naive = naive_forecasts(given, loop(), np.array([30]), 6)
    assert naive.season == 4
    assert naive.persistence is not None
    assert naive.seasonal is not None
    assert naive.step is not None
    normalised = (np.array(values) - 10) / 2
    assert naive.persistence[0, :, 0] == pytest.approx([normalised[29]] * 6)
    assert naive.seasonal[0, :, 0] == pytest.approx(normalised[[26, 27, 28, 29, 26, 27]])  # the latest known season
    assert naive.step == pytest.approx([np.abs(np.diff(normalised[:24])).mean()])


@pytest.mark.parametrize(("lead", "newest"), [(1, 0), (3, 0), (0, -1), (-1, -2)])
def test_a_driven_system_repeats_what_was_measured_up_to_each_sample(lead: int, newest: int) -> None:
    given = data([float(k * k) for k in range(60)], 30)
    forecast = driven(1, predicted=(Output("t", lead, channel=0),))
    origins = evaluation_origins(given, forecast, 5, 16, "test")
    naive = naive_forecasts(given, forecast, origins, 5)
    _, truth = cut(given, forecast, 5, 16, "test")
    assert naive.persistence is not None
    assert naive.persistence.shape == truth.shape
    at = origins[:, None] - 1 + np.arange(5)
    assert truth[:, :, 0] * 2 + 10 == pytest.approx(np.square(at + lead))
    assert naive.persistence[:, :, 0] * 2 + 10 == pytest.approx(np.square(at + newest))


def test_nothing_is_repeated_across_a_hole() -> None:
    given = data([float(k % 5) for k in range(60)], 30, segments=((0, 41), (41, 60)))
    naive = naive_forecasts(given, loop(), np.array([38, 44]), 2)
    assert naive.season == 5
    assert naive.seasonal is not None
    assert np.isfinite(naive.seasonal[0]).all()
    assert np.isnan(naive.seasonal[1]).all()


def test_a_season_is_a_day_a_week_or_what_comes_again() -> None:
    hours = np.arange(24 * 7 * 6)
    daily = list(np.sin(2 * np.pi * hours / 24))
    weekly = list(np.sin(2 * np.pi * hours / 24) * (1 + (hours // 24 % 7 < 5)))
    rng = np.random.default_rng(0)
    assert season_of(data(daily, len(hours), period=HOUR).series, len(hours), [0]) == 24
    assert season_of(data(weekly, len(hours), period=HOUR).series, len(hours), [0]) == 168
    assert season_of(data(weekly, len(hours)).series, len(hours), [0]) == 168
    drifting = [v + 0.1 * d for v, d in zip(daily, np.cumsum(rng.normal(size=len(hours))), strict=True)]
    assert season_of(data(drifting, len(hours), period=HOUR).series, len(hours), [0]) == 24
    tide = [float(np.sin(2 * np.pi * k / 37) + 0.1 * rng.normal()) for k in hours]  # no clock's
    assert season_of(data(tide, len(hours), period=HOUR).series, len(hours), [0]) % 37 == 0
    # what comes again after 25 hours correlates with itself a day ago nearly as much, and its forecast is far worse
    late = [float(np.sin(2 * np.pi * k / 25) + 0.05 * rng.normal()) for k in hours]
    season = season_of(data(late, len(hours), period=HOUR).series, len(hours), [0], range(1, 25))
    assert season is not None
    assert season % 25 == 0
    error = {lag: np.mean(np.subtract(late[lag:], late[:-lag]) ** 2) for lag in (24, season)}
    assert error[season] < 0.2 * error[24]
    # beyond its season a forecast repeats from further back, which counts
    slope = [float(k % 5 == 0) + 0.02 * k for k in range(300)]
    assert season_of(data(slope, 300).series, 300, [0], range(1, 21)) == 5
    assert season_of(data(list(rng.normal(size=500)), 500).series, 500, [0]) is None
    assert season_of(data([1.0] * 50, 50).series, 50, [0]) is None
    assert season_of(data([float(k) for k in range(4)], 4).series, 4, [0]) is None


# --- intervals ------------------------------------------------------------------------------------------------------


def test_windows_are_drawn_in_blocks_the_same_each_time() -> None:
    drawn = resampled(64, 0)
    assert drawn.shape == (400, 64)
    assert (np.diff(drawn.reshape(400, 8, 8), axis=2) % 64 == 1).all()
    assert np.array_equal(drawn, resampled(64, 0))
    assert not np.array_equal(drawn, resampled(64, 1))


def test_an_interval_holds_what_other_windows_would_give() -> None:
    """Of 300 samples of 64 independent windows, about 90 % of the intervals hold the true mean."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        sample = rng.exponential(size=64)
        low, high = interval(sample[resampled(64, 0)].mean(axis=1))
        assert low is not None
        assert high is not None
        held += low <= 1 <= high
    assert 240 <= held <= 285
    assert interval(np.array([np.nan, np.nan, 1.0])) == (None, None)


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_table_leaves_out_what_no_row_has() -> None:
    truth = np.zeros((2, 1, 1))
    found = figures.measure(evaluation(loop(), truth, mixed=truth + 0.5), loop(), Naive())
    head, cells = figure_cells(found, found.rows)
    assert "seasonal" not in head
    assert cells[0][:4] == ["t", "1", "RMSE", "data's unit"]
    assert cells[0][head.index("mixed")] == "1"
