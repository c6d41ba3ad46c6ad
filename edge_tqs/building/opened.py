"""The first step: a model that was opened, its graph as it is built."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_tqs.building.request import ModelRequest
from edge_tqs.building.settle import open_requested
from edge_tqs.building.units import in_words, units_of_outputs
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Graph
from edge_tqs.passes.affine_ends import without_ends
from edge_tqs.progress import Progress
from edge_tqs.read.opening import Opened, opened_graph
from edge_tqs.read.twin import Twin, twin_of


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model that was opened, and how it is to be scored.

    Shapes: a call takes a window (window, channels) and predicts (steps, outputs). refusal: why it can be scored and
    planned alone; None for a model that can be built.
    """

    request: ModelRequest
    opened: Opened

    def __repr__(self) -> str:
        return f"<Model {self.name}: window {self.window}, {self.channels} channels, {len(self.weights)} weights>"

    @property
    def name(self) -> str:
        return self.opened.system.name

    @property
    def window(self) -> int:
        """Samples that a call looks at."""
        return self.opened.system.window

    @property
    def channels(self) -> int:
        """Values of a sample."""
        return self.opened.system.channels

    @property
    def outputs(self) -> int:
        """Values of a predicted sample."""
        return self.opened.system.outputs

    @property
    def steps(self) -> int:
        """Samples that a call predicts."""
        return self.opened.system.steps

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that are scored and planned."""
        return tuple(self.opened.system.weights)

    @property
    def refusal(self) -> ModelError | None:
        return self.opened.refusal

    @property
    def twin(self) -> Twin:
        """What plans its weights in place of what scores them."""
        return twin_of(self.opened, self.request.horizon, self.request.seed)


def opened_model(source: ModelRequest | Model, progress: Progress) -> Model:
    """Open the model unless it is, without the affine ends that leave channels no codes. Raises as `open_requested`."""
    return source if isinstance(source, Model) else _without_ends(*open_requested(source, progress))


def _without_ends(request: ModelRequest, opened: Opened) -> Model:
    """The model whose channels are scaled by the board where its own layers did it (passes/affine_ends.py).

    Before it is scored: its weights are those that are built, and windows made without data are of channels that are
    alike, as those are that a normalised model sees.
    """
    taken = without_ends(opened.loaded.graph) if opened.loaded else None
    if taken is None or opened.loaded is None:
        return Model(request, opened)
    forecast = opened.loaded.graph.forecast
    output_scaling = units_of_outputs(request.output_scaling, forecast.outputs)
    forecast = replace(forecast, scaling=request.scaling, output_scaling=output_scaling).in_units(taken.x, taken.y)
    names = request.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    note = (
        f"{' and '.join(taken.sources) or 'Constant scales and offsets at its ends'} were taken out of the graph: the "
        f"board scales each channel by itself, which is exact. The model's units are now {in_words(names, taken.x)}"
        + ("." if forecast.output_scaling is None else f"; of its outputs {in_words(forecast.output_names, taken.y)}.")
    )
    out = {source.split("/")[0] for source in taken.sources}
    layers = tuple(
        f"{line}, taken out of the graph" if line.split(":")[0] in out else line for line in opened.loaded.layers
    )
    loaded = replace(opened.loaded, graph=taken.graph, notes=(*opened.loaded.notes, note), layers=layers)
    request = replace(request, scaling=forecast.scaling, output_scaling=forecast.output_scaling)
    return Model(replace(request, ends_taken=True), opened_graph(loaded))


def scaled_graph(model: Model) -> Graph:
    """The float graph, with the names and physical units of its channels."""
    request, (_, graph) = model.request, model.opened.need_graph()
    output_scaling = units_of_outputs(request.output_scaling, graph.forecast.outputs)
    forecast = replace(graph.forecast, columns=request.columns, scaling=request.scaling, output_scaling=output_scaling)
    return replace(graph, forecast=forecast).check()
