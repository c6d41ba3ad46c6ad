"""`edge-tqs validate` with several ports: the same rollouts on several boards at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_tqs.device.trace_file import TRACE
from edge_tqs.errors import StorageError, TqsError, UsageError
from edge_tqs.progress import Progress
from edge_tqs.report.board_runs import BoardRun, BoardRuns, numbered
from edge_tqs.report.files import write_report
from edge_tqs.report.format import VALIDATION_JSON, VALIDATIONS_JSON
from edge_tqs.report.validation_report import ValidationReport
from edge_tqs.validation.measure import STAGE
from edge_tqs.validation.validate import Expect, Expected, ValidateRequest, open_build, validate_on

#: Seconds between two looks whether Ctrl-C was pressed.
POLL_SECONDS = 0.2


def validate_boards(request: ValidateRequest, ports: Sequence[str], progress: Progress) -> BoardRuns:
    """Validate the build on the board at each port; also writes validations.json and report.html.

    Board n, from 1 on, has trace-n.jsonl and validation-n.json. A board that fails is reported; the others go on.
    With ``request.resume`` finished boards stay as they are, and those of which no step came begin.

    Raises:
        UsageError: as `validate` for what concerns no single board; a port twice; nothing to resume.
        StorageError: the disk takes no more.
    """
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        raise UsageError(f"--port {twice[0]} is given twice", hint="Name each board's port once.")
    build = request.build
    files = [
        (build / numbered(TRACE, number), build / numbered(VALIDATION_JSON, number))
        for number in range(1, len(ports) + 1)
    ]
    if request.resume and all(finished.exists() for _, finished in files):
        raise UsageError(
            f"the last run of {len(ports)} boards in {build} is finished: there is nothing to resume",
            hint="Leave --resume out to run again.",
        )
    if request.resume and not any(trace.exists() for trace, _ in files):
        raise UsageError(f"{build} holds no run of several boards", hint="Leave --resume out to begin one.")
    built, expect = open_build(request)
    for earlier in (VALIDATIONS_JSON, *(() if request.resume else ("validation-*.json",))):
        for path in build.glob(earlier):  # a run is finished when they are there
            path.unlink()
    expect, progress = _once(expect), _together(progress, len(ports))
    runs: list[BoardRun | BaseException | None] = [None] * len(ports)

    def run(index: int) -> None:
        trace, finished = files[index]
        asked = replace(request, port=ports[index], number=index + 1, resume=request.resume and trace.exists())
        try:
            if request.resume and finished.exists():
                runs[index] = BoardRun(ports[index], _finished(finished, ports[index]))
            else:
                runs[index] = BoardRun(ports[index], validate_on(built, asked, expect, progress))
        except TqsError as error:
            runs[index] = BoardRun(ports[index], None, error.message, error.hint or None)
        except BaseException as error:  # a fault of this program: the others end first
            runs[index] = error

    # Daemons, so that Ctrl-C ends the program at once: what each board sent is on disk.
    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(ports))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
    for outcome in runs:
        if isinstance(outcome, BaseException):
            raise outcome
    result = BoardRuns(tuple(outcome for outcome in runs if isinstance(outcome, BoardRun)))
    try:
        (build / VALIDATIONS_JSON).write_text(result.to_json(), encoding="utf-8")
        write_report(build)
    except OSError as error:
        (build / VALIDATIONS_JSON).unlink(missing_ok=True)
        raise StorageError(
            f"the report cannot be written to {build}: {error.strerror}. Each finished board has its own file.",
            hint="Make room on its disk, and run again.",
        ) from error
    return result


def _finished(path: Path, port: str) -> ValidationReport:
    """The report of a board that had finished when the others were interrupted. Raises UsageError for another port."""
    loaded = ValidationReport.from_json(path.read_text(encoding="utf-8"), str(path))
    if loaded.port != port:
        raise UsageError(
            f"{path} is of the board at {loaded.port}, not of {port}",
            hint="Give the ports in the order of the run that is resumed, or leave --resume out.",
        )
    return loaded


def _once(expect: Expect) -> Expect:
    """What the host expects of a runtime, computed by the first board that runs it."""
    lock, known = threading.Lock(), dict[str, Expected]()

    def once(engine: str) -> Expected:
        with lock:
            if engine not in known:
                known[engine] = expect(engine)
            return known[engine]

    return once


def _together(progress: Progress, boards: int) -> Progress:
    """The steps of all boards as one count."""
    lock, done_by = threading.Lock(), dict[int, int]()

    def together(stage: str, done: int, total: int) -> None:
        if stage == STAGE:
            with lock:
                done_by[threading.get_ident()] = done
                progress(f"rollouts on {boards} boards", sum(done_by.values()), boards * total)

    return together
