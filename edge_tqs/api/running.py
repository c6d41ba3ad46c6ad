"""From a build directory on: flash it, validate it, compare two validations, export it to other firmware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

from edge_tqs.api.arguments import StrPath, silent
from edge_tqs.api.threads import single_threaded
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash import flash as write_image
from edge_tqs.building.folder.directory import BuildDir, image_of, load
from edge_tqs.device.device import Times
from edge_tqs.errors import UsageError
from edge_tqs.exporting import Exported
from edge_tqs.exporting import export as write_export
from edge_tqs.progress import Progress
from edge_tqs.project.file import ROLLOUTS
from edge_tqs.project.series import AS_FOUND
from edge_tqs.project.series_format import SeriesFormat
from edge_tqs.report.board_runs import BoardRuns
from edge_tqs.report.validation_report import ValidationReport
from edge_tqs.validation.compare import Comparison, parse_limits
from edge_tqs.validation.compare import compare as compare_runs
from edge_tqs.validation.several import validate_boards
from edge_tqs.validation.validate import ValidateRequest
from edge_tqs.validation.validate import validate as validate_board


def flash(build: StrPath | BuildDir, *, port: str | None = None, tool: str | None = None) -> FlashResult:
    """Write the firmware of a build to its board, and verify it there.

    Args:
        build: What `build` returned, or its directory.
        port: Where the tool finds the board: a serial port, HOST:PORT, a drive, user@host, a probe.
        tool: Another tool than the board's own: "gdb", "openocd", "pyocd", "esptool", "ssh", ...

    Raises UsageError where there is nothing to flash or a port is missing, ToolError where the tool is, DeviceError
    where the board does not answer or what was read back differs.
    """
    return write_image(*image_of(_path(build)), port=port, method=tool)


def export(
    build: StrPath | BuildDir,
    kind: str,
    out: StrPath,
    *,
    prefix: str = "tqs",
    self_test: bool = True,
    helpers: Sequence[str] = (),
) -> Exported:
    """Write the C of a build as sources for another firmware: one that edge-tqs does not make.

    Args:
        build: What `build` returned, or its directory.
        kind: "amalgamated", "arduino", "c", "cmake", "cmsis-pack", "cube", "esp-idf", "pico-sdk", "platformio",
            "zephyr".
        out: A new or empty folder, or an export to be replaced.
        prefix: What every symbol, macro and file begins with, so that several models link into one program.
        self_test: With the codes of a short forecast, by which a program tells that it computes the right thing.
        helpers: What comes beside the model: "card", "series", "snapshot", "validate",
            "watch" (docs/how-to/helpers.md).

    Raises UsageError for another kind or helper, a prefix that is no name, or a folder that holds something else.
    """
    built = build if isinstance(build, BuildDir) else load(Path(build))
    return write_export(built, kind, Path(out), prefix=prefix, self_test=self_test, helpers=helpers)


class ValidationKeywords(TypedDict, total=False):
    """The keywords of `validate` but for its ports, which settle what it returns."""

    baud: int | None
    max_baud: int | None
    reset: bool
    step_timeout: float | None
    rollouts: int
    horizon: int | None
    data: StrPath | None
    series_format: SeriesFormat
    teacher_forced: bool
    server: Literal["program", "agent"]
    resume: bool
    max_rmse_vs_float: float | None
    progress: Progress


@overload
def validate(
    build: StrPath | BuildDir, *, port: str | None = None, **settings: Unpack[ValidationKeywords]
) -> ValidationReport: ...


@overload
def validate(
    build: StrPath | BuildDir, *, port: list[str] | tuple[str, ...], **settings: Unpack[ValidationKeywords]
) -> BoardRuns: ...


@single_threaded
def validate(
    build: StrPath | BuildDir,
    *,
    port: str | list[str] | tuple[str, ...] | None = None,
    baud: int | None = None,
    max_baud: int | None = None,
    reset: bool = False,
    step_timeout: float | None = None,
    rollouts: int = ROLLOUTS,
    horizon: int | None = None,
    data: StrPath | None = None,
    series_format: SeriesFormat = AS_FOUND,
    teacher_forced: bool = False,
    server: Literal["program", "agent"] = "program",
    resume: bool = False,
    max_rmse_vs_float: float | None = None,
    progress: Progress = silent,
) -> ValidationReport | BoardRuns:
    """Run rollouts of a build on its board and compare every step with the host; ``passed`` of the result says it.

    Args:
        build: What `build` returned, or its directory.
        port: Where a running board is, "/dev/ttyACM0", "socket://host:port", "labgrid://PLACE"; None runs the
            board's emulator. A list validates several boards at once, and the result has a report for each.
        baud: Rate of the port; the board's unless said otherwise.
        max_baud: Raise the rate up to this, as far as it is carried; 0 never; the board's unless said otherwise.
        reset: Reset the board first, by the line of its port that its board file names.
        step_timeout: Seconds that a step may take; 10 unless said otherwise.
        rollouts: Seed windows to roll out, at least 1.
        horizon: Steps of each; the build's unless said otherwise.
        data: CSV to take windows and truth from; the windows that the build saved unless said otherwise.
        series_format: How that CSV is read, where it leaves it open.
        teacher_forced: Feed each step what really followed, not the board's own output.
        server: For Linux boards run here: the compiled "program" or the Python "agent".
        resume: Go on with the run that was interrupted in the build's directory.
        max_rmse_vs_float: Fail above this RMSE from the float model, in the model's units.

    Raises UsageError for no such build, port or data; DeviceError where a single board is silent, runs another model
    or fails; StorageError where the disk takes no more.
    """
    request = ValidateRequest(
        _path(build),
        port=port if isinstance(port, str) else None,
        baud=baud,
        max_baud=max_baud,
        reset=reset,
        times=Times() if step_timeout is None else Times.slow(step_timeout),
        rollouts=rollouts,
        horizon=horizon,
        data=None if data is None else Path(data),
        series_format=series_format,
        resume=resume,
        server=server,
        max_rmse_vs_float=max_rmse_vs_float,
        mode="teacher-forced" if teacher_forced else "free-running",
    )
    if port is None or isinstance(port, str):
        return validate_board(request, progress)
    if not port:
        raise UsageError("no port is given", hint="Name at least one, or leave them out to run the board's emulator.")
    return validate_boards(request, port, progress)


def compare(
    before: StrPath | BuildDir, after: StrPath | BuildDir, *, limits: Mapping[str, float] | None = None
) -> Comparison:
    """Two validations figure by figure; ``passed`` of the result says whether ``after`` passed, within every limit.

    Args:
        before: A build that was validated, its directory, or a copy of its validation.json.
        after: Likewise.
        limits: How many percent more ``after`` may have: "accuracy", "latency", "memory", or one figure.

    Raises UsageError for a run that cannot be read and for a limit of no figure.
    """
    allowed = parse_limits(tuple(f"{name}={float(percent)!r}" for name, percent in (limits or {}).items()))
    return compare_runs(_path(before), _path(after), allowed)


def _path(build: StrPath | BuildDir) -> Path:
    return build.path if isinstance(build, BuildDir) else Path(build)
