"""What each operator computes on a board, and the first that computes something else than the integer reference.

A probe build (`edge-tqs build --probe`) tells of one evaluation of the graph at a time (PROBE in
firmware_templates/PROTOCOL.md): ticks and CRC-32 of each operator's output, as it was when the operator had run, and on
request its codes. Each question is a rollout of its own, from a reset on, so nothing of a tensor is kept on the board.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.device.device import CODE_TYPE_BY_SIZE, Device
from edge_tqs.device.messages import Frame, MessageType, Point, Probe, StepReply, Values
from edge_tqs.emit_c.emit import probe_points
from edge_tqs.emit_c.memory import needed_ops
from edge_tqs.errors import DeviceError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.rescale import rescaling
from edge_tqs.graph.rollout import closed_loop
from edge_tqs.quantization.simulate import integer_step, integer_tensors, zero_states

#: Times that an evaluation is asked for before the line counts as too bad.
ATTEMPTS = 4
#: Wrong operators whose codes are fetched, and evaluations of other rollouts that the first one is also looked at in.
MOST_WRONG = 4
OTHER_ROLLOUTS = 4


@dataclass(frozen=True, eq=False)
class Sample:
    """One run of an operator on inputs that are right: inputs (batched codes and constants), codes, in its shape."""

    inputs: tuple[Array, ...]
    expected: Array
    measured: Array


@dataclass(frozen=True, eq=False)
class WrongTensor:
    """A tensor that differs though all that it is computed from agrees.

    op: what writes it; None for an input of the evaluation (x, or a state before it). samples: the run that was looked
    for first, then some of other rollouts, in which it may be right.
    """

    tensor: str
    op: Op | None
    samples: tuple[Sample, ...]


@dataclass(frozen=True, eq=False)
class ProbedEvaluation:
    """An evaluation in which something went wrong.

    evaluation: its number within the step (a windowed model runs the graph once a sample of its window). after_reset:
    whether its states are those of a reset. tensors: what the reference computes, batched codes by name, constants left
    out. wrong: in the order of the graph; empty where every operator computes what it should.
    """

    rollout: int
    step: int
    evaluation: int
    after_reset: bool
    tensors: Mapping[str, Array]
    wrong: tuple[WrongTensor, ...]


@dataclass(frozen=True)
class OperatorTicks:
    """What one operator took in one evaluation, the telling included."""

    tensor: str
    kind: str
    ticks: int


class OperatorProbe:
    """The operators of the model on ``device``, rolled out from ``seeds`` (N, W, F) or (N, W + T, F) codes.

    Every method raises UnknownRequestError when the firmware is no probe build, and what Device raises.
    """

    def __init__(self, device: Device, graph: Graph, seeds: Array) -> None:
        self._device = device
        self._graph = graph
        self._seeds = seeds
        self._names = probe_points(graph)
        self._writers = {name: op for op in graph.ops for name in op.outputs}
        self._tensors = integer_tensors(graph)
        needed = needed_ops(graph, [state.output for state in graph.states])
        written = {graph.input, *(s.input for s in graph.states), *(graph.ops[i].outputs[0] for i in needed)}
        #: of an evaluation that gives y, and of a warm-up
        self._last_point = (len(self._names) - 1, max(n for n, name in enumerate(self._names) if name in written))

    def times(self) -> tuple[OperatorTicks, ...]:
        """Ticks of each operator in the last evaluation of the first step that has one, in the first rollout."""
        step = 1 if self._graph.forecast.recurrence == "stateful" else 0
        points = self._points(0, self._evaluations_of(step)[-1])
        return tuple(
            OperatorTicks(name, self._writers[name].kind, points[name].ticks)
            for name in self._names
            if name in points and name in self._writers
        )

    def locate(self, rollout: int, step: int) -> ProbedEvaluation:
        """The evaluation of a step that differs in which the fault lies, and its first wrong operators.

        Where a step has several, it is one whose inputs agree while those of the next one differ, found by bisection.
        """
        evaluations = self._evaluations_of(step)
        inputs = self._expected_inputs(rollout, step + 1)

        def begins_right(evaluation: int) -> bool:
            begin = dict(zip(self._names, (inputs[evaluation][0], *inputs[evaluation][1]), strict=False))
            return not self._differing(self._points(rollout, evaluation), begin)

        low, high = 0, len(evaluations) - 1
        if high > 0 and begins_right(evaluations[high]):
            low = high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if begins_right(evaluations[middle]) else (low, middle)
        return self._look(rollout, step, low, inputs)

    def _look(
        self, rollout: int, step: int, place: int, inputs: list[tuple[Array, tuple[Array, ...]]]
    ) -> ProbedEvaluation:
        evaluation = self._evaluations_of(step)[place]
        tensors = self._variables(self._tensors(*inputs[evaluation]))
        points = self._points(rollout, evaluation)
        differing = self._differing(points, tensors)
        wrong: list[WrongTensor] = []
        for name in (name for name in self._names if name in differing):
            op = self._writers.get(name)
            if len(wrong) == MOST_WRONG or (op is not None and not self._reads_right(op, points, differing)):
                continue
            samples = [self._sample(rollout, evaluation, name, tensors)]
            if not wrong and op is not None:
                samples += self._elsewhere(rollout, step, evaluation, name, op)
            wrong.append(WrongTensor(name, op, tuple(samples)))
        after_reset = place == 0 and (evaluation == 0 or self._graph.forecast.recurrence == "windowed")
        return ProbedEvaluation(rollout, step, place, after_reset, tensors, tuple(wrong))

    def _elsewhere(self, rollout: int, step: int, evaluation: int, name: str, op: Op) -> list[Sample]:
        """The same operator in the same evaluation of other rollouts, where its inputs are right there too."""
        found = []
        for other in [n for n in range(len(self._seeds)) if n != rollout][:OTHER_ROLLOUTS]:
            tensors = self._variables(self._tensors(*self._expected_inputs(other, step + 1)[evaluation]))
            points = self._points(other, evaluation)
            if self._reads_right(op, points, self._differing(points, tensors)):
                found.append(self._sample(other, evaluation, name, tensors))
        return found

    def _sample(self, rollout: int, evaluation: int, name: str, tensors: Mapping[str, Array]) -> Sample:
        op = self._writers.get(name)
        constants = {name: t.data for name, t in self._graph.tensors.items() if t.data is not None}
        inputs = () if op is None else tuple((constants | dict(tensors))[n] for n in op.inputs)
        expected = tensors[name]
        return Sample(inputs, expected, self._values(rollout, evaluation, name, expected))

    def _variables(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {name: codes for name, codes in tensors.items() if self._graph.tensors[name].data is None}

    def _reads_right(self, op: Op, points: Mapping[str, Point], differing: set[str]) -> bool:
        """Whether all that ``op`` is computed from agrees; what has no point of its own, through what it comes from."""
        return all(
            name not in differing
            and (
                name in points or name not in self._writers or self._reads_right(self._writers[name], points, differing)
            )
            for name in op.inputs
        )

    # --- when the graph is evaluated ------------------------------------------------------------------------------

    def _evaluations_of(self, step: int) -> range:
        """The evaluations that a step costs, counted from the reset on, as closed_loop and the firmware run them."""
        forecast = self._graph.forecast
        if forecast.recurrence == "stateful":  # the first step is what the graph said to the last sample pushed
            return range(forecast.window) if step == 0 else range(forecast.window + step - 1, forecast.window + step)
        each = forecast.window if forecast.recurrence == "windowed" else 1
        block = step // forecast.steps
        return range(block * each, (block + 1) * each)

    def _steps_until(self, evaluation: int) -> int:
        """Steps of a forecast within which an evaluation is carried out; 0: it is a push that does it."""
        forecast = self._graph.forecast
        if forecast.recurrence == "stateful":
            return 0 if evaluation < forecast.window else evaluation - forecast.window + 2
        each = forecast.window if forecast.recurrence == "windowed" else 1
        return evaluation // each * forecast.steps + 1

    def _is_warm_up(self, evaluation: int) -> bool:
        """Whether an evaluation only brings the states on: the model is in mid-window, or in mid-block."""
        forecast = self._graph.forecast
        if forecast.recurrence == "windowed":
            return (evaluation + 1) % forecast.window != 0
        step = evaluation - forecast.window + 1
        return forecast.recurrence == "stateful" and step > 0 and step % forecast.steps != 0

    def _expected_inputs(self, rollout: int, steps: int) -> list[tuple[Array, tuple[Array, ...]]]:
        """(x, states before it) of every evaluation of ``steps`` steps, a batch of one each."""
        graph, seen = self._graph, []
        run = integer_step(graph)

        def record(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
            seen.append((x, states))
            return run(x, states)

        seed = self._seeds[rollout][None, : graph.forecast.seed_length(steps)]
        closed_loop(record, graph.forecast, seed, steps, zero_states(graph, 1), "integer", fed=rescaling(graph))
        return seen

    # --- what the board tells -------------------------------------------------------------------------------------

    def _differing(self, points: Mapping[str, Point], expected: Mapping[str, Array]) -> set[str]:
        dtype = CODE_TYPE_BY_SIZE[self._device.info.code_size]
        return {
            name
            for name, point in points.items()
            if name in expected and point.crc != zlib.crc32(np.ascontiguousarray(expected[name], dtype).tobytes())
        }

    def _points(self, rollout: int, evaluation: int) -> dict[str, Point]:
        """Every point of an evaluation, by the name of its tensor."""
        for _ in range(ATTEMPTS):
            frames = self._run(rollout, evaluation, Probe.ALL_POINTS)
            points = [Point.parse(frame.payload) for frame in frames if frame.type == MessageType.POINT]
            last = self._last_point[self._is_warm_up(evaluation)]
            if points and points[-1].point == last and [point.number for point in points] == list(range(len(points))):
                return {self._names[point.point]: point for point in points}
        raise self._lost(f"the points of evaluation {evaluation}")

    def _values(self, rollout: int, evaluation: int, name: str, like: Array) -> Array:
        """The codes of one point, in the shape of ``like``."""
        dtype = CODE_TYPE_BY_SIZE[self._device.info.code_size]
        for _ in range(ATTEMPTS):
            frames = self._run(rollout, evaluation, self._names.index(name))
            pieces = [Values.parse(frame.payload) for frame in frames if frame.type == MessageType.VALUES]
            data = b"".join(piece.codes for piece in pieces)
            if len(data) == like.size * dtype.itemsize:
                return np.frombuffer(data, dtype).reshape(like.shape)
        raise self._lost(f"the codes of {name}")

    def _run(self, rollout: int, evaluation: int, point: int) -> list[Frame]:
        """The frames that come while an evaluation is told of; none if the line lost a step, and so the count."""
        device, forecast, seed = self._device, self._graph.forecast, self._seeds[rollout]
        told: list[Frame] = []
        steps = self._steps_until(evaluation)
        device.reset()
        device.acknowledge(Probe(evaluation, point))
        device.observer = told.append
        try:
            device.push(seed[: forecast.window])
            if steps > 0:
                known = seed[forecast.window :, forecast.exogenous] if forecast.exogenous else None
                device.forecast(steps, ahead=None if known is None else known[:steps])
        finally:
            device.observer = lambda frame: None
        seen = [frame for frame in told if frame.type == MessageType.STEP]
        size = device.info.output_size
        in_order = [StepReply.parse(frame.payload, size).step for frame in seen] == list(range(steps))
        return told if in_order else []

    def _lost(self, what: str) -> DeviceError:
        return DeviceError(
            f"{self._device.name}: {what} did not arrive whole in {ATTEMPTS} attempts",
            hint="Lower the baud rate, or look at the cable. If it stays so, build with --probe and flash it again.",
        )
