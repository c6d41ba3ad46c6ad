"""Whether a release computes on its host what this machine computes: rollouts, code by code, by ssh alone.

The program serves the protocol on standard input and output, as it would on a serial port. forecastd's library is
loaded by the host's own Python, which is what will load it there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.delivery.pipe_port import PipePort
from edge_tqs.delivery.ssh import Connection
from edge_tqs.device.device import Device
from edge_tqs.device.rollout import run_rollout
from edge_tqs.errors import CheckError, DeviceError
from edge_tqs.graph.graph import Array, same_units
from edge_tqs.quantization.simulate import encode, integer_rollout

ROLLOUTS = 2
MOST_STEPS = 24
#: Of a step between codes that a float32 in physical units may be off; more is another code.
_NEAR = 0.25

_LIBRARY = """
import json, sys
sys.path.insert(0, ".")
from pathlib import Path
from forecastd.config import FILE, read_config
from forecastd.engines import load_engine
from forecastd.model import read_model, read_training
from forecastd.settings import ConfigError
asked = json.loads({asked!r})
here = Path.cwd()
model, mistakes, made = read_model(here), [], []
try:
    read_config(here / FILE, model, read_training(here))
except ConfigError as error:
    mistakes = error.sentences
engine, instead = load_engine(here, model)
for seed in [] if instead else asked["seeds"]:
    engine.reset()
    for sample in seed[: asked["window"]]:
        engine.push(sample)
    if asked["driven"]:
        made.append([])
        for sample in seed[asked["window"] :]:
            made[-1] += engine.predict()
            engine.push(sample)
    else:
        made.append(list(engine.forecast(asked["steps"])))
print(json.dumps({{"instead": instead, "made": made, "mistakes": mistakes}}))
"""


@dataclass(frozen=True)
class LibraryCheck:
    """instead: why the library is not loaded there and LiteRT will compute, "" where it is.
    mistakes: of forecastd.json, in sentences."""

    instead: str
    mistakes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Expected:
    """What a host must say. codes: (N, W, F), or (N, W + T, F) with what is known ahead; outputs: (N, T, outputs)
    codes."""

    built: BuildDir
    codes: Array = field(repr=False)
    outputs: Array = field(repr=False)

    @property
    def steps(self) -> int:
        """Of all rollouts together."""
        return int(self.outputs.shape[0] * self.outputs.shape[1])


def expect(built: BuildDir) -> Expected:
    """Rollouts of windows that the build saved, by this machine's integer reference."""
    graph = built.graph
    forecast = graph.forecast
    known = built.seeds.shape[1] - forecast.window
    horizon = min(MOST_STEPS, built.report.host.horizon, known if forecast.exogenous else MOST_STEPS)
    chosen = np.linspace(0, len(built.seeds) - 1, min(ROLLOUTS, len(built.seeds))).round().astype(int)
    codes = encode(graph, built.seeds[chosen, : forecast.seed_length(horizon)])
    return Expected(built, codes, integer_rollout(graph, codes, horizon).outputs)


def check_program(connection: Connection, words: list[str], expected: Expected) -> int:
    """Roll out on the host's program, which ``words`` start. Returns the steps that were compared.

    Raises:
        CheckError: A step differs.
        DeviceError: It does not run there, or is of another model.
    """
    forecast, horizon = expected.built.graph.forecast, expected.outputs.shape[1]
    try:
        with Device(PipePort(connection.start(words), str(connection.address))) as device:
            device.require_model(expected.built.model_hash)
            for seed, outputs in zip(expected.codes, expected.outputs, strict=True):
                ahead = seed[forecast.window :, list(forecast.exogenous)] if forecast.exogenous else None
                got, _, _ = run_rollout(device, seed[: forecast.window], horizon, ahead=ahead, restarts=0)
                _compare(got, outputs, "the program", connection)
    except DeviceError as error:
        said = error.message.removeprefix(f"ssh://{connection.address}: ")
        raise DeviceError(
            f"{connection.address}: the program does not run there: {said}",
            hint="Build again, for a board of the host's kind: `edge-tqs boards`.",
        ) from error
    return expected.steps


def check_library(connection: Connection, words: list[str], expected: Expected) -> LibraryCheck:
    """Roll out in the library, loaded by a Python that ``words`` start; it reads what to do from its standard input.
    The model is none with inputs that must be known ahead, which edge-tqs-forecastd does not take. Raises as
    `check_program`.
    """
    graph = expected.built.graph
    forecast, horizon = graph.forecast, expected.outputs.shape[1]
    quant, units = graph.quant(graph.input), forecast.scaling or same_units(forecast.channels)
    values = (expected.codes.astype(np.float64) - quant.zero_point) * float(quant.scale[0])
    seeds = (values * units.std + np.asarray(units.mean)).tolist()
    asked = {"seeds": seeds, "window": forecast.window, "steps": horizon, "driven": forecast.driven}
    answer = connection.run(words, _LIBRARY.format(asked=json.dumps(asked)).encode())
    lines = answer.out.splitlines()
    if answer.code != 0 or not lines:
        said = (answer.err.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(
            f"{connection.address}: edge-tqs-forecastd cannot compute there: {said}",
            hint="Build for a board of the host's kind, or install what it names.",
        )
    told = json.loads(lines[-1])
    for made, outputs in zip(told["made"], expected.outputs, strict=False):
        got = np.array(made).reshape(horizon, -1)[:, : outputs.shape[1]]
        scaling, output = forecast.scaling_of_outputs(), graph.quant(graph.output)
        exact = (got - np.asarray(scaling.mean)) / np.asarray(scaling.std) / float(output.scale[0]) + output.zero_point
        _compare(exact, outputs, "the library", connection, _NEAR)
    return LibraryCheck(str(told["instead"]), tuple(map(str, told["mistakes"])))


def _compare(got: Array, wanted: Array, what: str, connection: Connection, near: float = 0.0) -> None:
    off = ~(np.abs(got.astype(np.float64) - wanted) <= near)
    if not off.any():
        return
    step, output = (int(place) for place in np.argwhere(off)[0])
    raise CheckError(
        f"{connection.address}: {what} computes another thing than this machine from step {step} on: output {output} "
        f"is the code {got[step, output]:g}, not {wanted[step, output]}",
        hint="Is the board that was built for the host's kind? Its memory or supply may be unsound, too.",
    )
