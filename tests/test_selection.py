"""What is built where nothing says how wide the weights are: the rule itself, its words, and what it is measured by."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from graphs import random_graph, random_seeds

from edge_tqs.boards.board import load_board
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.selection import search
from edge_tqs.building.selection.candidate import Candidate, Selection
from edge_tqs.building.selection.flash_room import ANY_HASH, link, roomy
from edge_tqs.building.selection.gauge import Gauge
from edge_tqs.building.selection.room import Needs, fits, needs
from edge_tqs.building.selection.said import costly, reported
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.planning import plan as planning
from edge_tqs.planning.file import Plan, PlannedActivations, Rounding
from edge_tqs.project.budget import parse_tolerance
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.report.host_report import VariantsAndFloat

COSTS = {"a": {8: 6000, 4: 3000}, "b": {8: 2000, 4: 1000}}
SCORES = {"a": 1e-4, "b": 1e-3}
PICO, RPI4 = load_board("pico"), load_board("rpi4")


def widths(first: int, second: int) -> Plan:
    return planning.assigned(SCORES, COSTS, {"a": Rounding(first), "b": Rounding(second)}, None, {})


class World:
    """The error of each choice, by activations and the widths of two weights; and what does not fit."""

    def __init__(self, errors: dict[tuple[str, int, int], float], *, narrow_flash: bool = False) -> None:
        self.errors, self.narrow_flash = errors, narrow_flash
        self.no_ram: set[str] = set()
        self.refused: set[str] = set()
        self.measured: list[tuple[str, int, int]] = []

    def need(self, activations: str, plan: Plan, option: str) -> Candidate:
        first, second = plan.widths().values()
        if activations == "mixed" and ("mixed", first, second) not in self.errors:
            raise ModelError("no int16 activation wins anything")
        self.measured.append((activations, first, second))
        return Candidate(
            activations,  # type: ignore[arg-type]
            plan,
            option,
            None,  # type: ignore[arg-type]
            self.errors[activations, first, second],
            plan.total_bytes,
            None,
            not self.narrow_flash or plan.total_bytes < 6000,
            activations not in self.no_ram,
            ("tflite-runtime",) if activations in self.refused else (),
        )


class Planner:
    def widest(self) -> Plan:
        return widths(8, 8)

    def uniform(self, width: int) -> Plan:
        return widths(width, width)

    def halfway(self) -> Plan:
        return replace(widths(4, 8), budget_bytes=6000)

    def frontier(self) -> tuple[Plan, ...]:
        return widths(4, 4), widths(4, 8), widths(8, 8)

    def __init__(self, asked: Plan | None = None) -> None:
        self._asked = asked
        self.warnings: list[str] = []

    def plan(self) -> Plan:
        assert self._asked is not None
        return self._asked


def choose(
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    request: PlanRequest | None = None,
    activations: str | None = None,
    asked: Plan | None = None,
) -> Selection:
    scored: Any = SimpleNamespace(
        model=SimpleNamespace(request=SimpleNamespace(activations=activations, horizon=4)),
        costs=COSTS,
        with_activations=lambda activations: scored,
    )
    prepared: Any = SimpleNamespace(
        scored=scored,
        graph=None,
        windows=SimpleNamespace(
            calibration=np.zeros((3, 2, 1)), selection=None, selection_truth=np.zeros((3, 4, 1)), truth=None
        ),
        chooser=lambda request, progress, activations: Planner(widths(4, 8) if asked is None else asked),
        found_wide=lambda: None,
    )
    monkeypatch.setattr(search._Search, "_need", lambda self, *given: world.need(*given))
    monkeypatch.setattr(search, "fitted", lambda request, *_: request)
    return search.select(prepared, request or PlanRequest(), PICO, lambda *_: None)


def taken(selection: Selection) -> tuple[str, int, int]:
    return selection.chosen.activations, *selection.chosen.plan.widths().values()  # type: ignore[return-value]


INT8, INT16, MIX, MIX16 = ("int8", 8, 8), ("int16", 8, 8), ("int8", 4, 8), ("int16", 4, 8)


@pytest.mark.parametrize(
    ("int8", "int16", "wanted"),
    [
        (0.019, 0.0, INT8),  # within the tolerance: no 16 bits for what is left
        (-0.5, -0.6, INT8),
        (0.03, 0.019, INT16),  # within it with 16 bits alone
        (0.64, 0.03, INT16),  # neither is, and 16 bits take most of it away
        (0.155, 0.149, INT8),  # ... or hardly any
        (float("inf"), 0.5, INT16),
        (0.2, float("inf"), INT8),
    ],
)
def test_int16_activations_are_taken_where_they_earn_it(
    monkeypatch: pytest.MonkeyPatch, int8: float, int16: float, wanted: tuple[str, int, int]
) -> None:
    world = World({INT8: int8, INT16: int16, MIX: 0.0})
    found = choose(monkeypatch, world)
    assert taken(found) == wanted
    assert found.chosen.option == ""
    other = next(item for item in found.others if item.activations != found.chosen.activations)
    assert other.option == f"--activations {other.activations}"


MIXED = ("mixed", 8, 8)


@pytest.mark.parametrize(
    ("int8", "mixed", "int16", "wanted"),
    [
        (0.019, 0.0, 0.0, INT8),  # nothing is looked for
        (0.3, 0.015, 0.0, MIXED),  # some codes of 16 bits are enough
        (0.3, 0.05, 0.01, INT16),  # all are needed
        (0.3, 0.05, 0.08, MIXED),  # neither is within the tolerance: what is nearer
        (0.3, 0.29, 0.25, INT8),  # neither earns it
    ],
)
def test_some_int16_activations_are_taken_before_all(
    monkeypatch: pytest.MonkeyPatch, int8: float, mixed: float, int16: float, wanted: tuple[str, int, int]
) -> None:
    world = World({INT8: int8, INT16: int16, MIXED: mixed, MIX: 0.9})
    found = choose(monkeypatch, world)
    assert taken(found) == wanted
    others = {item.option for item in found.others if item.plan.widths() == found.chosen.plan.widths()}
    looked = ("int8", "int16") if int8 < 0.02 or wanted == INT8 else ("int8", "mixed", "int16")
    assert others == {f"--activations {name}" for name in looked if name != wanted[0]}
    if int16 <= 0.01 and int8 > 0.02:
        world.no_ram.add("int16")
        assert taken(choose(monkeypatch, world)) == MIXED  # it takes less RAM


def test_a_plan_that_names_int16_activations_is_built_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    named = replace(widths(8, 8), activations=PlannedActivations("mixed", int16=("y",)))
    world = World({INT8: 0.5, INT16: 0.0, MIXED: 0.0})
    request = PlanRequest(plan=named)
    assert taken(choose(monkeypatch, world, request, asked=named)) == MIXED
    assert taken(choose(monkeypatch, world, request, activations="int8", asked=named)) == INT8


def test_int4_saves_nothing_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it is measured to be better; it is shown, with the option that takes it."""
    found = choose(monkeypatch, World({INT8: 0.01, INT16: 0.0, MIX: -0.1}))
    assert taken(found) == INT8
    mix = next(item for item in found.others if item.narrow)
    assert (mix.option, mix.error) == ("--budget 6000", -0.1)


@pytest.mark.parametrize("why", ["no_ram", "refused"])
def test_what_the_board_cannot_run_is_not_taken(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    world = World({INT8: 0.5, INT16: 0.0, MIX: 0.6})
    getattr(world, why).add("int16")
    found = choose(monkeypatch, world)
    assert taken(found) == INT8
    assert not next(item for item in found.others if item.activations == "int16").fits
    assert "NOTHING THAT FITS KEEPS WITHIN 2 %: this is the most accurate" in reported(found).reason()
    (warning,) = costly(found, VariantsAndFloat(1.0, 1.5, 2.0, 1.5))
    assert "50% above float's" in warning
    assert "--activations int16" not in warning


def test_int4_is_taken_where_int8_does_not_fit_the_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({INT8: 0.0, INT16: 0.0, MIX: 0.015, MIX16: 0.0, ("int8", 4, 4): 0.9}, narrow_flash=True)
    found = choose(monkeypatch, world)
    assert taken(found) == MIX
    assert {item.option for item in found.others} == {"--activations int16", "--bits 4"}


def test_activations_that_are_said_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({INT8: 0.9, INT16: 0.0, MIX: 0.9, MIX16: 0.1})
    assert taken(choose(monkeypatch, world, activations="int8")) == INT8
    assert taken(choose(monkeypatch, world, activations="int16")) == INT16
    assert ("int16", 8, 8) not in world.measured[:2]


@pytest.mark.parametrize(
    ("tolerance", "wanted"),
    [(0.5, ("int8", 4, 4)), (0.1, MIX), (0.02, INT8), (0.005, MIX16), (0.001, INT16), (0.0001, INT16)],
)
def test_a_tolerance_asks_for_the_smallest_within_it(
    monkeypatch: pytest.MonkeyPatch, tolerance: float, wanted: tuple[str, int, int]
) -> None:
    errors = {("int8", 4, 4): 0.3, MIX: 0.05, INT8: 0.01, ("int16", 4, 4): 0.2, MIX16: 0.004, INT16: 0.0005}
    found = choose(monkeypatch, World(errors), PlanRequest(tolerance=tolerance))
    assert taken(found) == wanted
    assert found.tolerance == tolerance
    assert reported(found).within == (tolerance > 0.0001)
    assert all(item.option for item in found.others)


def test_a_budget_is_kept_and_what_it_costs_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option that mends it: the smallest that is good enough, not the most accurate."""
    request = PlanRequest(budget_bytes=6000)
    world = World({MIX: 0.76, INT8: 0.05, INT16: 0.0})
    found = choose(monkeypatch, world, request)
    assert (taken(found), found.asked) == (MIX, True)
    (warning,) = costly(found, VariantsAndFloat(0.5, 0.55, 0.9, 0.88))
    assert "76% above float's" in warning
    assert "--budget none --activations int8: +5.0%" in warning
    assert costly(found, VariantsAndFloat(0.5, 0.55, 0.9, 0.545)) == []
    world.errors[INT8] = 0.7
    (warning,) = costly(choose(monkeypatch, world, request), VariantsAndFloat(0.5, 0.55, 0.9, 0.88))
    assert "--budget none --activations int16: +0.0%" in warning
    (warning,) = costly(choose(monkeypatch, world, request), None)  # without data its own figure counts
    assert "--budget none --activations int16" in warning


def test_one_width_keeps_its_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({INT8: 0.6, INT16: 0.0})
    found = choose(monkeypatch, world, PlanRequest(bits=8), asked=widths(8, 8))
    assert taken(found) == INT8
    assert [item.option for item in found.others] == ["--activations int16"]


def test_what_is_asked_for_and_adds_little_has_nothing_measured_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({MIX: 0.02})
    found = choose(monkeypatch, world, PlanRequest(budget_bytes=6000))
    assert (taken(found), found.others, world.measured) == (MIX, (), [MIX])
    (warning,) = costly(found, VariantsAndFloat(0.5, 0.5, 0.9, 0.6))
    assert "20% above float's. On 3 other windows it adds little (+2.0% of float's MSE)" in warning


def test_the_words_name_what_was_chosen_and_the_way_to_each_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    report = reported(choose(monkeypatch, World({INT8: 0.08, INT16: 0.004, MIX: 0.3})))
    assert report.reason() == (
        "int16 activations, all weights int8 (int16 activations, as int8 ones add +8.0%): +0.4% of float's MSE, "
        "within 2 % (3 training windows)"
    )
    assert report.instead() == "--activations int8: +8.0% of float's MSE, 8,000 bytes of model.tflite"


@pytest.mark.parametrize(("given", "share"), [("2%", 0.02), (" 0.5 % ", 0.005), ("0.1", 0.1), (0.02, 0.02)])
def test_a_tolerance_is_a_share(given: float | str, share: float) -> None:
    assert parse_tolerance(given) == pytest.approx(share)


@pytest.mark.parametrize("given", ["two", "0", "-1%", "nan", "inf"])
def test_what_is_no_tolerance_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="no share") as caught:
        parse_tolerance(given)
    assert caught.value.hint


# --- what is measured -------------------------------------------------------------------------------------------------


def test_the_error_is_that_of_the_integer_rollouts() -> None:
    """Computed again here: against truth over float's, and without truth over the float rollouts' variance."""
    rng = np.random.default_rng(5)
    graph = random_graph(rng, "mlp")
    seeds = random_seeds(rng, graph, 12).astype(np.float32)
    integer = quantize(graph, dict.fromkeys(graph.weights(), 4), calibrate(graph, seeds, 6))
    floats = float_rollout(graph, seeds, 6).outputs.astype(np.float64)
    found = decode(integer, integer_rollout(integer, encode(integer, seeds), 6).outputs)
    truth = floats + rng.normal(0, 0.3, floats.shape)
    against = Gauge(graph, seeds, truth, 6).error(integer)
    assert against == pytest.approx(np.square(found - truth).mean() / np.square(floats - truth).mean() - 1)
    added = np.square(found - truth).mean() - np.square(floats - truth).mean()
    assert Gauge(graph, seeds, truth, 6, 0.5).error(integer) == pytest.approx(added / 0.5)  # of float on other windows
    off, spread = np.square(found - floats).mean(axis=(0, 1)), floats.var(axis=(0, 1))
    assert Gauge(graph, seeds, None, 6).error(integer) == pytest.approx(np.mean(off / spread), rel=1e-6)


def test_tables_are_counted_as_they_lie_in_the_image() -> None:
    """The bytes between two plans are those between their linked images, constants alone."""
    rng = np.random.default_rng(8)
    graph = random_graph(rng, "mlp")
    ranges = Ranges({name: (-1.0, 1.0) for name, tensor in graph.tensors.items() if tensor.data is None})
    wide, narrow = (quantize(graph, dict.fromkeys(graph.weights(), width), ranges) for width in (8, 4))
    images = [link(made, roomy(PICO), ANY_HASH) for made in (wide, narrow)]
    tables = [needs(made, PICO).tables for made in (wide, narrow)]
    assert tables[0] > tables[1]
    assert tables[0] - tables[1] == images[0].rodata - images[1].rodata
    assert images[0].rodata >= tables[0]
    small = replace(PICO, flash=replace(PICO.flash, size_bytes=images[0].flash_bytes))  # type: ignore[type-var]
    known = Needs(tables[0], 64)
    assert fits(wide, small, known) == (True, True)
    smaller = replace(PICO, flash=replace(PICO.flash, size_bytes=images[0].flash_bytes - 1))  # type: ignore[type-var]
    assert fits(wide, smaller, known) == (False, True)
    assert fits(wide, RPI4, known) == (True, True)
