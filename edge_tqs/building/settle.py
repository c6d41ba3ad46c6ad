"""Open a model as it was asked for. What the request leaves open is settled by the data: roles, inputs, scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_tqs.building.finding.doubts import doubts, fits
from edge_tqs.building.finding.one_step import warmed
from edge_tqs.building.finding.reading import find_reading
from edge_tqs.building.finding.scaling import find_scaling
from edge_tqs.building.request import Asked, ModelRequest
from edge_tqs.building.units import forecast_of
from edge_tqs.building.windows import training_of, windows_of
from edge_tqs.errors import ModelError, TqsError, UsageError
from edge_tqs.graph.graph import Scaling
from edge_tqs.progress import Progress
from edge_tqs.project.later import later
from edge_tqs.project.roles import Roles, said_of
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method, check_rows, check_unscaled, keeping, scaling_of_inputs, scaling_of_outputs
from edge_tqs.read.opening import Opened, named, open_model
from edge_tqs.read.windows import flat_values
from edge_tqs.system.reading import Said, UnsaidError
from edge_tqs.system.system import System


def open_requested(request: ModelRequest, progress: Progress) -> tuple[ModelRequest, Opened]:
    """Open the model and compare it with its graph; what was not said is found out from the data.

    Returns the request with what was found, and with what in the data contradicts it. Raises ModelError, CheckError,
    UsageError.
    """
    progress("reading the model", 0, 1)
    series = request.series
    given = (series.scaling, series.output_scaling) if series else (request.scaling, request.output_scaling)
    request = replace(request, asked=Asked(request.roles, *given))
    try:
        opened = _open(request)
    except UnsaidError:
        if request.series is None or request.roles.kind or request.roles.predicted or request.target != "level":
            raise
        request = _with_reading(request)
        opened = _open(request)
    except ModelError as error:
        flat = flat_values(error)
        if not flat or request.series is None:
            raise
        return _flat(request, flat, error, progress)
    channels, series = opened.system.channels, request.series
    if series and not request.roles.inputs and len(request.columns) < channels == len(series.data.series.columns):
        request = _with_inputs(request, series.data.series.columns)  # what is predicted is among them
        opened = _open(request)
    for what, values in (("columns", request.columns), ("scaling", request.scaling and request.scaling.mean)):
        if values and len(values) != channels:
            raise UsageError(
                f"{request.model} has {channels} channels, the project names {len(values)} {what}",
                hint="Name one column for each input of the model, in its order, in edge-tqs.toml."
                + _label_line(request, channels, opened.system.reading.outputs),
            )
    _check_newest(request, opened)
    request, opened = _settled(_with_whole(request, opened.system), opened)
    request = _with_whole(request, opened.system)  # in the units that were found
    return _doubted(request, opened.system), opened


def _check_newest(request: ModelRequest, opened: Opened) -> None:
    """Raise UsageError where a column may be what was measured of late or what is known ahead, and none is named.

    Where the newest N samples alone of a channel are read, NAME is the one, NAME+N the other.
    """
    newest = dict(opened.loaded.newest if opened.loaded else opened.system.newest)
    if request.series is None or not newest:
        return
    columns = (request.asked or Asked(request.roles)).roles.inputs
    for channel, rows in newest.items():
        where = f"{request.model}: of channel {channel} it reads the newest {rows} samples alone"
        if not columns:
            inputs = [f"{name}+{newest[at]}" if at in newest else name for at, name in enumerate(request.columns)]
            inputs = inputs if len(inputs) == opened.system.channels else ["...", f"COLUMN+{rows}"]
            listed = ", ".join(name if name == "..." else f'"{name}"' for name in inputs)
            raise UsageError(
                f"{where}, and nothing says whether these are known ahead or were measured",
                hint=f"Write under [data] in edge-tqs.toml: inputs = [{listed}], if they are known ahead; the names "
                "without the numbers, if they were measured.",
            )
        name, ahead = later(columns[channel])
        if ahead not in (0, rows):
            raise UsageError(
                f"{where}, and {columns[channel]} names what comes {ahead} rows later",
                hint=f'Write "{name}+{rows}" where these samples are known ahead, "{name}" where they were measured.',
            )


def _flat(request: ModelRequest, values: int, error: ModelError, progress: Progress) -> tuple[ModelRequest, Opened]:
    """A flat window of so many ``values``: of as many columns as were named, or as the data have but for the target.

    Raises ``error`` with the lengths that are possible where several fit, or none.
    """
    series = request.series
    assert series is not None
    named = len(request.roles.inputs)
    counts = [named] if named else [len(series.data.series.columns), len(series.data.series.columns) - 1]
    lengths = {values // count: count for count in counts if count and values % count == 0}
    if named and len(lengths) == 1:
        return open_requested(replace(request, window=values // named), progress)
    fitting: list[tuple[ModelRequest, Opened]] = []
    for length in lengths:
        try:
            one = open_requested(replace(request, window=length), progress)
        except TqsError:
            continue
        if not one[0].doubts:
            fitting.append(one)
    if len(fitting) == 1:
        found, opened = fitting[0]
        text = f"Its flat window of {values} values is {found.window} samples of {opened.system.channels} columns."
        return replace(found, findings=(text, *found.findings)), opened
    lines = [f"window = {length} for {count} input column{'s' * (count > 1)}" for length, count in lengths.items()]
    file = series.data.series.path.name
    here = f"With the columns of {file}: {' or '.join(lines)}. " if lines else ""
    raise ModelError(error.message, hint=here + error.hint) from error


def _label_line(request: ModelRequest, channels: int, values: int) -> str:
    """The lines for a model that may be a classifier, where one column numbers as many classes as it gives values."""
    if request.series is None or request.roles.label is not None or values < 2:
        return ""
    series, rows = request.series.data.series, request.series.data.train_rows
    numbered = [name for at, name in enumerate(series.columns) if {*series.values[:rows, at]} == {*range(values)}]
    if len(numbered) != 1:
        return ""
    others = [f'"{name}"' for name in series.columns if name != numbered[0]]
    inputs = f"inputs = [{', '.join(others)}]" if len(others) == channels else "inputs = [...]"
    return (
        f" If it is a classifier: {numbered[0]} has the numbers 0 to {values - 1}, as many as it gives values; write "
        f'label = "{numbered[0]}" and {inputs} under [data].'
    )


def _with_whole(request: ModelRequest, system: System) -> ModelRequest:
    """``request`` whose scaling leaves the channels as they are by which rows are looked up.

    Raises UsageError for data that hold no such numbers, and for a scaling of them that was said.
    """
    asked = (request.asked or Asked(request.roles)).scaling
    said = asked if isinstance(asked, Scaling) and len(asked.mean) == system.channels else None
    if not system.whole:
        return request
    if request.series is None:
        for channel, _ in system.whole:
            check_unscaled(request.columns[channel] if request.columns else f"channel {channel}", channel, said)
        return request
    check_rows(system.whole, request.columns or request.series.data.inputs, said, request.series.data.series)
    if request.scaling is None:
        return request
    data = replace(request.series.data, scaling=keeping(request.scaling, system.whole))
    return replace(
        request,
        scaling=data.scaling,
        series=replace(request.series, data=data),
        windows=windows_of(data),
        training=training_of(data),
    )


def _settled(request: ModelRequest, opened: Opened) -> tuple[ModelRequest, Opened]:
    """With the scaling. A closed loop that was only taken for granted, and does not fit, is read as the data say."""
    try:
        settled = _with_whole(_with_scaling(request, opened.system), opened.system)
        if not _for_granted(request) or fits(opened.system, forecast_of(opened.system, settled), _data(settled)):
            return settled, opened
        other = _other_reading(request)
        return other or (settled, opened)
    except UsageError:
        other = _other_reading(request) if _for_granted(request) else None
        if other is None:
            raise
        return other


def _for_granted(request: ModelRequest) -> bool:
    """Whether nothing was said of the outputs, so that the shapes alone made a closed loop of them."""
    roles = replace(request.roles, inputs=())
    plain = (request.target, request.centre) == ("level", "none")
    return request.series is not None and roles == Roles() and plain and not request.findings


def _other_reading(request: ModelRequest) -> tuple[ModelRequest, Opened] | None:
    """None where nothing fits. Raises UnsaidError where something does, and the data leave open what exactly."""
    try:
        found = _with_reading(request)
        return found, _open(found)
    except UnsaidError:
        raise
    except ModelError:
        return None


def _doubted(request: ModelRequest, system: System) -> ModelRequest:
    """``request`` with what the data say against it."""
    if request.series is None or request.asked is None:
        return request
    roles, method = request.asked.roles, request.asked.scaling
    leads = [output.lead for output in roles.predicted]
    known = roles.lead is not None or request.roles.lead is not None or any(lead is not None for lead in leads)
    plain = (request.target, request.centre) == ("level", "none")
    system = warmed(system, _data(request).train_rows)
    try:
        found = doubts(
            system,
            forecast_of(system, request),
            _data(request),
            method=method,
            lead_said=known,
            outputs_said=bool(roles.predicted_columns),
            plain=plain,
        )
    except UnsaidError as error:
        raise UnsaidError(f"{request.model}: {error.message}", hint=error.hint) from error
    refuted = tuple(doubt.text for doubt in found if doubt.other)
    return replace(request, doubts=tuple(doubt.text for doubt in found), refuted=refuted)


def _data(request: ModelRequest) -> ProjectData:
    assert request.series is not None
    return request.series.data


def _open(request: ModelRequest, said: Said | None = None) -> Opened:
    opened = open_model(
        request.model,
        recurrence=request.recurrence,
        window=request.window,
        said=said or request.said,
        custom=request.custom_objects,
        output=request.output,
        target="level" if said else request.target,
        centre="none" if said else request.centre,
    )
    return opened if request.name is None else named(opened, request.name)


def _with_reading(request: ModelRequest) -> ModelRequest:
    """``request`` with what its model's outputs are, by the data. Raises ModelError where that does not tell."""
    assert request.series is not None
    try:
        opened, flat = _open(request, Said(kind="direct", steps=1)), True
    except ModelError:
        opened, flat = _open(request, Said(kind="direct")), False
    _check_newest(request, opened)
    reading = opened.system.reading
    leads = max(output.lead for output in reading.predicted)
    shape = (reading.outputs,) if flat else (leads, reading.outputs // leads)
    try:
        data = request.series.data
        system = warmed(opened.system, data.train_rows)
        found = find_reading(system, shape, data, request.roles, request.series.scaling)
    except ModelError as error:
        label = _label_line(request, opened.system.channels, reading.outputs)
        raise type(error)(f"{request.model}: {error.message}", hint=f"{error.hint}{label}") from error
    said = replace(said_of(found.roles), last_only=found.last_only)
    return _scaled(
        replace(request, roles=found.roles, said=said, columns=found.roles.inputs),
        found.inputs,
        request.series.output_scaling or found.outputs or None,
        f"Outputs are {found.text}.",
    )


def _with_inputs(request: ModelRequest, inputs: tuple[str, ...]) -> ModelRequest:
    """``request`` of a model that takes all columns of the data, those too that it predicts."""
    series = request.series
    assert series is not None
    roles = replace(request.roles, inputs=inputs)
    series = replace(series, data=replace(series.data, inputs=inputs))
    request = replace(request, roles=roles, said=said_of(roles), columns=inputs, series=series)
    request = replace(request, windows=windows_of(series.data), training=training_of(series.data))
    if series.scaling is None:
        return request
    return replace(_scaled(request, series.scaling, series.output_scaling, ""), findings=request.findings)


def _with_scaling(request: ModelRequest, system: System) -> ModelRequest:
    """``request`` with the scaling that is not said, by the data. Raises UsageError where that does not tell."""
    series = request.series
    if series is None or request.findings:
        return request
    system = warmed(system, series.data.train_rows)
    forecast = forecast_of(system, replace(request, scaling=None, output_scaling=None))
    targets = any(channel is None for channel in forecast.output_channels) and forecast.task == "forecast"
    if series.scaling is not None and (series.output_scaling is not None or not targets):
        return request
    found = find_scaling(system, forecast, series.data, series.scaling, series.output_scaling is None and targets)
    outputs: Scaling | Method | Mapping[str, Method] | None = series.output_scaling
    if outputs is None and found.outputs:
        own = [name for name in request.roles.predicted_columns if name not in request.columns]
        outputs = dict.fromkeys(own, found.outputs)
    return _scaled(request, series.scaling or found.inputs, outputs, f"Data are taken {found.text}.")


def _scaled(
    request: ModelRequest,
    inputs: Scaling | Method,
    outputs: Scaling | Method | Mapping[str, Method] | None,
    finding: str,
) -> ModelRequest:
    """``request`` with the scalings that were said or found, and the ``finding``."""
    series = request.series
    assert series is not None
    values, rows = series.data.series, series.data.train_rows
    scaling = scaling_of_inputs(inputs, values, rows, request.columns)
    fed_back = request.roles.predicted_columns if request.said.kind in (None, "closed loop") else ()
    roles = replace(request.roles, inputs=request.columns)
    of_outputs = scaling_of_outputs(roles, outputs, values, rows, scaling, fed_back)
    data = replace(series.data, inputs=request.columns, scaling=scaling, output_scaling=of_outputs)
    return replace(
        request,
        scaling=scaling,
        output_scaling=of_outputs,
        windows=windows_of(data),
        training=training_of(data),
        series=replace(series, data=data, scaling=inputs, output_scaling=_one_of(outputs)),
        findings=(*request.findings, finding),
    )


def _one_of(said: Scaling | Method | Mapping[str, Method] | None) -> Scaling | Method | None:
    """The method of all outputs, where each column has the same."""
    if not isinstance(said, Mapping):
        return said
    methods = set(said.values())
    return methods.pop() if len(methods) == 1 else None
