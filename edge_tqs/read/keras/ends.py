"""The inputs and outputs of a live Keras model as a forecaster's: one window in, one of the outputs out.

Several inputs (W, F1), (W, F2), ... are one window (W, F1 + F2 + ...): their channels side by side in the model's
order, which for a dict is that of its sorted keys. Never imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_tqs.errors import ModelError
from edge_tqs.graph.outputs import chosen_output

_INPUT_HINT = "A forecaster's inputs are sequences (W, C) of one length: start the model with Input((W, F))."


@dataclass(frozen=True, eq=False)
class Ends:
    """What a model is called with, and what is read of what it gives.

    batch, window: None where the model leaves them open. channels: of each input. output: index of the one that is the
    forecast. shape: its, with the batch. tensor: its symbolic tensor; None for a model that is not Functional.
    """

    batch: int | None
    window: int | None
    channels: tuple[int, ...]
    output: int
    shape: tuple[int | None, ...]
    tensor: Any
    _structure: Any

    def given(self, window: Any) -> Any:
        """A window (N, W, F) as the model takes it."""
        if not isinstance(self._structure, dict | list | tuple):
            return window
        begin, parts = 0, []
        for size in self.channels:
            parts.append(window[..., begin : begin + size])
            begin += size
        return _packed(self._structure, iter(parts))

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


def read_ends(model: Any, output: str | None = None) -> Ends:
    """The ends of a model. output: the name of the output layer, or the key in a dict of outputs.

    Raises ModelError, naming them, for inputs that are no sequences of one length, and for several outputs of which
    none is chosen; UsageError for an ``output`` that there is not.
    """
    if getattr(model, "_inputs_struct", None) is None:  # Sequential, or a class of the user's own
        shapes = [("", getattr(model, "input_shape", None))]
        outputs, structure = [("", getattr(model, "output_shape", None), None)], None
    else:
        structure = model.input
        shapes = [(key or _name(tensor), tuple(tensor.shape)) for key, tensor in _leaves(structure)]
        outputs = [(key or _name(tensor), tuple(tensor.shape), tensor) for key, tensor in _leaves(model.output)]
    batch, window, channels = _window(shapes)
    index = chosen_output([(name, "" if tensor is None else _name(tensor)) for name, _, tensor in outputs], output)
    shape = outputs[index][1]
    if not isinstance(shape, tuple) or not shape or not isinstance(shape[0], int | None):
        raise ModelError(
            f"its output is {shape or 'not built'}, not one value or sequence",
            hint="Build it as a Functional or Sequential model that predicts a sample or a block of samples.",
        )
    return Ends(batch, window, channels, index, shape, outputs[index][2], structure)


def _window(shapes: list[tuple[str, Any]]) -> tuple[int | None, int | None, tuple[int, ...]]:
    """(batch, W, channels of each input)."""
    for name, shape in shapes:
        if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] is None or isinstance(shape[2], tuple):
            which = f"its input {name}" if len(shapes) > 1 else "its input"
            raise ModelError(
                f"{which} is {shape or 'not built'}, not (batch, W, F): W samples of F channels", hint=_INPUT_HINT
            )
    batch, window, _ = shapes[0][1]
    for name, shape in shapes[1:]:
        if shape[:2] != (batch, window):
            raise ModelError(
                f"its inputs {shapes[0][0]} {shapes[0][1]} and {name} {shape} differ in their batch or their length W: "
                "they are no window whose channels lie side by side",
                hint=f"{_INPUT_HINT} What is known ahead goes in as channels of that window, named with --exogenous: "
                "its values are then given with each forecast, one a step.",
            )
    return batch, window, tuple(shape[2] for _, shape in shapes)


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
