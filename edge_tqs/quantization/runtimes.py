"""The flatbuffer in the runtimes it was made for, each as a StepFunction on int8 codes.

tflite-runtime 2.14 needs Python 3.11 or older and numpy 1, so it runs in an environment of its own, through the
stand-alone program tflite_rollout.py.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import CheckError, ToolError
from edge_tqs.flatbuffer import litert
from edge_tqs.flatbuffer import lower as tflite_lower
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rescale import rescaling
from edge_tqs.graph.rollout import Rollout, StepFunction, closed_loop
from edge_tqs.needs import Need, python_package
from edge_tqs.quantization import simulate

Runtime = Literal["tflm", "litert"]

ROLLOUT_PROGRAM = Path(__file__).with_name("rollout_program.py")
_LEAST_ARENA = 1 << 16


def needs() -> tuple[Need, ...]:
    """The runtimes that are Python packages; tflite-micro is published for x86-64 alone."""
    ai_edge = python_package("ai_edge_litert", "runs the flatbuffer as Linux boards do", "ai-edge-litert>=2.1")
    if platform.machine() != "x86_64":
        return (ai_edge,)
    tflm = "tflite-micro==0.dev20261023182759"
    return ai_edge, python_package("tflite_micro", "runs the flatbuffer as microcontrollers do", tflm)


def tflm_step(model: bytes) -> StepFunction:
    """tflite-micro's interpreter (the pip package), one row of the batch after another.

    Raises ToolError when the package is missing, CheckError when it refuses the model.
    """
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as error:
        raise _missing(
            "tflite-micro", "pip install --pre tflite-micro", "It is published for Linux on x86-64."
        ) from error
    names = _state_count(model)
    try:
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=max(_LEAST_ARENA, 16 * len(model)))
    except RuntimeError as error:
        raise _refused("tflite-micro", error) from error

    def run(row: tuple[Array, ...]) -> list[Array]:
        for index, value in enumerate(row):
            interpreter.set_input(value, index)
        interpreter.invoke()
        return [interpreter.get_output(index).copy() for index in range(1 + names)]

    return _row_by_row(run)


def litert_step(model: bytes) -> StepFunction:
    """ai-edge-litert with its default delegate (XNNPACK) and one thread, one row of the batch after another.

    Raises ToolError when the package is missing, CheckError when it refuses the model.
    """
    try:
        interpreter = litert.interpreter(model)
    except (RuntimeError, ValueError) as error:
        raise _refused("ai-edge-litert", error) from error
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run(row: tuple[Array, ...]) -> list[Array]:
        for index, value in zip(inputs, row, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return _row_by_row(run)


def rollout_in(
    runtime: Runtime, model: bytes, graph: Graph, seeds_codes: Array, horizon: int, truth: Array | None = None
) -> Rollout:
    """Roll ``model``, the flatbuffer of ``graph``, in "tflm" or "litert" from ``seeds_codes`` (N, W, F).

    With ``truth`` (N, horizon, outputs codes of x) teacher-forced, as `closed_loop` says.
    """
    step = tflm_step(model) if runtime == "tflm" else litert_step(model)
    states = simulate.zero_states(graph, seeds_codes.shape[0])
    return closed_loop(step, graph.forecast, seeds_codes, horizon, states, runtime, truth, rescaling(graph))


def rollout_in_environment(
    python: Path, model: bytes, seeds_codes: npt.NDArray[np.int8], horizon: int, timeout_s: float = 600
) -> Rollout:
    """The same in another Python, which has numpy and either tflite-runtime or ai-edge-litert.

    Raises ToolError when ``python`` does not run or its interpreter fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.tflite").write_bytes(model)
        np.save(place / "seeds.npy", seeds_codes)
        files = [str(place / name) for name in ("model.tflite", "seeds.npy", "outputs.npy")]
        command = [str(python), "-I", str(ROLLOUT_PROGRAM), *files, str(horizon)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolError(f"{python} cannot run the model: {error}") from error
        if done.returncode != 0:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise ToolError(
                f"{python} cannot run the model: {last}",
                hint='Give it the packages: pip install "tflite-runtime==2.14.0" "numpy<2" (Python 3.11 or older).',
            )
        return Rollout(done.stdout.strip(), np.load(place / "outputs.npy", allow_pickle=False))


def _row_by_row(run: Callable[[tuple[Array, ...]], list[Array]]) -> StepFunction:
    """A batched StepFunction from one that takes batch 1: the model's shapes are static."""

    def step(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        rows = [run(tuple(value[n : n + 1] for value in (x, *states))) for n in range(x.shape[0])]
        y, *following = (np.concatenate(column) for column in zip(*rows, strict=True))
        return y, tuple(following)

    return step


def _state_count(model: bytes) -> int:
    """How many states the model's signature has; inputs and outputs are written in the signature's order."""
    signature = tflite_lower.schema().Model.GetRootAsModel(model, 0).SignatureDefs(0)
    return int(signature.InputsLength()) - 1


def _refused(runtime: str, error: Exception) -> CheckError:
    return CheckError(
        f"{runtime} refuses the model: {' '.join(str(error).split())[:300]}",
        hint="The support table (docs/layers.md) says that it runs there: report this with the model.",
    )


def _missing(package: str, command: str, note: str = "") -> ToolError:
    return ToolError(f"The Python package {package} is not installed", hint=f"{command}. {note}".strip())
