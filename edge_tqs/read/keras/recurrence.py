"""How a Keras model is rolled over its window: step by step with states, or all of it at once, and how long it is."""

from __future__ import annotations

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Recurrence
from edge_tqs.read.keras.ends import Ends
from edge_tqs.read.keras.layers import MERGING, RECURRENT, KerasLayer, is_over_time, is_stateful, spreads

#: For a recurrent layer that gives a label for each sample.
WIDE_LINE = (
    'If its last sample is the forecast, say labels = "wide" under [forecast] in edge-tqs.toml, or --labels wide'
)


def choose_recurrence(layers: list[KerasLayer], wanted: str, last_only: bool, ends: Ends) -> Recurrence:
    """How the layers are rolled: ``wanted``, or "auto". Raises ModelError for what contradicts itself or is wide."""
    recurrent = [layer for layer in layers if layer.kind in RECURRENT]
    if not recurrent:
        return "none"
    stateful = [is_stateful(layer) for layer in recurrent]
    if wanted == "auto" and len(set(stateful)) > 1:
        raise ModelError("some recurrent layers are stateful and some are not", hint="Set stateful on all or on none.")
    carried = wanted == "stateful" or (wanted == "auto" and stateful[0])
    if ends.newest:
        if carried:
            name = next(entry.name for entry in ends.entries if entry.newest)
            raise ModelError(
                f"its input {name} is a part of the window, so no state can be carried from one sample to the next",
                hint="Use the model as windowed.",
            )
        return "none"
    over_time = _over_time(layers)
    if over_time is None and not last_only and recurrent[-1].config["return_sequences"]:
        if not carried:
            return "none"  # its output is a sequence
        raise recurrent[-1].refuse(
            "it gives a sequence, and a state that is carried on gives the sample that follows",
            hint=f"{WIDE_LINE}, or set return_sequences=False.",
        )
    if over_time is None:
        return "stateful" if carried else "windowed"
    if carried:
        raise over_time.refuse(
            "it looks at the window as a whole, so no state can be carried from one sample to the next",
            hint="Use the model as windowed, or take this layer out.",
        )
    return "none"


def _over_time(layers: list[KerasLayer]) -> KerasLayer | None:
    """A layer that no step from one sample to the next computes."""
    return next(filter(is_over_time, layers), None) or _spread_within(layers)


def unrolled_by(layers: list[KerasLayer]) -> str:
    """The layer for which recurrent ones are unrolled over the window, with its kind; "" where they are not."""
    over_time = _over_time(layers) if any(layer.kind in RECURRENT for layer in layers) else None
    return "" if over_time is None else f"{over_time.name} ({over_time.kind})"


def _spread_within(layers: list[KerasLayer]) -> KerasLayer | None:
    """A layer that makes a sequence of a flat value before another one that steps over it or joins it with others."""
    for index, layer in enumerate(layers):
        if spreads(layer) and any(later.kind in RECURRENT | MERGING for later in layers[index + 1 :]):
            return layer
    return None


def choose_window(of_model: int | None, given: int | None, recurrence: Recurrence) -> int:
    """W, of the model or as it was said. Raises UsageError where neither says it, or both say otherwise."""
    size = of_model if given is None else given
    if size is None:
        raise UsageError("the model leaves the length of its window open", hint="Say it with --window SAMPLES.")
    if size < 1:
        raise UsageError(f"--window {size} is no length", hint="Give the number of samples, 1 or more.")
    if of_model is not None and size != of_model and recurrence != "stateful":
        raise UsageError(f"--window {size}: the model was built for a window of {of_model}", hint="Leave --window out.")
    return size
