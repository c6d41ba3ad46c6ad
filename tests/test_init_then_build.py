"""A stranger's way: `init`, then `build`; where that is refused, the line that it proposes, as it stands, and no more.

Each kind of project that people have is a row, with the columns of its file. The models are computed; what a filter
or a classifier of theirs is to the tool, these are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_models import ROWS, around, beside, fitted, labels, plant, scaled, write_csv

import edge_tqs
from edge_tqs.api.request import model_request
from edge_tqs.api.steps import init
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.settle import open_requested
from edge_tqs.building.units import forecast_of
from edge_tqs.errors import TqsError
from edge_tqs.graph.graph import Array, Forecast
from edge_tqs.project.file import load_project

T = np.arange(ROWS)


def series() -> dict[str, Array]:
    """The plant, and beside it a river, a battery, a track with its measurement, and a heart."""
    rng = np.random.default_rng(5)
    rain = np.clip(rng.gamma(0.3, 3, ROWS) - 1, 0, None)
    upstream = np.convolve(rain, np.exp(-np.arange(30) / 8))[:ROWS] + 1
    level = 2 + np.roll(0.1 * np.convolve(upstream, np.exp(-np.arange(40) / 6) / 6)[:ROWS], 5)
    voltage, current = 3.7 + 0.3 * np.sin(T / 9), 1 + 0.5 * np.sin(T / 4)
    position = 9 * np.sin(T / 30) + 3 * np.sin(T / 11)
    beat = (T // 60 % 2).astype(float)
    return plant() | {
        "rain": rain,
        "upstream": upstream,
        "level": level + 0.005 * rng.normal(size=ROWS),
        "voltage": voltage + 0.01 * rng.normal(size=ROWS),
        "current": current + 0.02 * rng.normal(size=ROWS),
        "soh": 0.9 + 0.05 * np.sin(T / 9 - 0.5) + 0.02 * np.sin(T / 4) + 0.002 * rng.normal(size=ROWS),
        "measured": position + 0.6 * rng.normal(size=ROWS),
        "position": position,
        "speed": np.gradient(position),
        "ecg": 40 * np.where(beat, 1.0, -0.4) + 12 * rng.normal(size=ROWS) + 20,
        "beat": beat,
    }


def softmax(keras: Any, y: Any) -> Any:
    """Evidence for what is likely and what is not, of one value about a half."""
    made = keras.layers.Dense(2, activation="softmax")
    out = made(y)
    made.set_weights([np.array([[-9.0, 9.0]]), np.array([4.5, -4.5])])
    return out


def kalman(keras: Any) -> Any:
    """A Kalman filter of position and speed in its steady state, one measurement after the other, with states."""
    step, seen = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    spread, gain = np.eye(2), np.zeros((2, 1))
    for _ in range(200):
        spread = step @ spread @ step.T + 0.01 * np.eye(2)
        gain = spread @ seen.T / (seen @ spread @ seen.T + 0.36)
        spread = spread - gain @ seen @ spread
    layer = keras.layers.SimpleRNN(2, activation="linear", use_bias=False, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(1, 1, 1)), layer])
    layer.set_weights([gain.T, ((np.eye(2) - gain @ seen) @ step).T])
    return model


@dataclass(frozen=True)
class Project:
    """columns: of the CSV. inputs, method, outputs: what the model is fitted to, (column, lead, method). made: or what
    makes it. kind: what it must be in the end; asks: words of the line that is proposed, "" where nothing is refused.
    """

    name: str
    columns: str
    inputs: str = ""
    method: str = "standard"
    outputs: tuple[tuple[str, int, str], ...] = ()
    kind: str = "closed loop"
    asks: str = ""
    more: dict[str, Any] | None = None
    made: Callable[[Any], Any] | None = None
    labels: tuple[str, ...] = ()
    rows: int = ROWS


def of(*names: str, lead: int = 1, method: str = "standard") -> tuple[tuple[str, int, str], ...]:
    return tuple((name, lead, method) for name in names)


PLANT, TRIPLE, RIVER, BATTERY = "flow load", "flow load price", "rain upstream level", "voltage current soh"
QUANTILES = {"more": lambda keras, y: around(keras, y, (-0.08, 0.0, 0.08))}
QUANTILE_LINE = 'outputs = [{name = "flow", quantile = 0.1}, {name = "flow", quantile = 0.5}'
# fmt: off
PROJECTS = [
    Project("two sensors", PLANT, PLANT, outputs=of("flow", "load")),
    Project("min-max, as in most tutorials", PLANT, PLANT, "minmax", of("flow", "load", method="minmax")),
    Project("as it is", PLANT, PLANT, "none", of("flow", "load", method="none")),
    Project("the last column of three", TRIPLE, TRIPLE, outputs=of("price"), kind="direct"),
    Project("a soft sensor", TRIPLE, PLANT, outputs=of("price", lead=0, method="none"), kind="direct",
        labels=("price +0",)),
    Project("a block of one sensor", "flow", "flow", outputs=tuple(("flow", lead, "standard") for lead in (1, 2, 3))),
    Project("differences", PLANT, PLANT, outputs=of("flow", "load"), more={"differences": True}),
    Project("labels", PLANT, made=lambda keras: labels(keras, [scaled(plant()[n], "standard") for n in PLANT.split()])),
    Project("a flat window", PLANT, PLANT, outputs=of("flow", "load"), more={"flat": True}),
    Project("quantiles", "flow", "flow", outputs=of("flow"), asks=QUANTILE_LINE, more=QUANTILES),
    Project("quantiles of one of two sensors", PLANT, PLANT, outputs=of("flow"), asks=QUANTILE_LINE, more=QUANTILES),
    Project("a mean and its deviation", "flow", "flow", outputs=of("flow"), asks="deviation = true",
        more={"more": lambda keras, y: beside(keras, y, 0.08)}),
    Project("the level of a river, six hours ahead", RIVER, RIVER, outputs=of("level", lead=6), kind="direct",
        asks='{name = "level", lead = 6}', more={"window": 12}, labels=("level +6",)),
    Project("the next six levels of a river", RIVER, RIVER, kind="direct", more={"window": 12},
        outputs=tuple(("level", lead, "standard") for lead in range(1, 7))),
    Project("a river without its level", RIVER, "rain upstream", outputs=of("level", lead=3, method="none"),
        kind="direct", more={"window": 24}, labels=("level +3",)),
    Project("a flat state of health", BATTERY, "voltage current", "minmax", of("soh", lead=0, method="none"), "direct",
        more={"flat": True}, labels=("soh +0",)),
    Project("a flat state of health from its last ones", BATTERY, BATTERY, "minmax", of("soh", method="minmax"),
        "direct", more={"flat": True}),
    Project("a smoother of a track", "measured position speed", "measured", "none",
        of("position", "speed", lead=0, method="none"), "direct", asks='{name = "position", lead = 0}',
        more={"window": 10}, labels=("position +0", "speed +0"), rows=500),
    Project("a Kalman filter with states", "measured position speed", made=kalman, kind="direct",
        asks='{name = "position", lead = 0}', labels=("position +0", "speed +0"), rows=500),
    Project("beats of a heart", "ecg beat", "ecg", outputs=of("beat", lead=0, method="none"), kind="classes",
        more={"more": softmax}),
    Project("a softmax, no classes in the file", "ecg", "ecg", outputs=of("beat", lead=0, method="none"),
        kind="classes", asks='method = "standard"', more={"more": softmax}),
]
# fmt: on
#: One line as a refusal proposes it: up to what does not belong to it, then its table, if that comes behind.
LINE = re.compile(r'(?:outputs|method|kind|lead|label|window|steps) = (?:\[.*?\]|"[^"]*"|\d+)')


#: Rows that are quantised too: what no other test builds.
BUILT = ("quantiles", "a softmax, no classes in the file")


def opened(folder: Path) -> tuple[tuple[ModelRequest, Forecast] | None, str]:
    """(what `build` would build, why it would not)."""
    try:
        request, model = open_requested(model_request(None, load_project(folder)), lambda *_: None)
    except TqsError as error:
        return None, f"{error.message}\n{error.hint}"
    if request.refuted:
        return None, " ".join(request.refuted)
    return (request, forecast_of(model.system, request)), ""


def follow(folder: Path, answer: str, asks: str) -> None:
    """Write the proposed line that has the words ``asks`` into edge-tqs.toml, below the head of its table."""
    line = next(found.group() for found in LINE.finditer(answer) if asks in found.group())
    behind = answer[answer.index(line) + len(line) :]
    named = re.search(r"under (\[\w+\])", behind) or re.search(r"under (\[\w+\])", answer)
    assert named is not None
    file = folder / "edge-tqs.toml"
    text = file.read_text()
    assert text.count(f"\n{named[1]}") == 1
    file.write_text(text.replace(f"\n{named[1]}", f"\n{named[1]}\n{line}\n#", 1))


def made(keras: Any, project: Project) -> Any:
    if project.made is not None:
        return project.made(keras)
    known = series()
    return fitted(
        keras,
        [scaled(known[name], project.method) for name in project.inputs.split()],
        [scaled(known[name], method) for name, _, method in project.outputs],
        [lead for _, lead, _ in project.outputs],
        **(project.more or {}),
    )


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name.replace(" ", "_"))
def test_what_init_writes_builds_with_at_most_the_line_that_is_proposed(
    project: Project, keras: Any, tmp_path: Path
) -> None:
    made(keras, project).save(tmp_path / "model.keras")
    known = series()
    write_csv(tmp_path / "data.csv", {name: known[name][: project.rows] for name in project.columns.split()})
    init(tmp_path)
    found, why = opened(tmp_path)
    assert (found is None) is bool(project.asks), why
    if project.asks:
        follow(tmp_path, why, project.asks)
        found, why = opened(tmp_path)
    assert found is not None, why
    request, forecast = found
    assert not request.doubts
    kind = forecast.task if forecast.task != "forecast" else "direct" if forecast.driven else "closed loop"
    assert kind == project.kind
    assert {*project.labels} <= {output.label for output in forecast.predicted}
    if project.name in BUILT:
        assert edge_tqs.quantize(request, bits=8).graph.forecast.predicted == forecast.predicted
