"""The benchmark behind docs/evidence.md: its judge, its halves of the zoo, and the command itself on two models."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.evidence import data, judge, methods, page, tables, zoo
from benchmarks.evidence.kinds import page as kinds_page
from benchmarks.evidence.kinds import problem, truth
from benchmarks.evidence.kinds import zoo as kinds_zoo
from benchmarks.evidence.kinds.architectures import AUTOENCODERS, FILTERS
from benchmarks.evidence.records import CODE, KINDS_CODE, code_hash, kept
from benchmarks.evidence.statistics import geometric_mean, spearman
from edge_tqs.system.reading import Reading
from edge_tqs.system.system import Part, System

ROOT = Path(__file__).resolve().parents[1]


def linear_system(seed=0):
    """y = x[-1] A B, two weights; A (2, 3) and B (3, 2) with a scale for each column."""
    rng = np.random.default_rng(seed)
    own = {"a": rng.normal(0, 0.4, (2, 3)).astype(np.float32), "b": rng.normal(0, 0.4, (3, 2)).astype(np.float32)}

    def roll(weights, seeds, horizon):
        x, outputs = seeds[:, -1], []
        for _ in range(horizon):
            x = x @ weights["a"] @ weights["b"]
            outputs.append(x)
        return np.stack(outputs, axis=1).astype(np.float32)

    return System(
        name="linear",
        window=1,
        channels=2,
        reading=Reading(1, 2, (0, 1)),
        weights={name: (Part(name, value, (1,)),) for name, value in own.items()},
        output_bias=None,
        trace=lambda horizon, count: lambda changed, seeds: roll(own | dict(changed), seeds, horizon),
        roll=lambda seeds, horizon: roll(own, seeds, horizon),
    )


def windows(count=5):
    return np.random.default_rng(1).normal(size=(count, 1, 2)).astype(np.float32)


def test_halves_share_no_pair_and_each_has_every_architecture():
    pairs = [{(m.architecture, m.series) for m in zoo.members(chooses=chooses)} for chooses in (True, False)]
    assert not pairs[0] & pairs[1]
    for half in pairs:
        assert len({architecture for architecture, _ in half}) >= 12
        assert {series for _, series in half} == set(data.SERIES)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9), st.integers(0, 99))
def test_spearman_is_pearson_of_mean_ranks(values, seed):
    other = list(np.random.default_rng(seed).integers(0, 4, len(values)))

    def mean_ranks(numbers):
        ordered = sorted(numbers)
        return [np.mean([i for i, v in enumerate(ordered) if v == number]) for number in numbers]

    a, b = mean_ranks(values), mean_ranks(other)
    expected = np.corrcoef(a, b)[0, 1] if np.std(a) > 0 and np.std(b) > 0 else 0.0
    assert spearman(values, other) == pytest.approx(expected)


def test_no_window_reaches_over_a_gap_or_out_of_its_part():
    values = np.arange(40, dtype=np.float32)[:, None]
    series = data.Series("s", values, 1, ((0, 12), (12, 30), (30, 40)), 24)
    for held_out, allowed in ((False, [(0, 12), (12, 24)]), (True, [(24, 30), (30, 40)])):
        starts = series.starts(5, held_out=held_out)
        expected = [start for low, high in allowed for start in range(low, high - 4)]
        assert list(starts) == expected
    assert series.windows(3, 2, 4, held_out=True).shape == (4, 3, 1)


def test_known_channels_come_with_their_future():
    values = np.arange(60, dtype=np.float32).reshape(30, 2)
    series = data.Series("s", values, 1, ((0, 30),), 10)
    seeds, truth = series.windows(3, 4, 2, held_out=True), series.truth(3, 4, 2, held_out=True)
    assert seeds.shape == (2, 7, 2)
    assert series.feedback == (0, None)
    np.testing.assert_array_equal(truth[:, :, 0], seeds[:, 3:, 0])


def test_random_rounding_keeps_the_mean_and_stays_on_the_grid():
    part = linear_system().weights["a"][0]
    drawn = np.array([judge.randomly_rounded(part, np.random.default_rng(i)) for i in range(4000)])
    codes = drawn / (np.abs(part.data).max(axis=0) / 7)
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    np.testing.assert_allclose(drawn.mean(axis=0), part.data, atol=0.01)


def test_bytes_count_metadata_at_both_widths():
    """Of a model that no file is written of; a budget never counts an int4 that is larger."""
    prices = judge.costs(linear_system())
    assert judge.budgets({"a": {8: 100, 4: 60}, "b": {8: 10, 4: 30}}) == {10: 74, 25: 80, 50: 90, 75: 100}
    assert prices == {"a": {8: 6 + 84, 4: 3 + 84}, "b": {8: 6 + 56, 4: 3 + 56}}
    assert judge.budgets(prices) == {10: 146, 25: 147, 50: 149, 75: 150}


@given(st.integers(0, 999))
def test_knapsack_takes_the_least_total_damage(seed):
    rng = np.random.default_rng(seed)
    prices = {f"w{i}": {8: int(size), 4: int(size) // 2} for i, size in enumerate(rng.integers(2, 50, 5))}
    damages = {
        name: {8: float(low), 4: float(low + more)} for name, low, more in zip(prices, *rng.random((2, 5)), strict=True)
    }
    budget = sum(options[4] for options in prices.values()) + int(rng.integers(0, 60))
    made = methods.knapsack(damages, prices, budget)

    def total(widths):
        return sum(damages[name][width] for name, width in zip(prices, widths, strict=True))

    fitting = [
        widths
        for widths in itertools.product((8, 4), repeat=5)
        if sum(prices[name][width] for name, width in zip(prices, widths, strict=True)) <= budget
    ]
    assert made.total_bytes <= budget
    assert total(tensor.width for tensor in made.tensors) == pytest.approx(min(map(total, fitting)))


def test_the_judge_agrees_with_itself():
    """The optimum is never above any plan, and each plan is one of the assignments."""
    system = linear_system()
    found = judge.Judge(system, windows(), 6)
    prices = judge.costs(system)
    every = found.every(prices)
    assert len(every) == 4
    assert found.isolated(4)["a"] > found.isolated(8)["a"] > 0
    for share, budget in judge.budgets(prices).items():
        made = methods.knapsack({name: {8: 0.0, 4: 1.0} for name in prices}, prices, budget)
        divergence = found.plan(made)
        assert any(size == made.total_bytes and value == pytest.approx(divergence) for size, value in every), share
        assert judge.optimum(every, budget) <= divergence


@pytest.mark.parametrize(
    ("value", "most", "said"), [(0.7, True, "met"), (0.71, True, "**missed**"), (0.69, False, "**missed**")]
)
def test_a_bar_says_whether_it_is_met(value, most, said):
    bar = page.Bar("x", lambda records: value, 0.70, most=most)
    assert bar.row([record("a", full=1.0)])[-1] == said


def test_an_interval_resamples_pairs():
    records = [record(name, full=full) for name, full in (("a", 0.5), ("b", 1.0), ("c", 2.0))]
    low, high = tables.interval(records, page.mean_ratio(tables.FULL, "HAWQ-V2", 1))
    assert 0.5 <= low < 1.0 < high <= 2.0
    assert tables.interval(records[:1], page.mean_ratio(tables.FULL, "HAWQ-V2", 2)) == pytest.approx((0.25, 0.25))


def record(architecture, *, full):
    plans = {
        method: {"divergence": {str(share): 1.0 for share in judge.SHARES}, "seconds": 1.0} for method in tables.PLANNED
    }
    plans[tables.FULL]["divergence"] = {str(share): full for share in judge.SHARES}
    plans |= {
        m: {"divergence": {str(s): full / 2 for s in judge.SHARES}, "seconds": 1.0} for m in methods.COMPENSATIONS
    }
    ranks = {method: [1.0, 2.0, 3.0] for method in tables.RANKED}
    return {
        "architecture": architecture,
        "series": "s",
        "training_seed": 0,
        "plans": plans,
        "whole": {"int8": {"divergence": full}},
        "peer": {"converter int8": {"divergence": 1.0}},
        "optimum": {str(share): 0.5 for share in judge.SHARES},
        "damages": ranks,
        "expected": [1.0, 3.0, 2.0],
        "isolated": [1.0, 2.0, 3.0],
    }


def test_every_loss_is_listed_and_nothing_else():
    records = [record("better", full=0.5), record("worse", full=2.0), record("same", full=1.0)]
    found = tables.losses(records)
    against = found[f"The plan of {tables.FULL} diverges more than that of HAWQ-V2"]
    assert [line.split(",")[0] for line in against] == ["worse"]
    converter = found["All int8, the whole model diverges more than that of converter int8"]
    assert [line.split(",")[0] for line in converter] == ["worse"]
    assert found[f"The plan of {tables.BEST} diverges more than that of {tables.FULL}"] == []
    assert found["TQS ranks the expected damage worse than HAWQ-V2"] == []
    assert len(found["refined is more than 1.20 of the optimum"]) == 3
    assert geometric_mean(tables.ratios(records, tables.FULL, "HAWQ-V2")) == pytest.approx(1.0)


def test_a_record_is_measured_once(tmp_path):
    made = iter([{"a": 1}, {"a": 2}])
    assert kept(tmp_path / "x" / "m.json", lambda: next(made)) == {"a": 1}
    assert kept(tmp_path / "x" / "m.json", lambda: next(made)) == {"a": 1}


# --- other kinds ------------------------------------------------------------------------------------------------------


def test_halves_of_the_kinds_share_no_series_and_have_every_kind():
    for chosen, judged in kinds_zoo.PAIRS.values():
        assert chosen != judged
    assert {kind for kind, _ in kinds_zoo.PAIRS} == set(kinds_zoo.PROBLEMS)
    assert {*AUTOENCODERS, *FILTERS} <= {architecture for _, architecture in kinds_zoo.PAIRS}


def counting_series(outputs):
    """Row i is (i, 100 + i, 200 + i)."""
    values = np.arange(300, dtype=np.float32).reshape(3, 100).T.copy()
    return data.Series("lorenz96", values, outputs, ((0, 100),), 60)


@pytest.mark.parametrize(
    ("made", "inputs", "first", "second", "naive"),
    [
        (problem.soft_sensor, (100, 200), [63], [64], 0.0),
        (problem.direct, (0, 100, 200), list(range(64, 76)), list(range(65, 77)), 63.0),
        (problem.lagged, (0, 100, 200), [75], [76], 63.0),
        (problem.reconstruction(4), (0, 100, 200), [60, 160, 260, 61], [61, 161, 261, 62], 61.5),
    ],
)
def test_what_a_kind_is_asked_is_of_the_time_that_it_says(made, inputs, first, second, naive):
    """From the first held-out row, 60, a window of 4 ends at row 63."""
    asked = made(counting_series(3))
    seeds, labels = asked.seeds(4, 5, 2, held_out=True), asked.truth(4, 5, 2, held_out=True)
    np.testing.assert_array_equal(seeds[0, :, 0], inputs[0] + 60 + np.arange(9))
    assert seeds.shape == (2, 9, len(inputs))
    assert list(labels[0, 0][:4]) == first[:4]
    assert list(labels[0, 1][:4]) == second[:4]
    assert labels.shape == (2, 5, asked.outputs)
    said = problem.NAIVE[asked.naive](asked, np.array([[63, 64]]), 4)
    assert said.shape == (1, 2, asked.outputs)
    assert said[0, 0, 0] == naive


def test_classes_are_thirds_of_the_training_part_and_a_filter_sees_noise():
    asked = problem.classes(counting_series(3))
    np.testing.assert_array_equal(asked.labels(np.arange(60)).sum(axis=0), [20, 20, 20])
    filtered = problem.filtering(counting_series(2))
    rows = np.arange(100)
    noise = filtered.series.values[rows][:, list(filtered.inputs)] - counting_series(2).values
    assert noise[:, :2].std() == pytest.approx(problem.MEASUREMENT_NOISE, rel=0.2)
    assert not noise[:, 2].any()
    np.testing.assert_array_equal(filtered.labels(rows), counting_series(2).values[:, :2])


@pytest.mark.parametrize(("kind", "architecture"), [("filter", "gru-filter"), ("partly fed back", "mlp")])
def test_the_judge_of_a_kind_rolls_out_what_is_scored(kind, architecture, tmp_path, monkeypatch):
    """Two programs say the same: Keras in loops of the judge's own, and the system that the tool scores."""
    values = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    series = data.Series("lorenz96", values, 6, ((0, 300),), 150)
    monkeypatch.setattr(kinds_zoo, "BUILD", tmp_path)
    monkeypatch.setattr(kinds_zoo, "load", lambda name: series)
    member = kinds_zoo.Member(kind, architecture, "lorenz96", True)
    member.file.parent.mkdir()
    kinds_zoo.build(member, kinds_zoo.PROBLEMS[kind](series)).save(member.file)
    made = kinds_zoo.trained(member)
    judged, seeds = truth.judged_system(made), made.problem.seeds(32, 6, 3, held_out=True)
    assert truth.apart(made, judged, seeds, 6) < 1e-5
    source = next(iter(judged.weights))
    before = judged.roll(seeds, 6)
    other = judged.trace(6, 3)(judge.rounded(judged, source, 4), seeds)
    scored = made.system.trace(6, 3)(judge.rounded(made.system, source, 4), seeds)
    assert np.abs(other - before).max() > 1e-4
    np.testing.assert_allclose(scored, other, atol=1e-5)
    np.testing.assert_array_equal(judged.roll(seeds, 6), before)  # the model has its own weights again


def test_every_loss_of_another_kind_is_listed_and_nothing_else():
    found = kinds_page.losses([record("better", full=0.5), record("worse", full=2.0), record("same", full=1.0)])
    assert found["TQS ranks the expected damage worse than HAWQ-V2"] == []
    assert [line.split(": ")[:2] for line in found["A plan diverges more than that of HAWQ-V2"]] == [
        [tables.FULL, "worse, s, 0"]
    ]


@pytest.mark.slow
def test_the_command_writes_the_page():
    command = [sys.executable, "-m", "benchmarks.evidence", "--quick", "--without-peer"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    written, others_page = map(Path, done.stdout.split())
    text = written.read_text(encoding="utf-8")
    assert "@" not in text
    for plot in ("ranks", "budgets", "hawq"):
        assert (written.parent / f"evidence_{plot}.svg").read_text(encoding="utf-8").startswith("<svg")
    closed = kept_records(written.parent / code_hash(CODE), "judging-*-without-peer")
    assert {found["architecture"] for found in closed} == {"mlp"}
    for found in closed:
        # The unclipped, uncorrected plans are assignments that the exhaustive search tried.
        for method in ("TQS", "HAWQ-V2", "refined"):
            for share, divergence in found["plans"][method]["divergence"].items():
                assert divergence >= found["optimum"][share] * (1 - 1e-6)
    others = kept_records(written.parent / code_hash(KINDS_CODE), "kinds-*")
    assert {found["kind"] for found in others} == {"classes", "reconstruction"}
    rows = others_page.read_text(encoding="utf-8").splitlines()
    for found in others:
        assert found["apart"] < 1e-4
        assert max(found["damages"]["HAWQ-V2"]) > 0
        assert found["uniform"]["int4"] > found["uniform"]["int8"] > 0
        assert any(row.startswith(f"| {found['kind']} | {found['architecture']} | {found['series']} |") for row in rows)


def kept_records(root, folders):
    return [json.loads(file.read_text()) for file in root.glob(f"{folders}/*.json")]
