"""What data tell of a model that nothing was said of: its scaling, and which column its values are of, at which time.

Every candidate is tried with the float model on windows of the training part, one step each. Errors are relative to the
standard deviation of the column. One is taken where its error is smaller than that of repeating the last sample (of the
mean, for a column that is no input), and at most half of the next best's; of scalings also one that alone is smaller
than that, with at most four fifths of the next best's, and one with which the model is half as far off as the mean
where all others are further. A lead is taken where its error is the smallest of all leads,
beyond doubt, and either also the smallest part of that of repeating the last sample, or four fifths of it at most with
a forecast that moves as far as the truth. All else is refused, with the lines that would say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Array, Forecast, Scaling
from edge_tqs.project.roles import Roles
from edge_tqs.project.rollouts import ProjectData, cut, room
from edge_tqs.project.scales import METHODS, Method, keeping, scaling_by
from edge_tqs.project.series import normalise, origins, windows
from edge_tqs.system.reading import IN_FILE, UnsaidError
from edge_tqs.system.system import System

#: Windows that candidates are compared on, at most, and at least.
WINDOWS, FEWEST = 1024, 16
#: The next best's error over the best's, from which on it is beyond doubt.
CLEAR = 2.0
#: Likewise where only the best is better than the naive forecast.
CLEAR_ALONE = 1.25
#: Blocks of windows, and the t value of their differences, from which on one lead is better than another.
BLOCKS, BEYOND_DOUBT = 16, 3.0
MOST_LEAD = 24
#: How far from 1 the slope of the truth over the forecast may be at the lead of a model.
MOST_SLOPE = 0.1
#: Candidates that a refusal names.
NAMED = 3
WORDS: dict[Method, str] = {"none": "as it is", "standard": "standardised", "minmax": "min-max"}


@dataclass(frozen=True)
class FoundScaling:
    """The method of the inputs, that of outputs that are no inputs (None where there are none), and what was seen."""

    inputs: Method
    outputs: Method | None
    text: str


@dataclass(frozen=True)
class FoundReading:
    """What the outputs are: ``roles`` with it filled in, the methods of columns, and what was seen.

    last_only: of a sequence as long as the window, the last sample is the forecast.
    """

    roles: Roles
    inputs: Method | Scaling
    outputs: Mapping[str, Method]
    text: str
    last_only: bool = False


# --- scaling ----------------------------------------------------------------------------------------------------------


def find_scaling(
    system: System, forecast: Forecast, data: ProjectData, inputs: Method | Scaling | None, outputs: bool
) -> FoundScaling:
    """The scaling of ``inputs``, unless it is given, and of outputs that are no inputs, if ``outputs`` are asked for.

    forecast: how the system is fed, without scaling. Raises UsageError where the data do not tell, with the figures.
    """
    count = min(WINDOWS, room(data, forecast, 1, "train")[0])
    if count < FEWEST:
        raise _undecided(data, f"the training part holds {count} windows, too few to find it out")
    seeds, truth = cut(data, forecast, 1, count, "train")
    usable = [
        number
        for number in range(forecast.outputs)
        if not forecast.predicted
        or forecast.predicted[number].statistic in ("value", "mean", "class")
        or forecast.predicted[number].level == 0.5
    ]
    usable = usable or list(range(forecast.outputs))
    own = [number for number in usable if forecast.output_channels[number] is None]
    vary = outputs and bool(own) and forecast.task == "forecast"
    columns = data.series.values[: data.train_rows, [data.series.columns.index(name) for name in data.inputs]]
    naive = _naive_error(forecast, seeds, truth, usable)
    tried: dict[tuple[Method | None, Method | None], float] = {}
    given = inputs is not None and not isinstance(inputs, str)
    for method in [None] if given else _methods(columns, inputs, system.whole):
        scaling = inputs if isinstance(inputs, Scaling) else scaling_by(method or "none", columns)
        scaling = keeping(scaling, system.whole)
        scaled = normalise(seeds, scaling)[:, : system.seed_length(1)]
        y = system.roll(scaled, 1)[:, 0].astype(np.float64)
        for own_method in _methods(truth[:, 0, own], None) if vary else [None]:
            tried[method, own_method] = _error(forecast, y, truth[:, 0], usable, scaling, own_method)
    (best, error), *others = sorted(tried.items(), key=lambda item: item[1])
    figures = ", ".join(f"{_pair(*pair)} {figure:.3g}" for pair, figure in sorted(tried.items(), key=lambda i: i[1]))
    reference = f"{naive[1]} {naive[0]:.3g}"
    clear = CLEAR_ALONE if all(other > naive[0] for _, other in others) else CLEAR
    # beside scalings that are worse than the mean one is evident, though it may not be better than the naive forecast
    evident = error * CLEAR < 1 and all(other > 1 for _, other in others) and forecast.task == "forecast"
    if len(tried) > 1 and not evident and (not error < naive[0] or any(error * clear > other for _, other in others)):
        why = f"the float model's one-step error is {figures}; {reference} (standard deviations)"
        near = [pair for pair, other in ((best, error), *others) if other < min(1.0, error * CLEAR)]
        raise _undecided(data, why, near)
    return FoundScaling(
        best[0] or "none",
        best[1],
        f"{_pair(*best)}: the float model's one-step error is then {error:.3g} of a standard deviation"
        + (f" ({', '.join(f'{_pair(*pair)} {figure:.3g}' for pair, figure in others)})" if others else "")
        + f"; {reference}",
    )


def _undecided(data: ProjectData, why: str, near: Sequence[tuple[Method | None, Method | None]] = ()) -> UsageError:
    """near: the methods that fit alike, better than the mean does."""
    lines = "; or ".join(
        ", ".join([f'method = "{inputs}"'] * bool(inputs) + [f'outputs = {{method = "{own}"}}'] * bool(own))
        for inputs, own in near
    )
    said = (
        f"Write under [scaling] {IN_FILE} how it was trained: {lines}. On the command line --scaling says it of inputs."
        if lines
        else f'Write method = "standard", "minmax" or "none" under [scaling] {IN_FILE}, or the mean and std that it '
        "was trained with (outputs = {...} for targets); or --scaling standard, minmax or none. If none of them fits: "
        "are the columns in the model's order, and its targets among them?"
    )
    return UsageError(
        f"nothing says how {data.series.path.name} becomes the model's units, and the data do not tell: {why}",
        hint=said,
    )


def _pair(inputs: Method | None, outputs: Method | None) -> str:
    said = [WORDS[inputs]] if inputs else []
    if outputs:
        said.append(f"outputs {WORDS[outputs]}")
    return ", ".join(said) or "as given"


def _methods(values: Array, said: Method | Scaling | None, whole: Sequence[tuple[int, int]] = ()) -> list[Method]:
    """The methods that make a difference to ``values``: of columns that are scaled already, only "none" is tried.

    whole: columns that no method scales.
    """
    if isinstance(said, str):
        return [said]
    found: list[Method] = []
    for method in METHODS:
        scaling = keeping(scaling_by(method, values), whole)
        same = np.allclose(scaling.mean, 0, atol=0.05) and np.allclose(scaling.std, 1, atol=0.1)
        if method == "none" or not same:
            found.append(method)
    return found


def _error(
    forecast: Forecast, y: Array, truth: Array, usable: Sequence[int], scaling: Scaling, own: Method | None
) -> float:
    """The error of outputs ``y`` (N, outputs), in the model's units, relative to the deviation of each column."""
    if forecast.task == "classes":
        return float(np.mean(y.argmax(axis=1) != truth.argmax(axis=1)))
    relative = []
    for number in usable:
        channel, target = forecast.output_channels[number], truth[:, number].astype(np.float64)
        if channel is not None:
            mean, std = scaling.mean[channel], scaling.std[channel]
        else:
            of_target = scaling_by(own or "none", truth[:, [number]])
            mean, std = of_target.mean[0], of_target.std[0]
        if target.std() > 0:
            relative.append(np.mean((y[:, number] * std + mean - target) ** 2) / target.var())
    return float(np.sqrt(np.mean(relative))) if relative else float("inf")


def _naive_error(forecast: Forecast, seeds: Array, truth: Array, usable: Sequence[int]) -> tuple[float, str]:
    """(error, words) of repeating the last sample, and of the mean where a value is of no input."""
    if forecast.task == "classes":
        share = truth[:, 0].mean(axis=0).max()
        return float(1 - share), "always the most frequent class"
    if forecast.task == "reconstruction":
        return 1.0, "the mean"
    relative, words = [], set()
    for number in usable:
        channel, target = forecast.output_channels[number], truth[:, 0, number].astype(np.float64)
        if target.std() == 0:
            continue
        last = None if channel is None else seeds[:, forecast.window - 1, channel]
        words.add("the mean" if last is None else "the last sample repeated")
        relative.append(1.0 if last is None else np.mean((last - target) ** 2) / target.var())
    return (float(np.sqrt(np.mean(relative))) if relative else 0.0), " and ".join(sorted(words)) or "nothing"


# --- what the outputs are ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A reading that was tried: its error and that of the naive forecast; ``roles`` and ``lines`` say it.

    alike: the same at another lead, which fits as well.
    """

    error: float
    naive: float
    roles: Roles
    inputs: Method | Scaling
    outputs: Mapping[str, Method]
    words: str
    lines: str
    last_only: bool = False
    doubt: str = ""
    alike: _Candidate | None = None


@dataclass(frozen=True, eq=False)
class _Trial:
    """What one set of inputs, scaled in one way, gives: y (N, H, Y); rows (N, W + T, columns), physical."""

    roles: Roles
    inputs: Method | Scaling
    scaling: Scaling
    y: Array
    rows: Array
    window: int
    columns: tuple[str, ...]
    allowed: tuple[str, ...]


def find_reading(
    system: System, shape: tuple[int, ...], data: ProjectData, roles: Roles, scaling: Method | Scaling | None
) -> FoundReading:
    """What the values of a model are, of which nothing fits alone what was said.

    system: the model as one that feeds nothing back, each evaluation's values as they are; shape: of its output,
    without the batch. scaling: of the inputs, where it is said.

    Raises ModelError where the data do not tell, with the best candidates, their figures and the line for each; an
    UnsaidError where one of them clearly fits, and others cannot be told from it.
    """
    steps = shape[0]
    length = MOST_LEAD + steps
    possible, _ = origins(data.series, system.window, length, part="train", rows=data.train_rows)
    count = min(WINDOWS, len(possible))
    if count < FEWEST:
        raise ModelError(
            f"its output {shape} can be read in several ways, and the training part of {data.series.path.name} has "
            f"room for {count} windows, too few to find out which is meant",
            hint=f"Say kind and outputs {IN_FILE}.",
        )
    window, following = windows(data.series, system.window, length, count, part="train", rows=data.train_rows)
    rows = np.concatenate([window, following], axis=1).astype(np.float64)
    found = [
        candidate
        for trial in _trials(system, data, roles, scaling, rows)
        for candidate in _candidates(trial, shape, system.channels)
    ]
    found.sort(key=lambda candidate: candidate.error)
    if not found:
        raise ModelError(f"its output {shape} fits none of the columns", hint=f"Say kind and outputs {IN_FILE}.")
    best = found[0]
    others = [one for one in found[1:] if one.words != best.words]
    # what the naive forecast is nearer to than the model is a rival only where it is near the best
    rivals = [one for one in others if best.error * (CLEAR if one.error < one.naive else CLEAR_ALONE) > one.error]
    if rivals or best.doubt or not best.error < best.naive:
        near = [best, *([best.alike] if best.alike else []), *rivals]
        raise _open_reading(shape, [*near, *[one for one in others if one not in rivals]], best.doubt)
    text = f"{best.words}: the float model's error is then {best.error:.3g} of a standard deviation"
    text += f" (next best: {others[0].words} {others[0].error:.3g})" if others else ""
    text += f"; the naive forecast's is {best.naive:.3g}"
    return FoundReading(best.roles, best.inputs, best.outputs, text, best.last_only)


def _open_reading(shape: tuple[int, ...], candidates: Sequence[_Candidate], doubt: str) -> ModelError:
    named = candidates[:NAMED]
    figures = "; ".join(f"{one.words} {one.error:.3g} (naive {one.naive:.3g})" for one in named)
    if not any(one.error < one.naive for one in named):
        doubt = "no column, lead and scaling is nearer to it than the naive forecast"
    lines = "; or ".join(dict.fromkeys(one.lines for one in named))
    if not any(one.error < one.naive for one in named):
        lines = f"Is the column that it predicts in the file, and in the units that it was trained in? Else: {lines}"
    fits = named[0].error * CLEAR_ALONE < named[0].naive and named[0].error * CLEAR < 1
    return (UnsaidError if fits else ModelError)(
        f"nothing says what its output {shape} is, and the data do not tell{doubt and ': ' + doubt}. Errors in "
        f"standard deviations: {figures}",
        hint=f"Say it {IN_FILE}. {lines}.",
    )


def _trials(
    system: System, data: ProjectData, roles: Roles, said: Method | Scaling | None, rows: Array
) -> Iterator[_Trial]:
    columns = data.series.columns
    sets: list[tuple[str, ...]] = []
    if len(data.inputs) == system.channels:
        sets = [data.inputs]
    elif not roles.inputs and len(columns) == system.channels:
        sets = [columns]
    elif not roles.inputs and len(columns) == system.channels + 1:
        sets = [tuple(name for name in columns if name != left) for left in columns]
    for inputs in sets:
        numbers = [columns.index(name) for name in inputs]
        train = data.series.values[: data.train_rows, numbers]
        for method in [said] if said is not None else _methods(train, None, system.whole):
            scaling = method if isinstance(method, Scaling) else scaling_by(method, train)
            scaling = keeping(scaling, system.whole)
            seeds = normalise(rows[:, : system.window + 1, numbers].astype(np.float32), scaling)
            y = system.roll(seeds[:, : system.seed_length(1)], 1)[:, 0].astype(np.float64)
            if not np.isfinite(y).all():
                continue
            allowed = roles.predicted_columns or columns
            yield _Trial(replace(roles, inputs=inputs), method, scaling, y, rows, system.window, columns, allowed)


def _candidates(trial: _Trial, shape: tuple[int, ...], channels: int) -> Iterator[_Candidate]:
    values = trial.y.shape[1]
    if values == trial.window * channels and values > 1:
        yield from _window_again(trial, channels)
    if len(shape) == 2:
        steps, width = shape
        block = trial.y.reshape(-1, steps, width)
        if steps == trial.window:
            yield from _samples(trial, block[:, -1:], last_only=True)
        yield from _samples(trial, block)
        return
    if values == 1:
        yield from _samples(trial, trial.y[:, None])
        return
    yield from _samples(trial, trial.y[:, None])
    yield from _samples(trial, trial.y[:, :, None], flat=True)
    if values % channels == 0 and channels > 1 and values > channels:
        yield from _samples(trial, trial.y.reshape(len(trial.y), -1, channels), flat=True)
    if values <= MOST_STATISTICS:
        yield from _statistics(trial)


def _window_again(trial: _Trial, channels: int) -> Iterator[_Candidate]:
    """The reading of a model that gives its window again."""
    numbers = [trial.columns.index(name) for name in trial.roles.inputs]
    window = trial.rows[:, : trial.window, numbers]
    made = trial.y.reshape(-1, trial.window, channels) * trial.scaling.std + trial.scaling.mean
    spreads = window.std(axis=(0, 1))
    if not spreads.all():
        return
    error = float(np.sqrt(np.mean(((made - window) / spreads) ** 2)))
    later = float(np.sqrt(np.mean(((made[:, :-1] - window[:, 1:]) / spreads) ** 2))) if trial.window > 1 else np.inf
    if later < error:  # each of its values is of the sample after: labels, not the window
        return
    method = [f'method = "{trial.inputs}" under [scaling]'] if isinstance(trial.inputs, str) else []
    words = "its window again" + (f", inputs {WORDS[trial.inputs]}" if isinstance(trial.inputs, str) else "")
    roles = replace(trial.roles, outputs=(), kind="reconstruction", lead=None, steps=None)
    lines = ", ".join(['kind = "reconstruction" under [forecast]', *method])
    yield _Candidate(error, 1.0, roles, trial.inputs, {}, words, lines)


#: How many times a deviation its size may be.
LIKE = 3.0
#: Quantiles of one sample, at most; and the windows in which they come in their order.
MOST_STATISTICS, ORDERED = 9, 0.9


def _samples(trial: _Trial, y: Array, *, flat: bool = False, last_only: bool = False) -> Iterator[_Candidate]:
    """Readings of y (N, H, Y) as H samples of Y columns, one after the other."""
    width = y.shape[2]
    curves = {name: dict(_curves(trial, y, name)) for name in trial.allowed}
    if width > 1:
        if picks := _columns_of(curves, width):
            yield _candidate(trial, y, picks, curves, flat, last_only)
        return
    for name, found in curves.items():
        for method in found:
            yield _candidate(trial, y, [(name, method)], curves, flat, last_only)


def _columns_of(curves: _Curves, width: int) -> list[tuple[str, Method | None]]:
    """For each of the values of a sample its column and scaling: those that fit best at one lead, no column twice.

    Of a lead of its own each value would take its column's like: the sine of the hour is the cosine six hours later.
    """
    best: tuple[float, list[tuple[str, Method | None]]] = (np.inf, [])
    for lead in range(MOST_LEAD + 1):
        chosen = [
            min(
                (
                    (float(errors[number, lead]), name, method)
                    for name, found in curves.items()
                    for method, (errors, *_) in found.items()
                ),
                key=lambda one: one[0],
                default=(np.inf, "", None),
            )
            for number in range(width)
        ]
        error = sum(one**2 for one, _, _ in chosen)
        if len({name for _, name, _ in chosen}) == width and error < best[0]:
            best = error, [(name, method) for _, name, method in chosen]
    return best[1]


_Curve = tuple[Array, Array, Callable[[int], Array], Callable[[int], tuple[Array, Array]]]
_Curves = Mapping[str, Mapping[Method | None, _Curve]]


def _curves(trial: _Trial, y: Array, name: str) -> Iterator[tuple[Method | None, _Curve]]:
    """By the scaling of a column that is no input: (errors (Y, leads), naive errors (leads,), squared errors by lead,
    forecast and truth by lead, one after the other, in standard deviations).

    Leads are of the first of the H samples, from 0; those that an input cannot have are infinite.
    """
    column = trial.columns.index(name)
    steps, width = y.shape[1:]
    series = trial.rows[:, :, column]
    spread = series.std()
    own = trial.roles.inputs.index(name) if name in trial.roles.inputs else None
    newest = trial.window - 1
    if spread == 0:
        return
    methods: list[Method | None] = [None] if own is not None else [*_methods(series.reshape(-1, 1), None)]
    for method in methods:
        if own is not None:
            mean, std = trial.scaling.mean[own], trial.scaling.std[own]
        else:
            scaling = scaling_by(method or "none", series.reshape(-1, 1))
            mean, std = scaling.mean[0], scaling.std[0]
        physical = y * std + mean

        def squared(lead: int, physical: Array = physical) -> Array:
            first = newest + lead
            truth = series[:, first : first + steps]
            result: Array = ((physical - truth[:, :, None]) ** 2).mean(axis=1) / spread**2  # (N, Y)
            return result

        errors = np.full((width, MOST_LEAD + 1), np.inf)
        naive = np.full(MOST_LEAD + 1, np.inf)
        for lead in range(0 if own is None else 1, MOST_LEAD + 1):
            errors[:, lead] = np.sqrt(squared(lead).mean(axis=0))
            reference = series[:, newest : newest + 1] if own is not None else series.mean()
            truth = series[:, newest + lead : newest + lead + steps]
            naive[lead] = np.sqrt(np.mean((truth - reference) ** 2)) / spread

        def pairs(lead: int, physical: Array = physical) -> tuple[Array, Array]:
            first = newest + lead
            truth = np.broadcast_to(series[:, first : first + steps, None], physical.shape)
            centre = series.mean()
            return ((physical - centre) / spread).ravel(), ((truth - centre) / spread).ravel()

        yield method, (errors, naive, squared, pairs)


def _candidate(
    trial: _Trial,
    y: Array,
    picks: Sequence[tuple[str, Method | None]],
    curves: _Curves,
    flat: bool,
    last_only: bool,
    at: int | None = None,
) -> _Candidate:
    """at: the lead; None: the one that fits best."""
    chosen = [curves[name][method] for name, method in picks]
    errors = np.sqrt(np.mean([errors[number] ** 2 for number, (errors, *_) in enumerate(chosen)], axis=0))
    naive = np.sqrt(np.mean([naive**2 for _, naive, *_ in chosen], axis=0))
    lead = int(errors.argmin()) if at is None else at
    alike = None
    with np.errstate(invalid="ignore"):
        part = np.nan_to_num(errors / np.where(naive > 0, naive, np.nan), nan=np.inf, posinf=np.inf)
    doubt = ""
    if at is not None:
        doubt = "as another lead"
    elif (beside := int(part.argmin())) != lead and not (
        errors[lead] * CLEAR_ALONE < naive[lead]
        and unbiased(*(np.concatenate(values) for values in zip(*(pairs(lead) for *_, pairs in chosen), strict=True)))
        and _beyond_doubt(chosen, lead, beside)
    ):
        doubt = (
            f"its error is smallest at lead {lead} ({errors[lead]:.3g}), but lead {beside} leaves the smallest part of "
            f"the naive forecast's ({part[beside]:.0%}; lead {lead} {part[lead]:.0%}), and a model of a later time "
            "may look like that"
        )
        alike = _candidate(trial, y, picks, curves, flat, last_only, beside)
    else:
        second = int(np.argsort(errors)[1])
        if np.isfinite(errors[second]) and not _beyond_doubt(chosen, lead, second):
            doubt = f"leads {lead} and {second} fit alike"
            alike = _candidate(trial, y, picks, curves, flat, last_only, second)
    steps = y.shape[1]
    names = tuple(name for name, _ in picks)
    own = [name in trial.roles.inputs for name in names]
    loop = names == trial.roles.inputs and lead == 1
    roles = replace(
        trial.roles,
        outputs=names,
        kind=None if loop else "direct",
        lead=None if lead == 1 else lead,
        steps=steps if loop and steps > 1 and (flat or steps == trial.window) else None,
    )
    listed = ", ".join(f'"{name}"' for name in names)
    lines = [f"outputs = [{listed}] under [data]"]
    lines += ['kind = "direct" under [forecast]'] if not loop and all(own) else []
    lines += [f"lead = {lead} under [forecast]"] if lead != 1 or at is not None or alike else []
    lines += [f"steps = {steps} under [forecast]"] if roles.steps else []
    lines += ['labels = "wide" under [forecast]'] if last_only else []
    what = ", ".join(names) if steps == 1 else f"{steps} samples of {', '.join(names)}"
    words = f"{what} at lead {lead}" + ("" if loop or not all(own) else ", not fed back")
    words += f", inputs {WORDS[trial.inputs]}" if isinstance(trial.inputs, str) else ""
    methods = {name: method for name, method in picks if method is not None}
    words += "".join(f", {name} {WORDS[method]}" for name, method in methods.items())
    words += ", the last of each sequence" if last_only else ""
    if isinstance(trial.inputs, str):
        lines.append(f'method = "{trial.inputs}" under [scaling]')
    return _Candidate(
        float(errors[lead]),
        float(naive[lead]),
        roles,
        trial.inputs,
        methods,
        words,
        ", ".join(lines),
        last_only,
        doubt,
        alike,
    )


def _beyond_doubt(chosen: Sequence[_Curve], lead: int, second: int) -> bool:
    """Whether the squared errors of ``lead`` are smaller than those of ``second`` beyond what windows differ by."""
    here, there = (
        np.mean([squared(at)[:, number] for number, (_, _, squared, _) in enumerate(chosen)], axis=0)
        for at in (lead, second)
    )
    return clearly_less(here, there)


def clearly_less(here: Array, there: Array) -> bool:
    """Whether the mean of ``here`` (N,) is less than that of ``there`` beyond what stretches of windows differ by."""
    means = np.array([block.mean() for block in np.array_split(there - here, BLOCKS)])
    return bool(means.mean() > BEYOND_DOUBT * means.std(ddof=1) / np.sqrt(BLOCKS))


def unbiased(made: Array, truth: Array) -> bool:
    """Whether what was ``made`` (N,) moves as far as the ``truth`` that it goes with: their regression has slope 1.

    So it is at the lead that a model was fitted to. At an earlier one its forecast, which is damped, moves too little.
    """
    centred = made - made.mean()
    power = float(np.mean(centred**2))
    return power > 0 and abs(float(np.mean(centred * (truth - truth.mean()))) / power - 1) <= MOST_SLOPE


def _statistics(trial: _Trial) -> Iterator[_Candidate]:
    """Several values of one sample of one column, as quantiles are: told by how much of the truth lies below each."""
    values = trial.y.shape[1]
    if values == 2:
        for name in trial.allowed:
            for method, (errors, *_) in _curves(trial, trial.y[:, None], name):
                found = _mean_and_deviation(trial, name, method, int(errors[0].argmin()))
                if found:
                    yield found
    if not (np.diff(trial.y, axis=1) >= 0).all(axis=1).mean() > ORDERED:
        return
    for name in trial.allowed:
        for method, (errors, naive, *_) in _curves(trial, trial.y[:, None], name):
            error = np.sqrt(np.mean(errors**2, axis=0))
            lead = int(error.argmin())
            truth = trial.rows[:, trial.window - 1 + lead, trial.columns.index(name)]
            if name in trial.roles.inputs:
                own = trial.roles.inputs.index(name)
                mean, std = trial.scaling.mean[own], trial.scaling.std[own]
            else:
                scaling = scaling_by(method or "none", truth[:, None])
                mean, std = scaling.mean[0], scaling.std[0]
            below = [float(np.mean(truth <= trial.y[:, number] * std + mean)) for number in range(values)]
            shares = ", ".join(f"{share:.0%}" for share in below)
            entries = ", ".join(f'{{name = "{name}", quantile = {level:g}}}' for level in _levels(values))
            yield _Candidate(
                float(error[lead]),
                float(naive[lead]),
                trial.roles,
                trial.inputs,
                {},
                f"{values} statistics of {name} at lead {lead} ({shares} of the truth lie below them)",
                f"outputs = [{entries}] under [forecast]",
                doubt="data cannot tell what statistics were meant",
            )


def _mean_and_deviation(trial: _Trial, name: str, method: Method | None, lead: int) -> _Candidate | None:
    """Two values of one sample as what is expected of ``name`` and how far off it is; None where they are not."""
    truth = trial.rows[:, trial.window - 1 + lead, trial.columns.index(name)]
    if name in trial.roles.inputs:
        own = trial.roles.inputs.index(name)
        mean, std = trial.scaling.mean[own], trial.scaling.std[own]
    else:
        scaling = scaling_by(method or "none", truth[:, None])
        mean, std = scaling.mean[0], scaling.std[0]
    off = float(np.sqrt(np.mean((trial.y[:, 0] * std + mean - truth) ** 2)))
    given = float(np.sqrt(np.mean((trial.y[:, 1] * std) ** 2)))
    if (trial.y[:, 1] < 0).any() or not off / LIKE < given < off * LIKE:
        return None
    of_mean, (naive, repeated) = off / truth.std(), (float(truth.std()), trial.rows[:, trial.window - 1])
    if name in trial.roles.inputs:
        naive = float(np.sqrt(np.mean((repeated[:, trial.columns.index(name)] - truth) ** 2)))
    return _Candidate(
        float(of_mean),
        naive / float(truth.std()),
        trial.roles,
        trial.inputs,
        {},
        f"{name} at lead {lead} and its deviation ({given:.3g}, the first is {off:.3g} off)",
        f'outputs = [{{name = "{name}", mean = true}}, {{name = "{name}", deviation = true}}] under [forecast]',
        doubt="data cannot tell what statistics were meant",
    )


def _levels(count: int) -> list[float]:
    """Quantiles as they are asked for most: the outer ones are 10 % and 90 %."""
    return [round(0.1 + 0.8 * number / (count - 1), 2) for number in range(count)]
