"""What the values mean that a model predicts: whether they are fed back, and to which inputs; of which time they are.

A model's shapes often fit several readings: (24, 8) -> (6,) may be six of the sensors, six samples of one of them, or
evidence for six classes. What was said decides; where nothing was, only a reading that no other one rivals is taken,
and all else is refused with the lines that would say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Forecast, Output, Task

Kind = Literal["closed loop", "direct", "reconstruction", "classes"]
#: Kinds as they are asked for: a driven system is a direct one that says the value of now.
AskedKind = Literal["closed loop", "direct", "driven", "reconstruction", "classes"]
IN_FILE = "in edge-tqs.toml"


class UnsaidError(ModelError):
    """An output that can be read in several ways, of which none was said."""


@dataclass(frozen=True)
class Said:
    """What was said of a model's inputs and outputs; None and () where nothing was.

    kind: "closed loop": outputs become inputs; "direct": none does; "reconstruction": it gives its window again;
    "classes": it gives evidence for classes. feedback: for each input the output that becomes it, None for one that
    is known ahead or ``held``: measured, and kept at its last value beyond it. known_ahead: the inputs that are
    known ahead, in place of ``feedback``: the outputs are then those that are neither, in their order. steps:
    samples that the output holds. lead: samples from the newest input to the first that is predicted: 1 is the next
    one, 0 the newest itself. columns: names of the inputs. targets: names of the values in a predicted sample, or
    of the classes. predicted: what each value of a predicted sample is, in place of ``targets``. last_only: of a
    sequence as long as the window, the last sample is the forecast. static: those of ``held`` that never change.
    """

    kind: Kind | None = None
    feedback: tuple[int | None, ...] | None = None
    held: tuple[int, ...] = ()
    known_ahead: tuple[int, ...] = ()
    steps: int | None = None
    lead: int | None = None
    columns: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    predicted: tuple[Output, ...] = ()
    last_only: bool = False
    static: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How the values of an output are used; the words are those of graph.Forecast.

    last_only: only the last sample of a sequence as long as the window is read.
    """

    steps: int
    outputs: int
    feedback: tuple[int | None, ...]
    held: tuple[int, ...] = ()
    predicted: tuple[Output, ...] = ()
    task: Task = "forecast"
    last_only: bool = False

    @property
    def driven(self) -> bool:
        """Whether nothing is fed back."""
        return all(source is None for source in self.feedback)


def exogenous(reading: Reading) -> tuple[int, ...]:
    """The input channels whose values come with a rollout; of a driven system all."""
    return tuple(
        channel for channel, source in enumerate(reading.feedback) if source is None and channel not in reading.held
    )


def reading_of(forecast: Forecast) -> Reading:
    """What a graph's forecast makes of its output."""
    return Reading(
        forecast.steps, forecast.outputs, forecast.feedback, forecast.held, forecast.predicted, forecast.task
    )


def as_classes(said: Said) -> Said:
    """``said`` of a model that ends in a softmax: evidence for classes, where nothing else was said of its outputs.

    The values of a softmax are shares that add up to one, which no sensor gives.
    """
    other = said.kind or said.feedback or said.held or said.known_ahead or said.predicted or said.steps
    return said if other else replace(said, kind="classes")


def with_static(said: Said, static: tuple[int, ...]) -> Said:
    """``said`` of a model whose inputs ``static`` never change: held in a closed loop, unless they are known ahead.

    Raises UsageError where one of them was said to be predicted.
    """
    if not static or said.kind not in (None, "closed loop"):
        return said
    fed = {channel for channel, source in enumerate(said.feedback or ()) if source is not None}
    if wrong := sorted(fed & set(static)):
        raise UsageError(
            f"input {wrong[0]} is static in the model, which reads it once, and was said to be predicted",
            hint=f"Take it out of outputs under [data] {IN_FILE}.",
        )
    return replace(said, held=tuple(sorted({*said.held, *static} - set(said.known_ahead))))


def read_output(shape: tuple[int, ...], window: int, channels: int, said: Said | None = None) -> Reading:
    """The reading of an output of ``shape``, without the batch, of a model of (``window``, ``channels``).

    shape: (values,), or (samples, values a sample), the oldest sample first. Raises ModelError where the values can be
    read in several ways, or not as was said; UsageError for what cannot be said of this model.
    """
    said = said or Said()
    if len(shape) not in (1, 2) or 0 in shape:
        raise ModelError(
            f"its output is {('batch', *shape)}, not one sample or a block of samples",
            hint="Let it predict (outputs,), or (steps, outputs): the oldest sample first.",
        )
    if said.last_only:
        if len(shape) != 2 or shape[0] != window:
            raise ModelError(
                f"its output {shape} is no sequence of {window} samples whose last one could be read alone",
                hint=f'Leave labels = "wide" out of [forecast] {IN_FILE}.',
            )
        last = read_output(shape[1:], window, channels, _without_sequence(said))
        return Reading(last.steps, last.outputs, last.feedback, last.held, last.predicted, last.task, True)
    if said.kind == "reconstruction":
        return _reconstruction(shape, window, channels)
    if said.kind == "classes":
        return _classes(shape, channels, said)
    if said.kind == "direct":
        return _direct(shape, channels, said)
    _check_loop(channels, said)
    if said.feedback is None and said.predicted:
        said = _with_predicted_feedback(channels, said)
    left = channels - len(said.held)
    if said.feedback is None and said.held and not (said.known_ahead or said.steps) and shape[-1] != left:
        held = f"{len(said.held)} that {'is' if len(said.held) == 1 else 'are'} held"
        what = f"it predicts {_values(shape)} from {left} channel{'s' * (left != 1)} beside {held}"
        raise _unsaid(what, shape[-1], left, window)
    if said.feedback is None and (said.known_ahead or said.held):
        said = replace(said, feedback=_others_in_order(channels, {*said.known_ahead, *said.held}))
    _check_sources(said.feedback, channels, shape[-1])
    steps, outputs = _block(shape, window, channels, said)
    if said.lead not in (None, 1):
        raise UsageError(
            f"lead = {said.lead}: a closed loop predicts the next sample",
            hint=f'Say kind = "direct" under [forecast] {IN_FILE}, or --kind direct, or leave lead out.',
        )
    _check_sources(said.feedback, channels, outputs)
    feedback = tuple(range(channels)) if said.feedback is None else said.feedback
    predicted = said.predicted if len(said.predicted) == outputs else ()
    return Reading(steps, outputs, feedback, said.held, predicted)


def check_kept(feedback: Sequence[int | None], whole: Sequence[tuple[int, int]]) -> None:
    """Raise ModelError where rows are looked up by a channel (``whole``: channel, N) that an output becomes."""
    for channel, count in whole:
        if feedback[channel] is not None:
            raise ModelError(
                f"an Embedding of {count} rows looks channel {channel} up, and in this closed loop an output would "
                "become it: a forecast is no whole number",
                hint=f'Say {IN_FILE} what it is: known_ahead = ["COLUMN"] under [data] (an hour, a day), or '
                '--exogenous; static = ["COLUMN"] where it never changes; or kind = "direct" under [forecast], or '
                "--kind direct, where nothing is fed back.",
            )


# --- without feedback -------------------------------------------------------------------------------------------------


def _reconstruction(shape: tuple[int, ...], window: int, channels: int) -> Reading:
    if shape not in ((window, channels), (window * channels,)):
        raise ModelError(
            f"its output {shape} is not the window ({window}, {channels}) again",
            hint=f"A reconstruction gives as many values as it takes. Say another kind under [forecast] {IN_FILE}.",
        )
    return Reading(1, window * channels, (None,) * channels, task="reconstruction")


def _classes(shape: tuple[int, ...], channels: int, said: Said) -> Reading:
    count = shape[-1]
    if len(shape) == 2:
        raise ModelError(
            f"its output {shape} is evidence for classes at {shape[0]} samples",
            hint=f'If the last sample\'s is meant, say labels = "wide" under [forecast] {IN_FILE}.',
        )
    names = said.targets or tuple(f"class {number}" for number in range(count))
    if len(names) != count:
        raise UsageError(f"{len(names)} classes are named, the model gives {count}", hint="Name each class once.")
    outputs = tuple(Output(name, said.lead or 0, "class") for name in names)
    return Reading(1, count, (None,) * channels, predicted=outputs, task="classes")


def _direct(shape: tuple[int, ...], channels: int, said: Said) -> Reading:
    count = 1
    for size in shape:
        count *= size
    sample = said.predicted or tuple(
        Output(name, 1, channel=said.columns.index(name) if name in said.columns else None) for name in said.targets
    )
    if len(shape) == 2:
        steps, values = shape
        if said.steps not in (None, steps):
            raise ModelError(f"it predicts {steps} samples at once, not {said.steps}", hint="Leave steps out.")
    elif said.steps is not None:
        steps, values = said.steps, count // said.steps
        if count % said.steps:
            raise ModelError(
                f"it predicts {count} values, which are not {said.steps} samples", hint="Change steps in [forecast]."
            )
    elif sample and count % len(sample) == 0:
        steps, values = count // len(sample), len(sample)
    elif count == 1:
        steps, values = 1, 1
    elif sample:
        raise UsageError(
            f"{len(sample)} outputs are named ({listed(sample)}), and it predicts {count} values",
            hint=f"Name under outputs in [data] {IN_FILE} what it predicts, in the order of its values: {count}, or "
            "fewer of which it predicts several samples.",
        )
    else:
        raise UnsaidError(
            f"it predicts {count} values, and nothing says of what: they may be samples of one column, or one sample "
            f"of {count}",
            hint=f'Say it {IN_FILE}: [data] outputs = ["COLUMN"] for {count} samples of one column, the oldest first, '
            f"or {count} names for one sample of {count} columns; or --steps and --target-column.",
        )
    if not sample:
        sample = tuple(Output(f"output {number}" if values > 1 else "output") for number in range(values))
    if len(sample) != values:
        names = ", ".join(output.label for output in sample)
        raise UsageError(
            f"{len(sample)} outputs are named ({names}), a predicted sample of this model holds {values}",
            hint=f"Name {values} under outputs in [data] {IN_FILE}, or say how many samples it predicts with steps.",
        )
    first = 1 if said.lead is None else said.lead
    if steps > 1 and any(output.lead != 1 for output in sample):
        raise UsageError(
            f"the model predicts {steps} samples, and its outputs have leads of their own",
            hint="Leave lead out of the outputs, or give one output for each value.",
        )
    outputs = tuple(
        Output(
            output.name,
            first + step if output.lead == 1 else output.lead,
            output.statistic,
            output.level,
            output.channel,
        )
        for step in range(steps)
        for output in sample
    )
    return Reading(1, count, (None,) * channels, predicted=outputs)


# --- with feedback ----------------------------------------------------------------------------------------------------


def _check_loop(channels: int, said: Said) -> None:
    if said.feedback is not None and len(said.feedback) == channels and all(one is None for one in said.feedback):
        raise UsageError(
            "no output becomes an input",
            hint=f'Say kind = "direct" under [forecast] {IN_FILE}, or --kind direct: then nothing is fed back.',
        )


def _without_sequence(said: Said) -> Said:
    return replace(said, steps=None, last_only=False)


def _with_predicted_feedback(channels: int, said: Said) -> Said:
    """``said`` with the outputs that are fed back: of each column its value or mean, else its median."""
    chosen: dict[int, int] = {}
    for number, output in enumerate(said.predicted):
        expected = output.statistic in ("value", "mean") or (output.statistic == "quantile" and output.level == 0.5)
        if output.channel is not None and expected and output.lead == 1:
            chosen.setdefault(output.channel, number)
    feedback = tuple(chosen.get(channel) for channel in range(channels))
    if not chosen:
        raise UsageError(
            "none of the outputs can be fed back: there is no next value, mean or median of an input among them",
            hint=f'Say kind = "direct" under [forecast] {IN_FILE}, or give one output of an input without quantile.',
        )
    return replace(said, kind="closed loop", feedback=feedback)


def _others_in_order(channels: int, given: set[int]) -> tuple[int | None, ...]:
    """The feedback of outputs that are the inputs not ``given``. Raises UsageError where nothing is left, or beyond."""
    if beyond := sorted(channel for channel in given if channel >= channels):
        raise UsageError(
            f"there is no input {beyond[0]}: the model has {channels}",
            hint=f"Inputs are numbered from 0 to {channels - 1}.",
        )
    order = [channel for channel in range(channels) if channel not in given]
    if not order:
        raise UsageError(
            "no input is left that could be predicted",
            hint=f'Say kind = "direct" under [forecast] {IN_FILE}, or --kind direct: then nothing is fed back.',
        )
    return tuple(None if channel in given else order.index(channel) for channel in range(channels))


def _check_sources(feedback: tuple[int | None, ...] | None, channels: int, most: int) -> None:
    """most: values that a predicted sample can hold."""
    if feedback is not None and (
        len(feedback) != channels or any(source is not None and not 0 <= source < most for source in feedback)
    ):
        raise UsageError(
            f"{list(feedback)} does not say for each of {channels} inputs which of {most} outputs becomes it",
            hint="Give one output channel, or None for an input that is known ahead, for each input.",
        )


def _block(shape: tuple[int, ...], window: int, channels: int, said: Said) -> tuple[int, int]:
    """(steps, outputs) of a closed loop. Raises ModelError where that, or that it is one, cannot be told."""
    feedback = said.feedback
    named = len(said.predicted) or max((source + 1 for source in feedback or () if source is not None), default=0)
    if len(shape) == 2:
        steps, values = shape
        if said.steps not in (None, steps):
            raise ModelError(
                f"it predicts {steps} samples at once, not {said.steps}", hint="Leave steps out of [forecast]."
            )
        if said.steps is None and steps == window > 1:
            raise _sequence(window, values, channels)
        if named == 0 and values != channels:
            raise _unsaid(f"it predicts {steps} samples of {values} values from {channels} channels", values, channels)
        return steps, values
    count = shape[0]
    if said.steps is not None:
        if count % said.steps:
            raise ModelError(
                f"it predicts {count} values, which are not {said.steps} samples", hint="Change steps in [forecast]."
            )
        values = count // said.steps
        if named == 0 and values != channels:
            raise _unsaid(
                f"it predicts {said.steps} samples of {values} values from {channels} channels", values, channels
            )
        return said.steps, values
    if named:
        if count == named:
            return 1, count
        if count % named:
            raise _unsaid(f"it predicts {count} values, of which {named} are named", count, channels)
        raise UnsaidError(
            f"it predicts {count} values, and {named} {'is' if named == 1 else 'are'} named: they may be "
            f"{count // named} samples of {named}, or one sample of {count}",
            hint=f"Say steps = {count // named} under [forecast] {IN_FILE}, or --steps, for a block of samples, the "
            f"oldest first; for one sample name all {count} (of one column: outputs = "
            f'[{{name = "COLUMN", quantile = 0.1}}, ...] under [forecast], or {{name = "COLUMN", mean = true}} and '
            '{name = "COLUMN", deviation = true}).',
        )
    if count == channels:
        return 1, count
    raise _unsaid(
        f"it predicts {_values(shape)} from {channels} channel{'s' * (channels > 1)}", count, channels, window
    )


def _sequence(window: int, values: int, channels: int) -> UnsaidError:
    lines = [
        f'labels = "wide" under [forecast] {IN_FILE}, if its last sample is the forecast (a label for each input step)',
        f"steps = {window} there, or --steps {window}, if these samples follow the window",
    ]
    if values == channels:
        lines.append('kind = "reconstruction" there, or --kind reconstruction, if it gives its window again')
    return UnsaidError(
        f"it predicts {window} samples, as many as its window holds, and nothing says which they are",
        hint=f"Say {'; '.join(lines)}.",
    )


def _values(shape: tuple[int, ...]) -> str:
    values = f"{shape[-1]} value{'s' * (shape[-1] > 1)}"
    return values if len(shape) == 1 else f"{shape[0]} samples of {values}"


def _unsaid(what: str, values: int, channels: int, window: int = 0) -> UnsaidError:
    """The readings that are possible, and the line for each. window: of a model that may give it again, else 0."""
    lines = []
    if values < channels:
        some = "one of its inputs" if values == 1 else f"{values} of its inputs"
        lines.append(f"{some}, fed back: outputs = [...] under [data], the other inputs are then known ahead")
    if values > channels and window and values == window * channels:
        lines.append('the window again: kind = "reconstruction", or --kind reconstruction')
    if values > channels > 1 and values % channels == 0:
        block = values // channels
        lines.append(f"{block} samples of all its inputs, the oldest first: steps = {block}, or --steps {block}")
    if values > channels:
        lines.append(f"a block of samples, the oldest first: steps = {values} under [forecast], or --steps {values}")
        lines.append(
            'several statistics of a sample: outputs = [{name = "COLUMN", quantile = 0.1}, ...] under [forecast]'
        )
    direct = "a value that is not fed back" if values == 1 else "values that are not fed back"
    lines.append(
        f'{direct}: kind = "direct" with outputs = [...] under [data], or --kind direct --target-column COLUMN'
    )
    if values > 1:
        lines.append('evidence for classes: kind = "classes"')
    return UnsaidError(
        f"{what}, and nothing says what they are" if values > 1 else f"{what}, and nothing says what it is",
        hint=f"Say it {IN_FILE}. {'; or '.join(lines)}.",
    )


def listed(outputs: Sequence[Output]) -> str:
    """The labels of outputs in a row."""
    return ", ".join(output.label for output in outputs)
