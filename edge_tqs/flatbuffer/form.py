"""For whom a model.tflite is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Graph, Op

#: "c" is the C that is generated from the file.
RUNTIMES = ("litert", "tflite-runtime", "tflm", "c")
#: Of interpreters that want a zero point for each scale.
WITH_EVERY_ZERO_POINT = frozenset({"litert", "tflite-runtime"})


@dataclass(frozen=True)
class FileForm:
    """runtimes: those of RUNTIMES that are to run the file; one that refuses it is then an error, and another's needs
    take no bytes. strip: whether tensors and weights lose their names, of which no runtime reads any.

    Raises UsageError where there is no such runtime, or none is named.
    """

    runtimes: tuple[str, ...] = RUNTIMES
    strip: bool = False

    def __post_init__(self) -> None:
        unknown = [runtime for runtime in self.runtimes if runtime not in RUNTIMES]
        if unknown or not self.runtimes:
            raise UsageError(
                f"there is no runtime {unknown[0]}" if unknown else "no runtime is named",
                hint=f"Name some of {', '.join(RUNTIMES)}, with commas between them.",
            )

    @property
    def every_zero_point(self) -> bool:
        """Whether each scale of a weight has a zero point of its own; else one is for all."""
        return not WITH_EVERY_ZERO_POINT.isdisjoint(self.runtimes)


FOR_ALL = FileForm()


def without_names(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """An integer ``graph`` whose tensors, states and weights are numbered, and the new name of each weight's source."""
    names = {name: f"{number:x}" for number, name in enumerate(graph.tensors)}
    sources = {source: names[tensors[0].name] for source, tensors in graph.weights().items()}
    tensors = {
        names[name]: replace(tensor, name=names[name], source=sources.get(tensor.source or ""))
        for name, tensor in graph.tensors.items()
    }
    states = tuple(
        replace(state, name=f"s{number}", input=names[state.input], output=names[state.output])
        for number, state in enumerate(graph.states)
    )
    ops = tuple(
        Op(op.kind, tuple(names[name] for name in op.inputs), tuple(names[name] for name in op.outputs), op.attrs)
        for op in graph.ops
    )
    renamed = replace(
        graph, tensors=tensors, ops=ops, states=states, input=names[graph.input], output=names[graph.output]
    )
    return renamed.check(), sources
