"""A Keras model as a sorted list of nodes: each layer as often as it is applied, with what it is called with.

Keras counts the applications of a layer; each is a node, and gives one or several tensors. The description comes from
the model's own config, so it is the same for a Functional and a Sequential model, and models inside the model are
opened: their nodes are named <model>/<layer>. Never imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

#: Classes of models that are opened where they stand inside another.
MODELS = frozenset({"Functional", "Sequential", "Model"})
#: Where Keras keeps the operations of keras.ops; in a node they are of kind ops.<class>, such as ops.Mean.
_OPERATIONS = "keras.src.ops."


@dataclass(frozen=True)
class Source:
    """A tensor that an input or a node gives: ``tensor`` counts what one application returns, mostly one tensor."""

    node: str
    tensor: int = 0

    @property
    def key(self) -> str:
        """<node>, or <node>/<tensor> behind the first."""
        return f"{self.node}/{self.tensor}" if self.tensor else self.node


@dataclass(frozen=True)
class Input:
    """An input of the model. shape: with the batch, None where it is open; empty where it is not known."""

    name: str
    shape: tuple[int | None, ...]
    source: Source


@dataclass(frozen=True)
class Output:
    """An output of the model: its key in a dict of outputs, else its node's name."""

    name: str
    source: Source


@dataclass(frozen=True, eq=False)
class Node:
    """One application of a layer, or of an operation of keras.ops.

    name: of the layer, and <layer>_call2 and so on where it is applied again. operation: the live Keras object. kind:
    its class name; ops.<class> for an operation. call: which of the applications, from 0. given: the "args" and
    "kwargs" that it is called with, as the config holds them; empty in a Sequential model. sources, shapes: the tensors
    among them in order, and their shapes with the batch.
    """

    name: str
    operation: Any
    kind: str
    call: int
    given: Mapping[str, Any]
    sources: tuple[Source, ...]
    shapes: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True, eq=False)
class Nodes:
    """A model: its inputs and outputs in its own order; its nodes, each behind those that it reads."""

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]


def kind_of(item: Mapping[str, Any]) -> str:
    """The kind of node that an entry of a model's config describes."""
    name = str(item["class_name"])
    return f"ops.{name}" if str(item.get("module", "")).startswith(_OPERATIONS) else name


def is_model(item: Mapping[str, Any]) -> bool:
    """Whether an entry of a model's config is a model of Keras' own classes."""
    name = item["class_name"]
    return name in MODELS and item.get("registered_name") in (None, name)


def items_of(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The entries of all layers and operations in a model's config, those of models inside it among them."""
    for item in config.get("layers") or ():
        if is_model(item):
            yield from items_of(item["config"])
        else:
            yield item


def read_nodes(model: Any) -> Nodes:
    """The nodes of a live Keras model that its outputs depend on."""
    reading = _Reading()
    config = model.get_config()
    if "input_layers" not in config:
        built = bool(getattr(model, "inputs", None))
        given = Input(model.inputs[0].name if built else "", tuple(model.input_shape) if built else (), Source(""))
        end = reading.sequential(model, config, "", given.source)
        return Nodes((given,), tuple(reading.nodes), (Output(end.node, end),))
    shapes = {
        item["config"]["name"]: tuple(item["config"]["batch_shape"])
        for item in config["layers"]
        if item["class_name"] == "InputLayer"
    }
    inputs = [(key or name, name) for key, name, _, _ in _ends(config["input_layers"])]
    made = reading.functional(model, config, "", {name: Source(name) for _, name in inputs})
    keys = [key for key, *_ in _ends(config["output_layers"])]
    return Nodes(
        tuple(Input(key, shapes[name], Source(name)) for key, name in inputs),
        tuple(reading.nodes),
        tuple(Output(key or source.key, source) for key, source in zip(keys, made, strict=True)),
    )


def behind_output(nodes: Nodes, index: int) -> Nodes:
    """The part of a model that its output ``index`` depends on, with all its inputs."""
    wanted, kept = {nodes.outputs[index].source.node}, []
    for node in reversed(nodes.nodes):
        if node.name in wanted:
            wanted |= {source.node for source in node.sources}
            kept.append(node)
    return replace(nodes, nodes=tuple(reversed(kept)), outputs=(nodes.outputs[index],))


class _Reading:
    """Collects nodes; each method gives the sources of a model's outputs."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def sequential(self, model: Any, config: Mapping[str, Any], prefix: str, source: Source) -> Source:
        """A chain of layers from ``source`` on."""
        live = {layer.name: layer for layer in model.layers}
        for item in config["layers"]:
            if item["class_name"] != "InputLayer":
                layer = live[item["config"]["name"]]
                read = layer.input  # with the mask of a Masking layer behind it
                shape = tuple((read[0] if isinstance(read, list) else read).shape)
                (source,) = self._add(item, layer, prefix, 0, {}, [(source, shape)])
        return source

    def functional(
        self, model: Any, config: Mapping[str, Any], prefix: str, given: Mapping[str, Source]
    ) -> list[Source]:
        """What lies between ``given``, the sources of the model's InputLayers by name, and its outputs."""
        live = {operation.name: operation for operation in model.operations}
        calls = {
            (item["config"]["name"], call): (item, node)
            for item in config["layers"]
            for call, node in enumerate(item["inbound_nodes"])
        }
        masks = _masks(calls)
        made: dict[tuple[str, int], tuple[Source, ...]] = {(name, 0): (source,) for name, source in given.items()}

        def source_of(name: str, call: int, tensor: int) -> Source:
            sources = made[name, call]
            return sources[tensor] if tensor < len(sources) else Source(sources[0].node, tensor)

        # Keras counts a nested Functional's calls from 1 here, where others read it from 0
        nested = {name for (name, _), (item, _) in calls.items() if is_model(item) and "input_layers" in item["config"]}
        ends = [(name, call - (name in nested), tensor) for _, name, call, tensor in _ends(config["output_layers"])]
        for name, call, _ in ends:
            pending = [(name, call)]
            while pending:
                if pending[-1] in made:
                    pending.pop()
                    continue
                item, node = calls[pending[-1]]
                if _histories(node.get("kwargs", {}).get("mask")) & masks:
                    node = {**node, "kwargs": {key: value for key, value in node["kwargs"].items() if key != "mask"}}
                histories = list(_tensors(node))
                missing = [history[:2] for history, _ in histories if history[:2] not in made]
                if missing:
                    pending.append(missing[0])
                    continue
                key = pending.pop()
                read = [(source_of(*history), shape) for history, shape in histories]
                made[key] = self._add(item, live[key[0]], prefix, key[1], node, read)
        return [source_of(*end) for end in ends]

    def _add(
        self,
        item: Mapping[str, Any],
        operation: Any,
        prefix: str,
        call: int,
        given: Mapping[str, Any],
        read: list[tuple[Source, tuple[int | None, ...]]],
    ) -> tuple[Source, ...]:
        name = prefix + item["config"]["name"] + (f"_call{call + 1}" if call else "")
        sources = tuple(source for source, _ in read)
        if not is_model(item):
            shapes = tuple(shape for _, shape in read)
            self.nodes.append(Node(name, operation, kind_of(item), call, given, sources, shapes))
            return (Source(name),)
        config = operation.get_config()
        if "input_layers" not in config:
            return (self.sequential(operation, config, f"{name}/", sources[0]),)
        inputs = [layer for _, layer, _, _ in _ends(config["input_layers"])]
        return tuple(self.functional(operation, config, f"{name}/", dict(zip(inputs, sources, strict=True))))


def _ends(entry: Any, key: str = "") -> Iterator[tuple[str, str, int, int]]:
    """(key or "", layer, node, tensor) of ``input_layers``/``output_layers``: [layer, node, tensor], lists or dicts."""
    if isinstance(entry, dict):
        for name in sorted(entry):  # as Keras flattens a dict
            yield from _ends(entry[name], name)
    elif entry and isinstance(entry[0], str):
        yield (key, *entry)
    else:
        for item in entry:
            yield from _ends(item, key)


def _masks(calls: Mapping[tuple[str, int], tuple[Mapping[str, Any], Mapping[str, Any]]]) -> set[tuple[str, int, int]]:
    """The tensors that Keras has for the masks of Masking layers: any(x != mask_value) over the channels.

    What layers do with them is said by the Masking layers alone. Masks of another origin are tensors as any.
    """
    masking = {
        (history, float(item["config"]["mask_value"]))
        for item, node in calls.values()
        if kind_of(item) == "Masking"
        for history in _histories(node)
    }
    unequal = {
        (name, call, 0)
        for (name, call), (item, node) in calls.items()
        if kind_of(item) == "ops.NotEqual"
        and isinstance(node["args"][-1], int | float)
        and {(history, float(node["args"][-1])) for history in _histories(node)} & masking
    }
    return {
        (name, call, 0)
        for (name, call), (item, node) in calls.items()
        if kind_of(item) == "ops.Any" and _histories(node) & unequal
    }


def _histories(entry: Any) -> set[tuple[str, int, int]]:
    return {history for history, _ in _tensors(entry)}


def _tensors(entry: Any) -> Iterator[tuple[tuple[str, int, int], tuple[int | None, ...]]]:
    """(layer, node, tensor) and shape of each tensor that a node is called with, in order."""
    if isinstance(entry, dict) and entry.get("class_name") == "__keras_tensor__":
        yield tuple(entry["config"]["keras_history"]), tuple(entry["config"]["shape"])
    elif isinstance(entry, dict | list | tuple):
        for item in entry.values() if isinstance(entry, dict) else entry:
            yield from _tensors(item)
