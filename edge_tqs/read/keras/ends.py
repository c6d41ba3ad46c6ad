"""The inputs and outputs of a live Keras model as a forecaster's: one window in, one of the outputs out.

Several inputs (W, F1), (W, F2), ... are one window (W, F1 + F2 + ...): their channels side by side in the model's
order, which for a dict is that of its sorted keys. A shorter one (N, C) beside them takes the newest N samples of its
channels: what was measured of late, or, where a sample holds what is known of N samples later, the future. An input
(S,) or (1, S) beside a window is S channels more, behind all others: the model reads them off the newest sample. A
flat window (W * F,) holds W samples of F, the oldest first, and one with an axis of size 1, (W, F, 1), (W, 1, F) or
(1, W, F), the same values in that shape. Reading ends needs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from edge_tqs.errors import ModelError
from edge_tqs.graph.outputs import chosen_output
from edge_tqs.read.windows import flat_note, window_of
from edge_tqs.system.tensorflow import import_tensorflow

_INPUT_HINT = "A forecaster's inputs are sequences (W, C) of one length: start the model with Input((W, F))."


@dataclass(frozen=True)
class Entry:
    """One input of a model. shape: as the model takes it, without the batch. begin, channels: its place among the
    channels of a sample. newest: how many samples of the window it takes, where these are not all. static: it takes
    the newest sample's values alone. by_sample: it takes one value a sample, (W,). dtype: of its values; whole numbers
    where it looks rows up by them."""

    name: str
    shape: tuple[int | None, ...]
    begin: int
    channels: int
    static: bool = False
    by_sample: bool = False
    newest: int | None = None
    dtype: str = "float32"

    @property
    def flat(self) -> bool:
        """Whether it is a window in one row."""
        return len(self.shape) == 1 and not self.static and not self.by_sample

    @property
    def whole(self) -> bool:
        """Whether it takes whole numbers."""
        return "int" in self.dtype


@dataclass(frozen=True, eq=False)
class Ends:
    """What a model is called with, and what is read of what it gives.

    batch, window: None where the model leaves them open. entries: its inputs, in its order. output: index of the one
    that is the forecast. shape: its, with the batch. tensor: its symbolic tensor; None for a model that is not
    Functional.
    """

    batch: int | None
    window: int | None
    entries: tuple[Entry, ...]
    output: int
    shape: tuple[int | None, ...]
    tensor: Any
    _structure: Any

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each input, in the order in which they lie side by side."""
        return tuple(entry.channels for entry in sorted(self.entries, key=lambda entry: entry.begin))

    @property
    def static(self) -> tuple[int, ...]:
        """The channels that are read off the newest sample alone."""
        return tuple(
            channel
            for entry in self.entries
            if entry.static
            for channel in range(entry.begin, entry.begin + entry.channels)
        )

    @property
    def newest(self) -> tuple[tuple[int, int], ...]:
        """(channel, N) of each channel whose newest N samples alone are read."""
        return tuple(
            (channel, entry.newest)
            for entry in self.entries
            if entry.newest
            for channel in range(entry.begin, entry.begin + entry.channels)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made of inputs that are no windows as they stand, in sentences."""
        said = []
        for entry in self.entries:
            first, last = entry.begin, entry.begin + entry.channels - 1
            if entry.by_sample:
                said.append(f"Channel {first} is its input {entry.name}: whole numbers, one a sample.")
            elif entry.flat:
                said.append(flat_note(self.window, entry.channels))
            elif entry.static or entry.newest:
                where = f"channel {first} is" if first == last else f"channels {first} to {last} are"
                what = (
                    f"its newest {entry.newest} samples, which of columns NAME+{entry.newest} are what is known ahead."
                    if entry.newest
                    else "static, read off the newest sample."
                )
                said.append(f"{where.capitalize()} its input {entry.name}: {what}")
        return tuple(said)

    def given(self, window: Any) -> Any:
        """A window (N, W, F) as the model takes it."""
        if any(entry.whole for entry in self.entries):  # whose parts are of several types: Keras takes tensors alone
            window = import_tensorflow().convert_to_tensor(window)
        if not isinstance(self._structure, dict | list | tuple):
            return _part(self.entries[0], window)
        return _packed(self._structure, iter([_part(entry, window) for entry in self.entries]))

    def forecast_of(self, outputs: Any) -> Any:
        """The forecast among what the model gives."""
        return [value for _, value in _leaves(outputs)][self.output]

    def operations(self) -> set[int] | None:
        """Ids of the layers that the forecast depends on; None where that cannot be told."""
        if self.tensor is None:
            return None
        found: set[int] = set()
        seen: set[int] = set()
        pending = [self.tensor]
        while pending:
            tensor = pending.pop()
            if id(tensor) not in seen:
                seen.add(id(tensor))
                operation, node, _ = tensor._keras_history
                found.add(id(operation))
                pending += operation._inbound_nodes[node].input_tensors
        return found


def read_ends(model: Any, output: str | None = None, window: int | None = None) -> Ends:
    """The ends of a model. output: the name of the output layer, or the key in a dict of outputs. window: W of a flat
    window; not read otherwise.

    Raises ModelError, naming them, for inputs that make no window, for a flat one whose length is not said, and for
    several outputs of which none is chosen; UsageError for a ``window`` or an ``output`` that there is not.
    """
    if getattr(model, "_inputs_struct", None) is None:  # Sequential, or a class of the user's own
        shapes = [("", getattr(model, "input_shape", None))]
        outputs, structure = [("", getattr(model, "output_shape", None), None)], None
        types = [str(getattr(tensor, "dtype", "float32")) for tensor in getattr(model, "inputs", None) or [None]][:1]
    else:
        structure = model.input
        shapes = [(key or _name(tensor), tuple(tensor.shape)) for key, tensor in _leaves(structure)]
        outputs = [(key or _name(tensor), tuple(tensor.shape), tensor) for key, tensor in _leaves(model.output)]
        types = [str(tensor.dtype) for _, tensor in _leaves(structure)]
    _check_types([name for name, _ in shapes], types)
    batch, length, entries = _window(shapes, window, ["int" in dtype for dtype in types])
    entries = tuple(replace(entry, dtype=dtype) for entry, dtype in zip(entries, types, strict=True))
    index = chosen_output([(name, "" if tensor is None else _name(tensor)) for name, _, tensor in outputs], output)
    shape = outputs[index][1]
    if not isinstance(shape, tuple) or not shape or not isinstance(shape[0], int | None):
        raise ModelError(
            f"its output is {shape or 'not built'}, not one value or sequence",
            hint="Build it as a Functional or Sequential model that predicts a sample or a block of samples.",
        )
    return Ends(batch, length, entries, index, shape, outputs[index][2], structure)


def _check_types(names: list[str], types: list[str]) -> None:
    """Raise ModelError for an input of truth values."""
    for name, dtype in zip(names, types, strict=True):
        if dtype == "bool":
            raise ModelError(
                f"{_called(name, len(names))} takes bool: a sample holds measured values and whole numbers",
                hint="Take it as float32, 0 or 1.",
            )


def _called(name: str, count: int) -> str:
    return f"its input {name}" if count > 1 else "its input"


def _window(
    shapes: list[tuple[str, Any]], given: int | None, whole: list[bool]
) -> tuple[int | None, int | None, tuple[Entry, ...]]:
    """(batch, W, the inputs). whole: which of them take whole numbers; such a one (W,) is a channel of the window."""
    count = len(shapes)
    for name, shape in shapes:
        if not isinstance(shape, tuple) or any(isinstance(size, tuple) for size in shape):
            raise ModelError(f"{_called(name, count)} is {shape or 'not built'}, no window", hint=_INPUT_HINT)
        known = len(shape) in (2, 3, 4) and None not in shape[2 if len(shape) == 3 else 1 :]
        if not known or (len(shape) == 4 and 1 not in shape[1:]) or (count > 1 and len(shape) == 4):
            raise ModelError(
                f"{_called(name, count)} is {shape}, not (batch, W, F): W samples of F channels", hint=_INPUT_HINT
            )
    if count == 1:
        name, shape = shapes[0]
        length, channels = window_of(shape[1:], given)
        return shape[0], length, (Entry(name, shape[1:], 0, channels),)
    sequences = [(name, shape) for name, shape in shapes if len(shape) == 3 and shape[1] != 1]
    sequences = sequences or [(name, shape) for name, shape in shapes if len(shape) == 3]
    if not sequences:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes)
        raise ModelError(
            f"none of its inputs is a sequence (W, F): {listed}",
            hint=f"{_INPUT_HINT} Inputs (S,) beside it are static. A flat window is read where it is the only input.",
        )
    lengths = [shape[1] for _, shape in sequences]
    window = None if None in lengths else max(lengths)
    first, (batch, _, _) = sequences[0]
    by_sample = [
        (name, shape)
        for (name, shape), of_numbers in zip(shapes, whole, strict=True)
        if of_numbers and len(shape) == 2 and shape[1] == window != 1
    ]
    begin, places = 0, dict[str, tuple[int, bool]]()
    for static in (False, True):
        for name, shape in shapes:
            if ((name, shape) not in [*sequences, *by_sample]) == static:
                places[name], begin = (begin, static), begin + (1 if (name, shape) in by_sample else int(shape[-1]))
    for name, shape in shapes:
        if shape[0] != batch or (window is None and (name, shape) in sequences and shape[1] is not None):
            raise ModelError(
                f"its inputs {first} {sequences[0][1]} and {name} {shape} differ in their batch or their length W: "
                "they are no window whose channels lie side by side",
                hint=_INPUT_HINT,
            )
        if len(shape) == 2 and shape[1] == window and shape[1] != 1 and (name, shape) not in by_sample:
            raise ModelError(
                f"its input {name} {shape} may be one channel over the {window} samples of the window, or {window} "
                "values that are static",
                hint=f"Put an input ({window}, 1), for a channel, or (1, {window}), for static values, and Flatten in "
                f"front of {name}: keras.Model([..., x], model([..., keras.layers.Flatten()(x)])).",
            )
    entries = tuple(
        Entry(name, shape[1:], places[name][0], 1, by_sample=True)
        if (name, shape) in by_sample
        else Entry(
            name,
            shape[1:],
            places[name][0],
            int(shape[-1]),
            places[name][1],
            newest=int(shape[1]) if (name, shape) in sequences and shape[1] != window else None,
        )
        for name, shape in shapes
    )
    return batch, window, entries


def _part(entry: Entry, window: Any) -> Any:
    """What one input takes of a window (N, W, F)."""
    part = window[..., entry.begin : entry.begin + entry.channels]
    if entry.whole:
        tf = import_tensorflow()
        part = tf.cast(tf.round(part), entry.dtype)
    if entry.by_sample:
        return part[..., 0]
    if entry.newest:
        return part[:, -entry.newest :]
    if entry.static:
        return part[:, -1] if len(entry.shape) == 1 else part[:, -1:]
    if len(entry.shape) == 2:
        return part
    return import_tensorflow().reshape(part, (-1, *entry.shape))


def _name(tensor: Any) -> str:
    """The layer that gives a tensor; with _call2 where it is applied again, with /1 for its second output."""
    operation, node, index = tensor._keras_history
    return f"{operation.name}{f'_call{node + 1}' if node else ''}{f'/{index}' if index else ''}"


def _leaves(structure: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key or "", leaf) of lists and dicts within each other, as Keras flattens them."""
    if isinstance(structure, dict):
        for name in sorted(structure):
            yield from _leaves(structure[name], name)
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from _leaves(item, key)
    else:
        yield key, structure


def _packed(structure: Any, values: Iterator[Any]) -> Any:
    """``values`` in the order of ``_leaves``, in lists and dicts like those of ``structure``."""
    if isinstance(structure, dict):
        return {name: _packed(structure[name], values) for name in sorted(structure)}
    if isinstance(structure, list | tuple):
        return [_packed(item, values) for item in structure]
    return next(values)
