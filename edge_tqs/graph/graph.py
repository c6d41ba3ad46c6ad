"""The one intermediate representation: a forecaster as a static graph of tensors and operators.

The same type holds the float graph read from Keras and the integer graph that both emitters (flatbuffer and C) read, so
the two cannot drift apart. Batch is 1 everywhere and is part of the shape, as in TFLite.

edge_tqs.operators lists the operators (``Op.kind``), with their inputs and attributes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.signature import Signature, signature_of

DType = Literal["float32", "int8", "int4", "int16", "int32", "int64"]
Recurrence = Literal["none", "windowed", "stateful"]
Array = npt.NDArray[Any]
#: What a model predicts, and what is taken off its window (passes/level.py).
Target = Literal["level", "delta"]
Centre = Literal["none", "last", "mean"]

#: type of the activations of an integer graph -> numpy's of its codes; little-endian, as runtimes and boards hold them
CODE_TYPES: dict[str, np.dtype[Any]] = {"int8": np.dtype("i1"), "int16": np.dtype("<i2")}

#: tensors that tflite-micro's CONCATENATION takes; more are joined in several steps
MOST_JOINED = 10


@dataclass(frozen=True, eq=False)
class Quant:
    """Affine quantisation, real = scale * (code - zero_point).

    ``scale`` is float32 of shape (1,) (per tensor) or (channels,) along axis 0 (per channel; weights and biases only).
    """

    scale: npt.NDArray[np.float32]
    zero_point: int = 0

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named tensor; a constant when ``data`` is given.

    ``data`` has ``shape``; int4 codes are held one a byte in an int8 array, within [-7, 7]. ``source`` names the Keras
    variable that a weight comes from: it is the unit that is scored and planned (one variable may be cut into two
    tensors, as the recurrent kernel of a GRU with reset_after=False is). ``group``: float activations of one group are
    quantised alike, as the steps of an unrolled recurrent layer must be to share their weights; "" for none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    data: Array | None = None
    quant: Quant | None = None
    source: str | None = None
    group: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Op:
    """An operator; edge_tqs.operators has the table of kinds."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def signature(self) -> Signature:
        """What its kind takes. Raises ModelError for a kind that there is not."""
        return signature_of(self.kind)


@dataclass(frozen=True)
class State:
    """A recurrent state: ``name`` is its signature name (``<layer>_h``), the others are tensor names.

    delays: in a float graph, the activation whose past samples the state holds, so that it is quantised as that; it is
    computed before anything reads the state. "" for a state of its own.
    """

    name: str
    input: str
    output: str
    delays: str = ""


@dataclass(frozen=True)
class Scaling:
    """Physical units to the model's units, per channel: normalised = (physical - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def then(self, units: Scaling) -> Scaling:
        """Physical units to those that the model's are scaled to in turn: (normalised - units.mean) / units.std."""
        of = list(zip(self.mean, self.std, units.mean, units.std, strict=True))
        return Scaling(
            tuple(mean + std * offset for mean, std, offset, _ in of),
            tuple(std * scale for _, std, _, scale in of),
        )

    def scaled(self, values: Array) -> Array:
        """``values`` (..., channels) in the units that it scales to, float32."""
        made: Array = ((values.astype(np.float64) - self.mean) / self.std).astype(np.float32)
        return made


def same_units(channels: int) -> Scaling:
    """The scaling that changes nothing."""
    return Scaling((0.0,) * channels, (1.0,) * channels)


Statistic = Literal["value", "mean", "deviation", "quantile", "class"]
Task = Literal["forecast", "reconstruction", "classes"]


@dataclass(frozen=True)
class Output:
    """What one value that a step predicts speaks of.

    name: a column, or a class. lead: samples after the newest that the model has seen: 1 is the next one, 0 the newest
    itself. statistic: "value" and "mean" are what is expected; "deviation" is the standard deviation of it, "quantile"
    its quantile at ``level`` (0 to 1), "class" the evidence for a class. channel: the input channel in whose units the
    value is; None: units of its own.
    """

    name: str
    lead: int = 1
    statistic: Statistic = "value"
    level: float | None = None
    channel: int | None = None

    @property
    def label(self) -> str:
        """The name, with its statistic and its lead where they are not the usual ones."""
        kind = {"value": "", "class": "", "quantile": f" q{self.level or 0:g}"}.get(
            self.statistic, f" {self.statistic}"
        )
        return f"{self.name}{kind}{'' if self.lead == 1 or self.statistic == 'class' else f' +{self.lead}'}"


@dataclass(frozen=True)
class Forecast:
    """How the graph is rolled out.

    window: samples the model looks at (W). channels: values in a sample (F).
    recurrence: "none": the graph takes the whole window, x (1, W, F), oldest sample first, and has no states.
        "windowed": x is one sample (1, F); a forecast step runs the graph W times from zero states over the window, as
        Keras does with a stateless layer. "stateful": x is one sample; the states are carried on, never reset.
    feedback: feedback[i] is the output channel that becomes input channel i of the next sample, None for an input that
        no output becomes: it is exogenous, known ahead, unless it is among ``held``.
    columns: names of the channels. scaling: None when users push the model's own units.
    steps: samples that one evaluation predicts (H); the graph's output is (1, H * outputs), the oldest sample first.
    outputs: values in a predicted sample; 0 stands for as many as there are channels.
    held: channels that are measured, and hold their last value beyond the last sample.
    predicted: what each of ``outputs`` speaks of; empty: each of the channel that it becomes, at its step.
    output_scaling: physical units of the outputs; None: each is in those of the channel that it speaks of.
    task: what the outputs are: a forecast, the window itself (reconstruction), or evidence for classes.
    whole: (channel, N) of each channel that holds whole numbers 0 to N - 1, by which rows of a table are looked up.

    A forecast without any feedback is driven: each step pushes the sample that really followed, evaluates the graph
    once, and gives all that it says. Soft sensors, direct forecasts of several samples, filters, reconstructions and
    classifiers are driven systems.
    """

    window: int
    channels: int
    recurrence: Recurrence
    feedback: tuple[int | None, ...]
    columns: tuple[str, ...] = ()
    scaling: Scaling | None = None
    steps: int = 1
    outputs: int = 0
    held: tuple[int, ...] = ()
    predicted: tuple[Output, ...] = ()
    output_scaling: Scaling | None = None
    task: Task = "forecast"
    whole: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", self.outputs or self.channels)

    @property
    def driven(self) -> bool:
        """Whether nothing is fed back: every sample is one that was measured."""
        return all(source is None for source in self.feedback)

    @property
    def exogenous(self) -> tuple[int, ...]:
        """The input channels whose values come with the rollout: those known ahead, and of a driven system all."""
        return tuple(
            channel for channel, source in enumerate(self.feedback) if source is None and channel not in self.held
        )

    @property
    def output_channels(self) -> tuple[int | None, ...]:
        """For each output the input channel whose quantity it predicts, None where it is no input's.

        As ``predicted`` says; else the first channel that it becomes, or the one of its own number.
        """
        if self.predicted:
            return tuple(output.channel for output in self.predicted)
        if self.task == "reconstruction":
            return tuple(output % self.channels for output in range(self.outputs))
        if self.driven:
            return (None,) * self.outputs
        return tuple(
            self.feedback.index(output) if output in self.feedback else output for output in range(self.outputs)
        )

    @property
    def leads(self) -> tuple[int, ...]:
        """For each output how many samples after the newest one its time is; the first sample of a block counts."""
        if self.task == "reconstruction":
            return tuple(output // self.channels - (self.window - 1) for output in range(self.outputs))
        return tuple(output.lead for output in self.predicted) or (1,) * self.outputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """For each output what people call it: distinct only where the user's names are."""
        if self.predicted:
            return tuple(output.label for output in self.predicted)
        return tuple(
            f"output {output}" if channel is None else self.columns[channel] if self.columns else f"channel {channel}"
            for output, channel in enumerate(self.output_channels)
        )

    def scaling_of_outputs(self) -> Scaling:
        """Physical units of each output: model's units = (physical - mean) / std. A deviation has no offset."""
        if self.output_scaling is not None:
            return self.output_scaling
        of = self.output_channels
        if self.scaling is None:
            return same_units(self.outputs)
        spread = [output.statistic == "deviation" for output in self.predicted] or [False] * self.outputs
        return Scaling(
            tuple(
                0.0 if channel is None or deviation else self.scaling.mean[channel]
                for channel, deviation in zip(of, spread, strict=True)
            ),
            tuple(1.0 if channel is None else self.scaling.std[channel] for channel in of),
        )

    def in_units(self, x: Scaling, y: Scaling) -> Forecast:
        """The forecast of a graph whose inputs and outputs are scaled by ``x`` and ``y`` more than they were."""
        scaling = (self.scaling or same_units(self.channels)).then(x)
        outputs = self.scaling_of_outputs().then(y)
        made = replace(self, scaling=scaling, output_scaling=None)
        return made if made.scaling_of_outputs() == outputs else replace(made, output_scaling=outputs)

    def reached(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Least and greatest value of each channel (F,), in the model's units, with all that looks rows up."""
        if self.whole:
            low, high = low.astype(np.float64), high.astype(np.float64)
        for channel, values in self.whole_values().items():
            low[channel] = min(low[channel], values.min())
            high[channel] = max(high[channel], values.max())
        return low, high

    def whole_values(self) -> dict[int, Array]:
        """By channel the whole numbers that it may hold, (N,) float32 in the model's units."""
        units = self.scaling or same_units(self.channels)
        return {
            channel: ((np.arange(count) - units.mean[channel]) / units.std[channel]).astype(np.float32)
            for channel, count in self.whole
        }

    def seed_length(self, horizon: int) -> int:
        """Samples of a seed for rollouts of ``horizon`` steps: those known ahead come with it."""
        return self.window + (horizon if self.exogenous else 0)

    def check(self, name: str, values: int) -> None:
        """Raise ModelError unless a graph ``name`` with ``values`` in its output can be rolled out so."""
        if self.steps < 1 or values != self.steps * self.outputs:
            raise ModelError(f"{name}: its output holds {values} values, not {self.steps} x {self.outputs}")
        if len(self.feedback) != self.channels or any(
            source is not None and not 0 <= source < self.outputs for source in self.feedback
        ):
            raise ModelError(
                f"{name}: feedback {list(self.feedback)} does not name one of {self.outputs} outputs, or none, "
                f"for each of {self.channels} inputs"
            )
        if any(not 0 <= channel < self.channels or self.feedback[channel] is not None for channel in self.held):
            raise ModelError(f"{name}: {list(self.held)} are not all inputs that no output becomes")
        if self.driven and (self.steps != 1 or self.held):
            raise ModelError(f"{name}: nothing is fed back, so that there are neither blocks nor inputs that are held")
        if any(not 0 <= channel < self.channels or self.feedback[channel] is not None for channel, _ in self.whole):
            raise ModelError(f"{name}: rows are looked up by {list(self.whole)}, which are no inputs that keep a row")
        of_outputs = [len(self.predicted)] if self.predicted else []
        of_outputs += [len(self.output_scaling.mean)] if self.output_scaling else []
        if any(count != self.outputs for count in of_outputs) or any(
            channel is not None and not 0 <= channel < self.channels for channel in self.output_channels
        ):
            raise ModelError(f"{name}: what is said of its outputs does not fit {self.outputs} of them")


@dataclass(frozen=True)
class Graph:
    """A forecaster: tensors by name (in a stable order), operators in execution order, input, output, states."""

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    input: str
    output: str
    states: tuple[State, ...]
    forecast: Forecast

    @property
    def activations(self) -> DType:
        """The type of what goes in and comes out: float32, int8 or int16."""
        return self.tensors[self.input].dtype

    def type_of(self, op: Op) -> DType:
        """The type of what ``op`` reads; of codes, each operator may have another."""
        return self.tensors[op.inputs[0]].dtype

    def quant(self, name: str) -> Quant:
        """The quantisation of tensor ``name``. Raises ModelError for none, or an int16 one with a zero point."""
        tensor = self.tensors[name]
        if tensor.quant is None:
            raise ModelError(f"{self.name}: tensor {name} is not quantised")
        if tensor.dtype == "int16" and tensor.quant.zero_point != 0:
            point = tensor.quant.zero_point
            raise ModelError(f"{self.name}: tensor {name} is int16 with the zero point {point}, not 0")
        return tensor.quant

    def weights(self) -> dict[str, tuple[Tensor, ...]]:
        """The quantizable weights by source, in execution order, each tensor once."""
        found: dict[str, list[Tensor]] = {}
        for name in dict.fromkeys(op.inputs[1] for op in self.ops if op.signature.is_weighted):
            tensor = self.tensors[name]
            found.setdefault(tensor.source or tensor.name, []).append(tensor)
        return {source: tuple(tensors) for source, tensors in found.items()}

    def with_tensors(self, changed: Mapping[str, Tensor]) -> Graph:
        return replace(self, tensors={name: changed.get(name, tensor) for name, tensor in self.tensors.items()})

    def check(self) -> Graph:
        """Raise ModelError unless the graph is well formed; return it, so that each step can end with it."""
        known = {name for name, tensor in self.tensors.items() if tensor.data is not None}
        known |= {self.input} | {state.input for state in self.states}
        for name, tensor in self.tensors.items():
            self._check_tensor(name, tensor)
        for index, op in enumerate(self.ops):
            where = f"{self.name}: operator {index} ({op.kind})"
            signature = signature_of(op.kind, where)
            if not signature.least <= len(op.inputs) <= signature.most or set(op.attrs) != signature.attributes:
                raise ModelError(f"{where}: wrong inputs {op.inputs} or attributes {dict(op.attrs)}")
            for name in op.inputs:
                if name not in known:
                    raise ModelError(f"{where}: reads {name} before anything writes it")
            for name in op.outputs:
                if name not in self.tensors or name in known:
                    raise ModelError(f"{where}: writes {name}, which is unknown or already written")
                known.add(name)
            self._check_shapes(where, op)
        for name in (self.output, *(state.output for state in self.states)):
            if name not in known:
                raise ModelError(f"{self.name}: output {name} is never written")
        for state in self.states:
            if self.tensors[state.input].shape != self.tensors[state.output].shape:
                raise ModelError(f"{self.name}: state {state.name} changes its shape")
        return self

    def _check_tensor(self, name: str, tensor: Tensor) -> None:
        if tensor.name != name:
            raise ModelError(f"{self.name}: tensor {tensor.name} is filed under {name}")
        if tensor.data is None:
            return
        if tensor.data.shape != tensor.shape:
            raise ModelError(f"{self.name}: tensor {name} holds {tensor.data.shape}, says {tensor.shape}")
        if tensor.dtype == "float32" and not np.isfinite(tensor.data).all():
            raise ModelError(
                f"{self.name}: weight {name} holds NaN or infinite values",
                hint="The training diverged or the file is damaged: load an earlier checkpoint.",
            )
        if tensor.dtype == "int4" and np.abs(tensor.data).max(initial=0) > 7:
            raise ModelError(f"{self.name}: int4 tensor {name} holds codes outside [-7, 7]")

    def _check_shapes(self, where: str, op: Op) -> None:
        inputs, outputs = ([self.tensors[name].shape for name in names] for names in (op.inputs, op.outputs))
        positive = all(min(shape, default=1) >= 1 for shape in (*inputs, *outputs))
        if not positive or not op.signature.fit(op.attrs, inputs, outputs):
            attrs = f" with {dict(op.attrs)}" if op.attrs else ""
            raise ModelError(f"{where}: shapes {inputs} do not give {outputs}{attrs}")
