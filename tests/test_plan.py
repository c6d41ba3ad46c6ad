"""plan against brute force, budgets that cannot be met, plan files that a hand has edited."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tqs.errors import UsageError
from edge_tqs.planning.file import Rounding
from edge_tqs.planning.plan import (
    Evidence,
    Plan,
    assigned,
    default_budget,
    frontier,
    plan,
    predicted_damage,
    recost,
    uniform,
)

# int4 may cost more than int8: per-channel metadata outweighs the packing of a small layer.
weights = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(-10, 0).map(lambda exponent: 10.0**exponent)),
        st.integers(1, 400),
        st.integers(1, 400),
    ),
    min_size=1,
    max_size=8,
)


def case(rows):
    names = [f"layer{index}/kernel" for index in range(len(rows))]
    scores = {name: row[0] for name, row in zip(names, rows, strict=True)}
    costs = {name: {8: row[1], 4: row[2]} for name, row in zip(names, rows, strict=True)}
    return scores, costs


def brute_force(scores, costs, budget):
    """(damage, bytes) of the best assignment."""
    totals = []
    for widths in itertools.product(*(costs[name] for name in scores)):
        size = sum(costs[name][width] for name, width in zip(scores, widths, strict=True))
        if size <= budget:
            damage = sum(predicted_damage(scores[n], width) for n, width in zip(scores, widths, strict=True))
            totals.append((damage, size))
    return min(totals)


@given(weights, st.floats(0, 1))
def test_plan_is_the_brute_force_optimum_within_budget(rows, part):
    scores, costs = case(rows)
    least = sum(min(options.values()) for options in costs.values())
    most = sum(max(options.values()) for options in costs.values())
    budget = least + int(part * (most - least))
    best = plan(scores, costs, budget)
    damage, _ = brute_force(scores, costs, budget)
    assert best.total_bytes <= budget
    assert math.isclose(best.predicted_damage, damage, rel_tol=1e-12, abs_tol=0)
    assert plan(scores, costs, budget) == best


@given(weights)
def test_frontier_holds_every_budgets_optimum(rows):
    scores, costs = case(rows)
    points = frontier(scores, costs)
    sizes = [point.total_bytes for point in points]
    damages = [point.predicted_damage for point in points]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == sum(min(options.values()) for options in costs.values())
    assert all(later <= earlier for earlier, later in itertools.pairwise(damages))
    for point in points:
        assert plan(scores, costs, point.total_bytes).widths() == point.widths()


def test_predicted_damage_goes_with_the_square_of_the_step():
    assert predicted_damage(2.0, 6) == 2.0
    assert math.isclose(predicted_damage(2.0, 4), 2.0 * (31 / 7) ** 2)
    assert math.isclose(predicted_damage(2.0, 8), 2.0 * (31 / 127) ** 2)


@given(weights)
def test_default_budget_is_halfway_and_feasible(rows):
    scores, costs = case(rows)
    budget = default_budget(costs)
    assert budget == (sum(c[4] for c in costs.values()) + sum(c[8] for c in costs.values())) // 2
    assert plan(scores, costs, budget).total_bytes <= budget


@pytest.mark.parametrize("top", [1e-9, 1.0, 1e9])
def test_scores_ten_orders_of_magnitude_apart_are_still_told_apart(top):
    scores = {"a": top, "b": top * 2e-10, "c": top * 1e-10}
    costs = {name: {8: 100, 4: 50} for name in scores}
    assert plan(scores, costs, 250).widths() == {"a": 8, "b": 8, "c": 4}


def test_ties_take_fewer_bytes_then_the_earliest_weight():
    costs = {"a": {8: 100, 4: 50}, "b": {8: 100, 4: 50}}
    assert plan({"a": 1.0, "b": 1.0}, costs, 150).widths() == {"a": 8, "b": 4}
    assert plan({"a": 0.0, "b": 0.0}, costs, 200).widths() == {"a": 4, "b": 4}


def test_sixty_weights_are_planned_within_their_budget():
    scores = {f"w{i}": 1.7**-i for i in range(60)}
    costs = {f"w{i}": {8: 1000 + 37 * i, 4: 560 + 19 * i} for i in range(60)}
    best = plan(scores, costs, default_budget(costs))
    assert best.total_bytes <= default_budget(costs)
    assert best.widths()["w0"] == 8
    assert best.widths()["w59"] == 4


def test_a_budget_below_the_smallest_plan_says_what_is_possible():
    costs = {"a": {8: 1000, 4: 600}, "b": {8: 30, 4: 40}}
    with pytest.raises(UsageError) as caught:
        plan({"a": 1.0, "b": 1.0}, costs, 629)
    assert "629 bytes" in caught.value.message
    assert "630 bytes" in caught.value.message
    assert "all-int4 640" in caught.value.message
    assert "all-int8 1,030" in caught.value.message
    assert "630" in caught.value.hint
    assert plan({"a": 1.0, "b": 1.0}, costs, 630).total_bytes == 630


def test_pins_hold_and_wrong_pins_are_refused():
    scores, costs = {"head/kernel": 1.0, "lstm/kernel": 0.1}, {}
    costs = {name: {8: 100, 4: 50} for name in scores}
    assert plan(scores, costs, 150, pins={"head/kernel": 4}).widths() == {"head/kernel": 4, "lstm/kernel": 8}
    with pytest.raises(UsageError) as caught:
        plan(scores, costs, 150, pins={"head/kernle": 4})
    assert "'head/kernel'?" in caught.value.hint
    with pytest.raises(UsageError, match="2 bits"):
        plan(scores, costs, 150, pins={"head/kernel": 2})
    with pytest.raises(UsageError, match="150 bytes"):
        plan(scores, costs, 149, pins={"head/kernel": 8})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_score_that_is_no_score_is_refused(bad):
    with pytest.raises(UsageError, match="a"):
        plan({"a": bad}, {"a": {8: 2, 4: 1}}, 2)


def test_uniform():
    costs = {"a": {8: 100, 4: 50}, "b": {8: 20}}
    assert uniform(costs, {"a": 1.0, "b": None}, 8).total_bytes == 120
    with pytest.raises(UsageError, match="b cannot be built with 4 bits"):
        uniform(costs, {}, 4)


def planned() -> Plan:
    costs = {"a": {8: 100, 4: 50}, "b": {8: 100, 4: 50}}
    return plan({"a": 1.0, "b": 1e-3}, costs, 150, shapes={"a": (3, 4), "b": (5, 6)})


def test_a_plan_file_round_trips():
    text = planned().to_json()
    assert Plan.from_json(text) == planned()
    assert Plan.from_json(text).to_json() == text


def test_an_edited_width_renews_bytes_and_damage():
    body = json.loads(planned().to_json())
    body["tensors"][0]["width"] = 4
    edited = recost(Plan.from_json(json.dumps(body)), {"b": {8: 100, 4: 50}, "a": {8: 100, 4: 50}})
    assert [tensor.name for tensor in edited.tensors] == ["b", "a"]
    assert edited.total_bytes == 100
    assert edited.tensors[1].predicted_damage == predicted_damage(1.0, 4)
    assert edited.tensors[1].shape == (3, 4)


def test_a_plan_of_another_model_is_refused():
    with pytest.raises(UsageError, match="names b"):
        recost(planned(), {"a": {8: 100, 4: 50}})
    with pytest.raises(UsageError, match="no width for c"):
        recost(planned(), {name: {8: 100, 4: 50} for name in "abc"})
    with pytest.raises(UsageError, match="a cannot be built with 8 bits"):
        recost(planned(), {"a": {4: 50}, "b": {4: 50}})


SPAN = {"name": "x", "low": 1.0, "high": -1.0}


def broken(change) -> str:
    body = json.loads(planned().to_json())
    change(body)
    return json.dumps(body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[1]", "must be a table"),
        (broken(lambda body: body.pop("tensors")), "the key 'tensors' is missing"),
        (broken(lambda body: body.update(tensers=[])), "unknown key 'tensers'"),
        (broken(lambda body: body.update(format=2)), "its format is 2, this version of edge-tqs reads 1"),
        (broken(lambda body: body.update(budget_bytes=True)), "'budget_bytes' must be an integer, not True"),
        (broken(lambda body: body.update(tensors=[])), "'tensors' must be filled"),
        (broken(lambda body: body["tensors"][1].update(name="a")), "a is listed twice"),
        (broken(lambda body: body["tensors"][1].update(name=3)), r"'tensors\[1\]\.name' must be a string, not 3"),
        (
            broken(lambda body: body["tensors"][0].update(width=5)),
            r"'tensors\[0\] \(a\)\.width' must be one of 8, 4",
        ),
        (broken(lambda body: body["tensors"][0].update(width="8")), "width' must be an integer, not '8'"),
        (
            broken(lambda body: body["tensors"][0].update(shape=[-1])),
            r"shape\[0\]' must be a number of 0 or more",
        ),
        (broken(lambda body: body["tensors"][0].update(bytes=1.5)), "bytes' must be an integer, not 1.5"),
        (broken(lambda body: body["tensors"][0].update(tqs=-1)), "tqs' must be a number of 0 or more, not -1"),
        (broken(lambda body: body["tensors"][0].pop("tqs")), "tqs' is missing"),
        (broken(lambda body: body.update(activations={"codes": "int4"})), "codes' must be one of int8, int16"),
        (
            broken(lambda body: body.update(activations={"codes": "int8", "ranges": [SPAN]})),
            "'x' ends before it begins",
        ),
        (
            broken(lambda body: body.update(activations={"codes": "int8", "ranges": [SPAN | {"low": float("nan")}]})),
            "low' must be a finite number",
        ),
    ],
)
def test_a_broken_plan_file_is_refused(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        Plan.from_json(text, "plan.json")
    assert caught.value.message.startswith("plan.json")
    assert caught.value.hint


# --- what the refinement adds to a plan file ------------------------------------------------------------------------


def refined() -> Plan:
    bare = planned()
    first = replace(bare.tensors[0], width=4, clip=0.9)
    made = replace(bare, tensors=(first, bare.tensors[1]), bias_correction=(0.5, -0.25))
    evidence = Evidence("refined", ("gram", "clip"), "gram", 0.2, 0.1, 16, 96, made.assignment)
    return replace(made, evidence=evidence)


def edited(change) -> Plan:
    body = json.loads(refined().to_json())
    change(body)
    return Plan.from_json(json.dumps(body))


COSTS = {"a": {8: 100, 4: 50}, "b": {8: 100, 4: 50}}


def test_clips_correction_and_evidence_round_trip():
    made = Plan.from_json(refined().to_json())
    assert made.assignment == "4*0.9,4"
    assert made.clips() == {"a": 0.9, "b": 1.0}
    again = recost(made, COSTS)
    assert again.bias_correction == (0.5, -0.25)
    assert again.evidence == refined().evidence
    assert again.measured_rmse == 0.1
    assert again.predicted_rmse == 0.2


def test_a_plan_file_without_the_fields_of_the_refinement_is_read():
    def strip(body):
        del body["bias_correction"], body["evidence"]
        for tensor in body["tensors"]:
            del tensor["clip"]

    made = edited(strip)
    assert made.clips() == {"a": 1.0, "b": 1.0}
    assert made.bias_correction == ()
    assert made.evidence is None


@pytest.mark.parametrize("key", ["width", "clip"])
def test_what_was_measured_is_dropped_with_the_widths_that_it_was_measured_of(key):
    made = recost(edited(lambda body: body["tensors"][1].update({key: {"width": 8, "clip": 0.5}[key]})), COSTS)
    assert made.evidence is None
    assert made.bias_correction == ()
    assert made.measured_rmse is None


def test_a_correction_without_evidence_is_the_users_own():
    made = recost(edited(lambda body: (body.update(evidence=None), body["tensors"][1].update(width=8))), COSTS)
    assert made.bias_correction == (0.5, -0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body["tensors"][0].update(clip=0), "clip' must be a ratio above 0, at most 1, not 0"),
        (lambda body: body["tensors"][0].update(clip=1.5), "clip' must be a ratio above 0, at most 1, not 1.5"),
        (lambda body: body["tensors"][0].update(clip="1"), "clip' must be a number, not '1'"),
        (lambda body: body.update(bias_correction=0.5), "'bias_correction' must be a list, not 0.5"),
        (lambda body: body.update(bias_correction=["x"]), r"'bias_correction\[0\]' must be a number"),
        (
            lambda body: body["evidence"].update(method="guess"),
            "evidence.method' must be one of a-priori, refined",
        ),
        (
            lambda body: body["evidence"].update(measured_rmse=-1),
            "measured_rmse' must be a number of 0 or more",
        ),
        (lambda body: body["evidence"].update(stages="gram"), "'evidence.stages' must be a list, not 'gram'"),
        (lambda body: body["evidence"].pop("assignment"), "'evidence.assignment' is missing"),
    ],
)
def test_broken_fields_of_the_refinement_are_refused(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        edited(change)
    assert caught.value.hint


def test_a_weight_without_a_clip_is_not_clipped():
    costs = {name: {8: 100, 4: 50} for name in "ab"}
    made = assigned({}, costs, {"a": Rounding(8), "b": Rounding(4, 0.5)}, 150, {})
    assert made.clips() == {"a": 1.0, "b": 0.5}
    assert made.assignment == "8,4*0.5"


def test_a_plan_says_its_budget_and_a_frontier_has_none():
    assert planned().budget_bytes == 150
    assert {found.budget_bytes for found in frontier({"a": 1.0}, {"a": {8: 100, 4: 50}})} == {None}


def test_an_edited_plan_keeps_its_budget():
    assert recost(planned(), {name: {8: 100, 4: 50} for name in "ab"}).budget_bytes == 150


def test_the_default_budget_is_of_4_and_8_bits_whatever_else_there_is():
    assert default_budget({"a": {3: 1, 4: 50, 5: 60, 7: 90, 8: 100, 9: 110}}) == 75


def test_a_budget_below_the_smallest_plan_says_that_a_width_is_not_possible():
    with pytest.raises(UsageError) as caught:
        plan({"a": 1.0, "b": 1.0}, {"a": {8: 1000, 4: 600}, "b": {8: 30}}, 1)
    assert caught.value.message.endswith("takes 630 bytes (all-int4 not possible, all-int8 1,030).")


def test_a_pin_of_a_name_like_no_other_is_told_all_names():
    with pytest.raises(UsageError) as caught:
        plan({"a": 1.0, "b": 1.0}, {name: {8: 100, 4: 50} for name in "ab"}, 200, pins={"something": 4})
    assert caught.value.hint == "The weights are a, b."


def test_pins_count_in_the_default_budget():
    assert default_budget(COSTS, {"a": 8}) == 175
    assert default_budget(COSTS, {"a": 4, "b": 4}) == 100
