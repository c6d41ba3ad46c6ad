"""Which of several roundings each weight takes: by rolling each one out in its turn.

A rounding is one draw of what errors it leaves, and two draws that are as good by their moments may differ by half in a
closed loop; only rolling out tells. So each weight tries its other roundings beside those that the others have, and
keeps what leaves least; SWEEPS times, as what suits a weight depends on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_tqs.planning.file import CHANNEL, COMPENSATED, CORRECTED, NEAREST, Rounding

#: How each weight is rounded, in the order of the model.
Assigned = tuple[Rounding, ...]

#: Times that every weight tries its candidates.
SWEEPS = 2
#: Rollouts of SWEEPS sweeps, at most; with more weights each has fewer candidates, but LEAST at least.
ROLLOUTS, LEAST = 160, 2
#: Weights of more values try FEW candidates: each costs seconds to make.
LARGE, FEW = 100_000, 2
#: A candidate is taken where it leaves at most this of the divergence: less is as likely to be of these seeds alone.
HELPS = 0.995


def others(width: int, size: int, clips: bool = True, scales: str = CHANNEL) -> tuple[Rounding, ...]:
    """The candidates of a weight of ``size`` values, the likeliest first; with ``clips`` a clip ratio among them."""
    first, *rest = COMPENSATED
    recipes = [(1.0, recipe) for recipe in (first, NEAREST, *rest, CORRECTED)] + [(0.8, CORRECTED)] * clips
    made = tuple(Rounding(width, clip, recipe, scales) for clip, recipe in recipes)
    return made[:FEW] if size > LARGE else made


def descended(
    start: Assigned,
    candidates: Sequence[Sequence[Rounding]],
    measure: Callable[[Assigned], float],
    sweeps: int = SWEEPS,
) -> Assigned:
    """From ``start``, what is found by changing one weight at a time; never worse by ``measure``."""
    each = max(LEAST, ROLLOUTS // (SWEEPS * max(len(start), 1)))
    taken, least = start, measure(start)
    for _ in range(sweeps):
        before = taken
        for index, options in enumerate(candidates):
            for rounding in options[:each]:
                if rounding == taken[index]:
                    continue
                tried = (*taken[:index], rounding, *taken[index + 1 :])
                divergence = measure(tried)
                if divergence < HELPS * least:
                    taken, least = tried, divergence
        if taken == before:
            break
    return taken
