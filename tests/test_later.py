"""Columns NAME+N, what NAME holds N rows later, and models that read the newest samples alone of a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saving import save

import edge_tqs
from edge_tqs.errors import UsageError
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.project.later import with_later
from edge_tqs.project.series import Series, read_series

NAMES = ("load", "hour+6", "hour")


def file_of(folder: Path, hours: list[int], header: str = "time,load,hour") -> Path:
    path = folder / "d.csv"
    rows = [f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00,{hour * 1.5},{hour}" for hour in hours]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path: Path, names: tuple[str, ...] = NAMES) -> Series:
    return with_later(names, lambda columns: read_series(path, columns))


def test_a_row_holds_what_comes_later(tmp_path: Path) -> None:
    series = read(file_of(tmp_path, list(range(40))))
    assert series.columns == NAMES
    assert series.values.tolist() == [[1.5 * hour, hour + 6, hour] for hour in range(34)]
    assert series.times is not None
    assert str(series.times[-1]).startswith("2024-01-02T09:00")
    assert any("hour+6: what the column holds so many rows later" in fact for fact in series.facts)


def test_nothing_comes_from_beyond_a_hole(tmp_path: Path) -> None:
    """Stretches of 20, 5 and 15 rows: the middle one has no row six rows later."""
    hours = [*range(20), *range(30, 35), *range(50, 65)]
    series = read(file_of(tmp_path, hours))
    assert series.segments == ((0, 14), (14, 23))
    assert series.values[:, 2].tolist() == [*range(14), *range(50, 59)]
    assert (series.values[:, 1] == series.values[:, 2] + 6).all()
    assert "line 27" in series.where(14)


def test_a_columns_own_name_goes_first(tmp_path: Path) -> None:
    series = read(file_of(tmp_path, list(range(10)), "time,load,hour+6"), ("load", "hour+6"))
    assert series.values[:, 1].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("names", "match"),
    [(("load", "hours+6"), "has no column 'hours'"), (("load", "hour+40"), "has no 41 rows without a hole")],
)
def test_what_is_not_there_is_refused(names: tuple[str, ...], match: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=match):
        read(file_of(tmp_path, list(range(40))), names)


def project(keras: Any, folder: Path, inputs: str, *, built: bool = True) -> Path:
    """A model that takes the last 4 samples of two sensors, and the next 3 of an hour."""
    layers = keras.layers
    past, ahead = keras.Input((4, 2), name="past"), keras.Input((3, 1), name="ahead")
    seen = layers.Concatenate()([layers.Flatten()(past), layers.Flatten()(ahead)])
    seen = seen if built else layers.GroupNormalization(1)(seen)  # which is scored as a black box
    save(keras.Model([past, ahead], layers.Dense(1)(seen)), folder / "m.keras")
    hours = np.arange(200)
    table = np.column_stack([np.sin(hours), np.cos(hours / 7), hours % 24])
    np.savetxt(folder / "d.csv", table, "%.6g", ",", header="load,temp,hour", comments="")
    (folder / "edge-tqs.toml").write_text(
        '[model]\npath = "m.keras"\n[forecast]\nkind = "direct"\nhorizon = 8\n'
        f'[data]\ncsv = "d.csv"\noutputs = ["load"]\n{inputs}\n[scaling]\nmethod = "none"\n'
    )
    return folder


def test_a_shorter_window_reads_what_is_known_ahead(keras: Any, tmp_path: Path) -> None:
    """The forecasts of the host are those of Keras, called with what the file holds before and after."""
    model = edge_tqs.open_model(project(keras, tmp_path, 'inputs = ["load", "temp", "hour+3"]'))
    request = model.request
    assert request.windows is not None
    _, graph = model.opened.need_graph()
    cut = request.windows(graph.forecast, 8)
    table = np.loadtxt(tmp_path / "d.csv", delimiter=",", skiprows=1).astype(np.float32)
    hours = [int(np.flatnonzero(np.isclose(table[:, 0], window[0, 0], atol=1e-6))[0]) for window in cut.evaluation]
    expected = [
        keras.models.load_model(tmp_path / "m.keras")([table[None, n : n + 4, :2], table[None, n + 4 : n + 7, 2:]])
        for n in hours[:3]
    ]
    said = float_rollout(graph, cut.evaluation[:3], 8).outputs
    np.testing.assert_allclose(said[:, 0], np.concatenate(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    ("inputs", "match", "line"),
    [
        ("", "nothing says whether these are known ahead or were measured", 'inputs = ["load", "temp", "hour+3"]'),
        ('inputs = ["load", "temp", "hour+2"]', "hour\\+2 names what comes 2 rows later", '"hour+3"'),
    ],
)
def test_the_two_readings_of_a_shorter_window_are_told_apart(
    inputs: str, match: str, line: str, built: bool, keras: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=match) as refused:
        edge_tqs.open_model(project(keras, tmp_path, inputs, built=built))
    assert line in refused.value.hint
