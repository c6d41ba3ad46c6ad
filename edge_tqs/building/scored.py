"""The second step: each weight scored, beside the bytes that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from edge_tqs.building.opened import Model, opened_model
from edge_tqs.building.request import DEFAULT_ACTIVATIONS, ModelRequest
from edge_tqs.building.units import forecast_of
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.planning.refine import SEEDS as REFINE_SEEDS
from edge_tqs.planning.score import SEEDS, Sensitivity, score
from edge_tqs.progress import Progress
from edge_tqs.quantization.quantize import AskedActivations, codes_beside
from edge_tqs.quantization.sizes import estimated_bytes, one_scale_bytes, weight_bytes
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import zero_data_seeds

#: Windows for activation ranges where there is no data, and where these are to be measured nonetheless.
ZERO_DATA_WINDOWS, MEASURED_WINDOWS = 16, 128


@dataclass(frozen=True, eq=False, repr=False)
class ScoredModel:
    """A model that was opened and scored.

    costs: bytes by weight and width, with activations as ``model.request`` has them. seeds: real windows that plans are
    refined on, where they were asked for; None leaves it to the chooser.
    """

    model: Model
    sensitivity: Sensitivity
    costs: Mapping[str, Mapping[int, int]]
    seeds: Array | None = None

    def __repr__(self) -> str:
        return f"<ScoredModel {self.model.name}: {len(self.costs)} weights over {self.sensitivity.horizon} steps>"

    @cached_property
    def one_scale(self) -> Mapping[str, Mapping[int, int]]:
        """What each weight costs with one scale; nothing of a model that no file is written of."""
        loaded, activations = self.model.opened.loaded, self.model.request.activations or DEFAULT_ACTIVATIONS
        return {} if loaded is None else one_scale_bytes(loaded.graph, self.costs, codes_beside(activations))

    def with_activations(self, activations: AskedActivations) -> ScoredModel:
        """The same scores beside the bytes that the weights take with ``activations``."""
        request = self.model.request
        if (request.activations or DEFAULT_ACTIVATIONS) == activations:
            return self
        model = replace(self.model, request=replace(request, activations=activations))
        return replace(self, model=model, costs=_costs(model))


#: What a plan can start from: how to read a model, or what was made of it so far.
Source = ModelRequest | Model | ScoredModel


def scored_model(source: Source, progress: Progress) -> ScoredModel:
    """Open and score the model as far as that is not done yet. Raises as `open_requested` and `score_model`."""
    return source if isinstance(source, ScoredModel) else score_model(opened_model(source, progress), progress)


def score_model(model: Model, progress: Progress) -> ScoredModel:
    """Score the weights of an opened model. Raises UsageError."""
    opened, request = model.opened, model.request
    system = opened.system

    def real(count: int) -> Array | None:
        if not request.real_seeds:
            return None
        if request.training is None:
            raise UsageError("There is no data to take real seeds from", hint="Give a CSV with --data.")
        forecast = forecast_of(system, request)
        return request.training(forecast, request.horizon, count)[:, : system.seed_length(request.horizon)]

    sensitivity = score(
        system,
        horizon=request.horizon,
        draws=request.draws,
        seeds=real(SEEDS),
        seed=request.seed,
        model_hash=opened.model_hash,
        progress=lambda done, total: progress("scoring", done, total),
        workers=request.workers,
        opener=opened.opener,
        cache=request.cache,
        variant=request.variant,
    )
    return ScoredModel(model, sensitivity, _costs(model), real(REFINE_SEEDS))


def zero_data_windows(graph: Graph, request: ModelRequest) -> Array:
    """Windows (N, W, F) or longer that activation ranges come from where there is no data."""
    count = MEASURED_WINDOWS if request.measures_ranges else ZERO_DATA_WINDOWS
    return zero_data_seeds(graph_system(graph), count, request.horizon, request.seed + 1)


def _costs(model: Model) -> Mapping[str, Mapping[int, int]]:
    loaded = model.opened.loaded
    if loaded is None:
        return estimated_bytes(model.opened.system)
    return weight_bytes(loaded.graph, codes_beside(model.request.activations or DEFAULT_ACTIVATIONS))
