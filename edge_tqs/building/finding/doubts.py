"""What the data say against a reading that was said, or assumed: another lead, another scaling, other columns or units.

A float model that is worse than repeating the last sample, one step ahead, is seldom as bad as that: more often it is
fed other units than it was trained on, or in another order. Figures are of windows of the training part, in standard
deviations of what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.building.finding.deciding import CLEAR, CLEAR_ALONE, FEWEST, MOST_LEAD, WINDOWS, clearly_less, unbiased
from edge_tqs.building.finding.one_step import Fit, fit_of, one_step
from edge_tqs.building.finding.otherwise import Otherwise, as_columns, as_labels, as_shares, in_another_order
from edge_tqs.building.finding.scaling import WORDS
from edge_tqs.graph.graph import Array, Forecast, Output, Scaling
from edge_tqs.project.rollouts import ProjectData, cut, labelled, room, target_columns
from edge_tqs.project.scales import METHODS, Method, keeping, scaling_by
from edge_tqs.project.series import normalise, origins, windows
from edge_tqs.system.reading import IN_FILE, UnsaidError
from edge_tqs.system.system import System

#: How much smaller the error at another lead is, at least, before it counts.
CLEAR_LEAD = 1.25
#: How far the part of the truth below a quantile may be from its level; how many times its size a deviation may be.
MOST_OFF, TIMES = 0.3, 5.0
#: Outputs that a warning names.
NAMED = 4


@dataclass(frozen=True)
class Doubt:
    """A sentence on what the data say against what was said. other: by them the model is another thing, which the
    sentence names; else it may only be a bad one."""

    text: str
    other: bool


def doubts(
    system: System,
    forecast: Forecast,
    data: ProjectData,
    *,
    method: Method | Scaling | None,
    lead_said: bool,
    outputs_said: bool,
    plain: bool,
) -> tuple[Doubt, ...]:
    """Warnings about what was said of a model, where the data contradict it.

    forecast: how the system is fed, with its scalings. method: of the inputs, as it was said; None where it was found
    out. lead_said: whether the time of the outputs was said; else it was taken for granted, and one that fits far
    better is an error. outputs_said: whether columns were named as what is predicted. plain: the model predicts levels,
    of windows as they are.

    Raises UnsaidError for a lead that was not said, and is another one; UsageError where the data are too short for it,
    or do not hold what is predicted.
    """
    if forecast.task == "classes" and not labelled(data):
        return ()
    count = min(WINDOWS, room(data, forecast, 1, "train")[0])
    seeds, truth = cut(data, forecast, 1, max(1, count), "train")  # in the model's units
    if count < FEWEST:
        return ()
    y = one_step(system, seeds)
    if forecast.task == "classes":
        return _of_classes(y, truth[:, 0], data)
    fit = fit_of(forecast, y, truth[:, 0], seeds)
    tried = [
        lead := _other_lead(system, forecast, data),
        as_shares(forecast, y, truth[:, 0], data),
        as_labels(forecast, y, truth[:, 0]),
        _difference(forecast, y, truth[:, 0], seeds, fit),
        _better_method(system, forecast, data, seeds, truth[:, 0], method, fit),
        as_columns(system, forecast, data, fit) if plain and fit.worse else None,
        in_another_order(system, forecast, data, isinstance(method, Scaling), outputs_said),
    ]
    better = None
    for one in tried:  # what comes first is the simpler change
        if one is not None and (better is None or one.error * CLEAR_ALONE < better.error):
            better = one
    if lead is not None and better is lead and not lead_said:
        raise UnsaidError(f"{lead.fits}, and nothing says of what time they are", hint=lead.hint)
    found, worse = [], fit.worse
    if worse:
        names = forecast.output_names
        if forecast.task == "reconstruction":
            names = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
        each = [f"{names[at]} {fit.errors[at]:.3g} (naive {fit.naive[at]:.3g})" for at in worse[:NAMED]]
        more = f" and {len(worse) - NAMED} more" if len(worse) > NAMED else ""
        text = (
            f"One step ahead the float model is worse than {fit.reference}, in standard deviations: {', '.join(each)}"
            f"{more}. Does {data.series.path.name} have the units and the order of columns that it was trained on? "
        )
        then = better.text if better else f"[scaling], inputs and outputs {IN_FILE} say it."
        found.append(Doubt(text + then, better is not None))
    elif better:
        found.append(Doubt(better.text, True))
    return (*found, *(Doubt(text, True) for text in _statistics(forecast, y, truth[:, 0])))


def fits(system: System, forecast: Forecast, data: ProjectData) -> bool:
    """Whether the float model is, one step ahead, better than the naive forecast; True where the data cannot tell."""
    count = min(WINDOWS, room(data, forecast, 1, "train")[0])
    if count < FEWEST or forecast.task != "forecast":
        return True
    seeds, truth = cut(data, forecast, 1, count, "train")
    fit = fit_of(forecast, one_step(system, seeds), truth[:, 0], seeds)
    return bool(fit.error < fit.bar)


def _of_classes(y: Array, truth: Array, data: ProjectData) -> tuple[Doubt, ...]:
    says, is_ = y.argmax(axis=1), truth.argmax(axis=1)
    right, most = float(np.mean(says == is_)), float(truth.mean(axis=0).max())
    if right > most:
        return ()
    counts = np.zeros((y.shape[1], y.shape[1]), int)
    np.add.at(counts, (says, is_), 1)
    meant, other = counts.argmax(axis=1), ""
    fitting = float(counts.max(axis=1).sum() / len(y))
    if len({*meant.tolist()}) == len(meant) and fitting > most:
        order = ", ".join(map(str, meant.tolist()))
        other = f" Its outputs are right in {fitting:.0%} as the classes {order}, in this order: number the label so."
    return (
        Doubt(
            f"The float model is right in {right:.0%} of windows, and always saying the most frequent class in "
            f"{most:.0%}. Are the classes of {data.series.path.name} numbered as the model's outputs are, and its "
            f"columns in the units and the order that it was trained on? [scaling], inputs and label {IN_FILE} say "
            f"it.{other}",
            bool(other),
        ),
    )


def _statistics(forecast: Forecast, y: Array, truth: Array) -> list[str]:
    """Quantiles and deviations that are not what was said of them."""
    found = []
    for output, said in enumerate(forecast.predicted):
        if said.statistic == "quantile" and said.level is not None:
            below = float(np.mean(truth[:, output] <= y[:, output]))
            if abs(below - said.level) > MOST_OFF:
                found.append(
                    f"{below:.0%} of the truth lies below {said.label}: are the outputs in the model's order, and in "
                    f"its units? outputs under [forecast] {IN_FILE} say it."
                )
        if said.statistic == "deviation":
            mean = next((at for at, one in enumerate(forecast.predicted) if _mean_of(one, said)), None)
            if mean is None:
                continue
            size = float(np.sqrt(np.mean((y[:, mean] - truth[:, mean]) ** 2)))
            given = float(np.sqrt(np.mean(y[:, output] ** 2)))
            negative = float(np.mean(y[:, output] < 0))
            if negative > 0 or not size / TIMES < given < size * TIMES:
                sign = f", {negative:.0%} of it is negative" if negative else ""
                found.append(
                    f"{said.label} is {given:.3g}{sign}, and the mean is {size:.3g} off (model's units): is it a "
                    "deviation, not a variance or its logarithm, and are the outputs in the model's order? outputs "
                    f"under [forecast] {IN_FILE} say it."
                )
    return found


def _mean_of(one: Output, deviation: Output) -> bool:
    return one.statistic in ("mean", "value") and (one.name, one.lead) == (deviation.name, deviation.lead)


def _difference(forecast: Forecast, y: Array, truth: Array, seeds: Array, fit: Fit) -> Otherwise | None:
    """Of outputs that are differences to the last sample, where they were taken for values."""
    of = forecast.output_channels
    if forecast.task != "forecast" or forecast.output_scaling is not None or any(channel is None for channel in of):
        return None
    last = seeds[:, forecast.window - 1][:, [channel for channel in of if channel is not None]].astype(np.float64)
    made = fit_of(forecast, y + last, truth, seeds)
    if not (made.error < made.bar and made.error * CLEAR_ALONE < fit.error):
        return None
    return Otherwise(
        made.error,
        f"As differences to the last sample its outputs are {made.error:.3g} off, and {fit.error:.3g} as was said: if "
        f'it predicts these, write target = "delta" under [forecast] {IN_FILE}, or --target delta.',
    )


# --- another scaling --------------------------------------------------------------------------------------------------


def _better_method(
    system: System,
    forecast: Forecast,
    data: ProjectData,
    seeds: Array,
    truth: Array,
    said: Method | Scaling | None,
    fit: Fit,
) -> Otherwise | None:
    """The methods of scaling that fit far better than what was ``said``, where some do."""
    if forecast.task != "forecast" or said is None:
        return None
    train = data.series.values[: data.train_rows]
    columns = train[:, [data.series.columns.index(name) for name in data.inputs]]
    physical = seeds.astype(np.float64)
    if forecast.scaling is not None:
        physical = physical * forecast.scaling.std + forecast.scaling.mean
    back = forecast.scaling_of_outputs()
    target = truth.astype(np.float64) * back.std + back.mean
    of = target_columns(data, forecast)
    targets = [at for at, channel in enumerate(forecast.output_channels) if channel is None]
    tried: list[tuple[float, Method, Method | None]] = []
    for method in METHODS:
        scaling = keeping(scaling_by(method, columns), system.whole)
        taken = normalise(physical.astype(np.float32), scaling)
        y = one_step(system, taken)
        for own in METHODS if targets else [None]:
            units = replace(forecast, scaling=scaling, output_scaling=None).scaling_of_outputs()
            if own is not None:
                of_target = scaling_by(own, train[:, [of[at] for at in targets]])
                mean, std = list(units.mean), list(units.std)
                for number, at in enumerate(targets):
                    mean[at], std[at] = of_target.mean[number], of_target.std[number]
                units = Scaling(tuple(mean), tuple(std))
            other = replace(forecast, scaling=scaling, output_scaling=units)
            made = fit_of(other, y, (target - units.mean) / units.std, taken)
            if made.error < made.bar:
                tried.append((made.error, method, own))
    if not tried:
        return None
    error, method, own = min(tried)
    if not error * (CLEAR_ALONE if fit.error >= fit.bar else CLEAR) < fit.error:
        return None
    words = WORDS[method] + (f", outputs {WORDS[own]}" if own else "")
    line = f'method = "{method}" under [scaling] {IN_FILE}' + (f', outputs = {{method = "{own}"}} there' if own else "")
    return Otherwise(
        error,
        f"The float model's one-step error is {error:.3g} where data are taken {words}, and {fit.error:.3g} as was "
        f"said: was it trained so? Then write {line}.",
    )


# --- another lead -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lead(Otherwise):
    """fits: what the data say of the lead; hint: the lines to write where no lead was said."""

    fits: str
    hint: str


def _other_lead(system: System, forecast: Forecast, data: ProjectData) -> _Lead | None:
    """The lead that fits far better than that of the forecast.

    All outputs are moved together. What only repeats the last sample fits every lead: one counts that is also the best
    beside the naive forecast at its own time, or is clearly better than it with a forecast that moves as far as the
    truth.
    """
    if forecast.task != "forecast" or any(lead < 0 for lead in forecast.leads):
        return None
    first = min(forecast.leads)
    reach = max(forecast.leads) - first
    possible, _ = origins(data.series, forecast.window, MOST_LEAD + reach, part="train", rows=data.train_rows)
    if len(possible) < FEWEST:
        return None
    count = min(WINDOWS, len(possible))
    rows = np.concatenate(
        windows(data.series, forecast.window, MOST_LEAD + reach, count, part="train", rows=data.train_rows), axis=1
    ).astype(np.float64)
    inputs = [data.series.columns.index(name) for name in data.inputs]
    seeds = normalise(rows[:, : forecast.window + 1, inputs].astype(np.float32), forecast.scaling)
    scaling = forecast.scaling_of_outputs()
    y = one_step(system, seeds) * scaling.std + scaling.mean
    columns, newest = target_columns(data, forecast), forecast.window - 1
    points = [
        at
        for at in range(forecast.outputs)
        if not forecast.predicted
        or forecast.predicted[at].statistic in ("value", "mean")
        or forecast.predicted[at].level == 0.5
    ]
    spreads = {at: rows[:, :, columns[at]].std() for at in points}
    points = [at for at in points if spreads[at] > 0]
    if not points or not np.isfinite(y).all():
        return None
    inner = any(forecast.output_channels[at] is not None for at in points)
    squared, naive = {}, {}
    for lead in range(1 if inner else 0, MOST_LEAD + 1):
        errors, repeated = [], []
        for at in points:
            series, when = rows[:, :, columns[at]], newest + lead + forecast.leads[at] - first
            errors.append(((y[:, at] - series[:, when]) / spreads[at]) ** 2)
            last = series[:, newest] if inner else series.mean()
            repeated.append(np.mean(((last - series[:, when]) / spreads[at]) ** 2))
        squared[lead], naive[lead] = np.mean(errors, axis=0), float(np.mean(repeated))
    if first not in squared:
        return None
    size = {lead: float(np.sqrt(values.mean())) for lead, values in squared.items()}
    best = min(size, key=lambda lead: size[lead])
    beside = min(size, key=lambda lead: size[lead] / max(naive[lead] ** 0.5, 1e-12))
    clear = size[best] * CLEAR_LEAD < size[first] and clearly_less(squared[best], squared[first])
    fits = size[best] < min(naive[best] ** 0.5, 1.0)  # nearer than the naive forecast, and than the mean
    if best != beside:  # then it must be the time that the model was fitted to: at an earlier one it is damped
        made, real = [], []
        for at in points:
            series, when = rows[:, :, columns[at]], newest + best + forecast.leads[at] - first
            made.append((y[:, at] - series.mean()) / spreads[at])
            real.append((series[:, when] - series.mean()) / spreads[at])
        clear &= size[best] * CLEAR_ALONE < naive[best] ** 0.5 and clearly_less(squared[best], squared[beside])
        clear &= unbiased(np.concatenate(made), np.concatenate(real))
    if best == first or not (fits and clear):
        return None
    names = ", ".join(dict.fromkeys(data.series.columns[columns[at]] for at in points[:NAMED]))
    text = (
        f"{names}: the float model's values fit lead {best} (error {size[best]:.3g} of a standard deviation), not "
        f"lead {first} ({size[first]:.3g})"
    )
    line = f"lead = {best} under [forecast] {IN_FILE}, or --lead {best}"
    line += "" if forecast.driven else ": nothing is fed back then"
    return _Lead(
        size[best],
        f"{text}, as was said. If they are of that time, say {line}.",
        text,
        f"Say {line}; or lead = {first} there, if they are of lead {first}.",
    )
