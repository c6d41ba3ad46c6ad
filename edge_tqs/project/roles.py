"""What a project says of a model's inputs and outputs, by the names of columns; as numbers it is a reading.Said.

Who says nothing of an input and names the outputs means that it is known ahead. Whatever can be meant in two ways is
refused with the line for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Output
from edge_tqs.strict import FILLED, Rule, at_least
from edge_tqs.system.reading import IN_FILE, AskedKind, Kind, Said


@dataclass(frozen=True)
class NamedOutput:
    """One value of a predicted sample: of the column ``name``, ``lead`` samples after the newest that is known.

    At most one of quantile (its level, 0 to 1), mean and deviation; with none of them the value itself.
    """

    name: Annotated[str, FILLED]
    quantile: Annotated[float, Rule(lambda level: 0 < level < 1, "a number between 0 and 1")] | None = None
    mean: bool = False
    deviation: bool = False
    lead: Annotated[int, at_least(0)] | None = None


@dataclass(frozen=True)
class Roles:
    """What was said, by name; empty and None where nothing was. Words as in edge-tqs.toml.

    inputs: columns in the order of the model's channels. outputs: columns of a predicted sample, in the order of the
    model's values. known_ahead, measured, static: inputs that no output becomes; numbers as text stand for inputs
    without names. label: the column with the number of the class. predicted: the outputs one by one, in place of
    ``outputs``. classes: names of the classes. labels: "wide" where the model gives a label for each sample of its
    window, of which the last is the forecast. kind: "driven" becomes "direct", and lead is 0 where none is said.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    known_ahead: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    label: str | None = None
    kind: AskedKind | None = None
    lead: int | None = None
    steps: int | None = None
    predicted: tuple[NamedOutput, ...] = ()
    classes: tuple[str, ...] = ()
    labels: Literal["wide"] | None = None

    def __post_init__(self) -> None:
        if self.kind != "driven":
            return
        object.__setattr__(self, "kind", "direct")
        if any(output.lead is not None for output in self.predicted):
            own = tuple(replace(output, lead=output.lead or 0) for output in self.predicted)
            object.__setattr__(self, "predicted", own)
        elif self.lead is None:
            object.__setattr__(self, "lead", 0)

    @property
    def predicted_columns(self) -> tuple[str, ...]:
        """The columns that are predicted, each once: inputs among them, or not. Of classes the label."""
        if self.label is not None:
            return (self.label,)
        return tuple(dict.fromkeys([*self.outputs, *(output.name for output in self.predicted)]))


def said_of(roles: Roles) -> Said:
    """``roles`` as numbers of inputs and outputs.

    Raises UsageError for a name that is no input, for an input of two roles, and for what contradicts itself or can be
    meant in two ways.
    """
    _check(roles)
    kind = _kind(roles)
    known_ahead, measured, static = (
        _numbers(roles, what, names)
        for what, names in (
            ("known_ahead", roles.known_ahead),
            ("measured", roles.measured),
            ("static", roles.static),
        )
    )
    held = tuple(sorted({*measured, *static}))
    common = Said(kind=kind, steps=roles.steps, lead=roles.lead, columns=roles.inputs, static=static)
    common = replace(common, last_only=roles.labels == "wide")
    if kind == "classes":
        return replace(common, targets=roles.classes)
    if kind == "reconstruction":
        return common
    if kind == "direct":
        if roles.predicted:
            return replace(common, predicted=tuple(_output(roles, output) for output in roles.predicted))
        return replace(common, targets=roles.outputs)
    if roles.predicted or any(name not in roles.inputs for name in roles.outputs):
        named = roles.predicted or tuple(NamedOutput(name) for name in roles.outputs)
        _check_others(roles, {output.name for output in named}, known_ahead, held)
        predicted = tuple(_output(roles, output) for output in named)
        return replace(common, predicted=predicted, known_ahead=known_ahead, held=held)
    if not roles.outputs:
        return replace(common, known_ahead=known_ahead, held=held)
    _check_others(roles, set(roles.outputs), known_ahead, held)
    feedback = tuple(roles.outputs.index(name) if name in roles.outputs else None for name in roles.inputs)
    return replace(common, feedback=feedback, known_ahead=known_ahead, held=held)


def _check(roles: Roles) -> None:
    if roles.outputs and roles.predicted:
        raise UsageError(
            "outputs are said twice: under [data] and under [forecast]",
            hint="Keep those under [forecast]: they say more. Columns that are no inputs need not be named elsewhere.",
        )
    for output in roles.predicted:
        if sum((output.quantile is not None, output.mean, output.deviation)) > 1:
            raise UsageError(
                f"[forecast] outputs: {output.name} is said to be several of quantile, mean and deviation",
                hint="Give one entry for each value that the model predicts, in its order.",
            )
    if roles.lead is not None and any(output.lead is not None for output in roles.predicted):
        raise UsageError(
            "lead is said of the forecast and of single outputs",
            hint=f"Say it in one place {IN_FILE}: lead = {roles.lead} under [forecast], or in each of its outputs.",
        )
    if roles.label is not None and roles.kind not in (None, "classes"):
        raise UsageError(
            f'a label says which class it is, and kind is "{roles.kind}"',
            hint=f'Say kind = "classes" under [forecast] {IN_FILE}, or leave label out of [data].',
        )
    if roles.label is not None and roles.label in roles.inputs:
        raise UsageError(
            f"the label {roles.label} is among the inputs", hint="Leave it out of inputs: it is what is predicted."
        )
    classes = roles.kind == "classes" or roles.label is not None
    if classes and (roles.outputs or roles.predicted):
        raise UsageError(
            "outputs are columns, and a classifier predicts none",
            hint=f'Leave outputs out; name the classes under [forecast] {IN_FILE}: classes = ["rest", "walk", ...].',
        )
    if roles.classes and not classes:
        raise UsageError(
            f"classes are named, and kind is {'not said' if roles.kind is None else repr(roles.kind)}",
            hint=f'Say kind = "classes" under [forecast] {IN_FILE}.',
        )


def _kind(roles: Roles) -> Kind | None:
    """The kind that was said, or that alone fits what was said; None for a closed loop, or for what is left open."""
    if roles.kind is not None and roles.kind != "driven":  # which __post_init__ made "direct"
        return roles.kind
    if roles.label is not None:
        return "classes"
    names = roles.predicted_columns
    if roles.lead not in (None, 1):
        return "direct"  # what is fed back is the next sample
    if not names:
        return None
    if not roles.inputs:
        raise UsageError(
            f"{', '.join(names)}: nothing says whether {'it is' if len(names) == 1 else 'they are'} fed back",
            hint=f'Say --kind direct or --kind "closed loop", or kind under [forecast] {IN_FILE}.',
        )
    own = [name for name in names if name in roles.inputs]
    if not own:
        return "direct"
    if any(output.lead not in (None, 1) for output in roles.predicted):
        if all(output.lead not in (None, 1) for output in roles.predicted if output.name in own):
            return "direct"
        raise _fed_back_or_not(own, [f"{one.name} +{one.lead}" for one in roles.predicted if one.lead not in (None, 1)])
    if len(own) < len(names):
        raise _fed_back_or_not(own, [name for name in names if name not in own])
    return None


def _fed_back_or_not(own: Sequence[str], others: Sequence[str]) -> UsageError:
    return UsageError(
        f"of the outputs {', '.join(own)} could be fed back, {', '.join(others)} not, and nothing says what is meant",
        hint=f'Say it under [forecast] {IN_FILE}: kind = "direct", nothing is fed back; or kind = "closed loop", '
        f"{', '.join(own)} is fed back and the other inputs are known ahead, or as known_ahead, measured and static "
        "under [data] say.",
    )


def _output(roles: Roles, output: NamedOutput) -> Output:
    channel = roles.inputs.index(output.name) if output.name in roles.inputs else None
    lead = 1 if output.lead is None else output.lead
    if output.quantile is not None:
        return Output(output.name, lead, "quantile", output.quantile, channel)
    statistic = "deviation" if output.deviation else "mean" if output.mean else "value"
    return Output(output.name, lead, statistic, None, channel)  # type: ignore[arg-type]


def _numbers(roles: Roles, what: str, names: Sequence[str]) -> tuple[int, ...]:
    """The inputs that ``names`` are. Raises UsageError for a name that is no input."""
    found = set()
    for name in names:
        if name in roles.inputs:
            found.add(roles.inputs.index(name))
        elif name.isdecimal() and int(name) < (len(roles.inputs) or int(name) + 1):
            found.add(int(name))
        else:
            listed = ", ".join(roles.inputs) or "0, 1, ..."
            option = "--" + what.replace("_", "-")
            raise UsageError(f"{what} {name} ({option}) is no input column", hint=f"The columns are {listed}.")
    return tuple(sorted(found))


def _check_others(roles: Roles, predicted: set[str], known_ahead: Sequence[int], held: Sequence[int]) -> None:
    """Raise UsageError for an input of two roles, or of none where inputs known ahead are named."""
    given = {*known_ahead, *held}
    for number, name in enumerate(roles.inputs):
        if name in predicted and number in given:
            role = "known ahead" if number in known_ahead else "measured or static"
            raise UsageError(
                f"input {name} is predicted, fed back, and {role}",
                hint='Give it one role under [data]; or say kind = "direct" under [forecast]: nothing is fed back.',
            )
        if roles.known_ahead and name not in predicted and number not in given:
            raise UsageError(
                f"input {name} is not predicted, and not among known_ahead, measured and static",
                hint="Give it one of these roles under [data].",
            )
