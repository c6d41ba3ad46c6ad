"""trace.jsonl: what a validation received, step by step, so that an interrupted run loses nothing and can go on.

A line is a JSON object whose last key, ``crc``, is the CRC-32 of the text before it, continued from the line before: a
line that was changed, lost, doubled or moved is found, whatever it says. The first line says what run it is; then a
line a step, in order, and one for each thing worth knowing that happened on the way ("event").

Each line is given to the operating system in one write before the next step is awaited, so the end of this process,
SIGKILL too, costs at most the line in hand, which `read_trace` drops. The disk is waited for (fsync) at the header, at
the end of each rollout and at the end: a power failure costs the rollout in hand. To wait for it at each step would
cost milliseconds a step, and an SD card its life, for steps that the board computes again at will.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_tqs import strict
from edge_tqs.errors import StorageError, UsageError

TRACE = "trace.jsonl"
#: Raised by one whenever a line changes its form.
FORMAT = 3
BEGIN_ANEW = "Leave --resume out to begin anew."


@dataclass(frozen=True)
class TraceHeader:
    """What a run is; runs of the same header give the same steps.

    board: as it names itself. counter, counter_hz: what ticks count (PROTOCOL.md). seeds: SHA-256 of the seeds' codes,
    of what is known ahead and, in a teacher-forced run, of what really followed. mode: as in `report.ValidationReport`.
    """

    model_hash: str
    board: str
    counter: str
    counter_hz: int
    seeds: str
    rollouts: int
    horizon: int
    mode: str = "free-running"
    format: int = FORMAT


@dataclass(frozen=True)
class TraceStep:
    """A step as it was received. codes: the outputs; state: the hash of the states after it."""

    rollout: int
    step: int
    codes: tuple[int, ...]
    ticks: int
    state: int


@dataclass(frozen=True)
class Trace:
    """A trace read back. steps: in order. events: how often each happened. size: bytes of its whole lines. crc: that of
    the last one."""

    header: TraceHeader
    steps: tuple[TraceStep, ...]
    events: Mapping[str, int]
    size: int
    crc: int


def read_trace(path: Path) -> Trace:
    """Read a trace back, without the line that was being written when the run was ended.

    Raises:
        UsageError: There is none, it is of another version, or a line is damaged; the line is named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: no trace of a run: {error.strerror}", hint=BEGIN_ANEW) from error
    *lines, _ = data.split(b"\n")  # what follows the last line end was torn off
    if not lines:
        raise UsageError(f"{path}: the run ended before its first line was written", hint=BEGIN_ANEW)
    crc, records = 0, []
    for number, line in enumerate(lines, 1):
        record, crc = _open_line(line, crc, f"{path}: line {number}")
        records.append(record)
    header = _header(records[0], path)
    steps: list[TraceStep] = []
    events: Counter[str] = Counter()
    for number, record in enumerate(records[1:], 2):
        try:
            if "event" in record:
                events[str(record["event"])] += 1
                continue
            step = TraceStep(**{**record, "codes": tuple(record["codes"])})
        except (TypeError, KeyError) as error:
            raise _damaged(f"{path}: line {number}") from error
        if (step.rollout, step.step) != divmod(len(steps), header.horizon) or step.rollout >= header.rollouts:
            raise UsageError(
                f"{path}: line {number} holds step {step.step} of rollout {step.rollout}, which is not the next one",
                hint=BEGIN_ANEW,
            )
        steps.append(step)
    return Trace(header, tuple(steps), events, len(data) - len(_), crc)


def _open_line(line: bytes, crc: int, where: str) -> tuple[dict[str, Any], int]:
    """(record, its CRC) of a line that follows one of ``crc``. Raises UsageError."""
    text, _, said = line.rpartition(b', "crc": ')
    crc = zlib.crc32(text, crc)
    if said != b'"%08x"}' % crc:
        raise _damaged(where)
    try:
        record = json.loads(text + b"}")
    except ValueError as error:
        raise _damaged(where) from error
    return record, crc


def _damaged(where: str) -> UsageError:
    return UsageError(
        f"{where} is damaged: it is not what was written, or does not follow the one before it", hint=BEGIN_ANEW
    )


def _header(record: dict[str, Any], path: Path) -> TraceHeader:
    strict.require_format(record, FORMAT, str(path), BEGIN_ANEW)
    return strict.read(TraceHeader, record, str(path), BEGIN_ANEW, complete=True)


class TraceFile:
    """A trace that is being written; locked against a second run until the ``with`` block ends.

    ``earlier`` are the steps of the run that is resumed, ``events`` counts what happened, then and now.
    Every method raises StorageError when the disk takes no more; what it took before then are whole lines.
    """

    def __init__(self, path: Path, header: TraceHeader, *, resume: bool) -> None:
        """Begin a trace, or go on with one of the same header.

        Raises:
            UsageError: Another run writes it; with ``resume``, also as `read_trace` and for another header.
        """
        self._path = path
        self.earlier: tuple[TraceStep, ...] = ()
        self.events: Counter[str] = Counter()
        trace = read_trace(path) if resume else None
        if trace is not None:
            _require_same(trace.header, header, path)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        try:
            self._begin(trace, header)
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self, trace: Trace | None, header: TraceHeader) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"{self._path} is being written by another run", hint="Wait for its end.") from error
        self._size, self._crc = (0, 0) if trace is None else (trace.size, trace.crc)
        os.ftruncate(self._file, self._size)
        if trace is None:
            self._append(asdict(header))
        else:
            self.earlier = trace.steps
            self.events.update(trace.events)
            self.event("resume")
        self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.sync()
            else:  # whatever ended the run is the message; the disk may be what did
                os.fsync(self._file)
        except OSError:
            pass
        finally:
            os.close(self._file)

    def step(self, step: TraceStep) -> None:
        self._append(asdict(step))

    def event(self, name: str) -> None:
        self.events[name] += 1
        self._append({"event": name})

    def sync(self) -> None:
        """Wait until the disk has it all."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._full(error) from error

    def _append(self, record: dict[str, Any]) -> None:
        text = json.dumps(record)[:-1].encode()
        crc = zlib.crc32(text, self._crc)
        line = text + b', "crc": "%08x"}\n' % crc
        written = 0
        try:
            while written < len(line):  # a disk that fills takes a part, and refuses the rest
                written += os.write(self._file, line[written:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._full(error) from error
        self._size += len(line)
        self._crc = crc

    def _full(self, error: OSError) -> StorageError:
        return StorageError(f"{self._path} takes no more: {error.strerror}.", hint="Make room on its disk.")


def _require_same(there: TraceHeader, here: TraceHeader, path: Path) -> None:
    before, now = asdict(there), asdict(here)
    differs = [f"{name.replace('_', ' ')} {before[name]}, now {now[name]}" for name in now if before[name] != now[name]]
    if differs:
        raise UsageError(
            f"{path} is of another run: {'; '.join(differs)}", hint=f"Resume with what it was begun with. {BEGIN_ANEW}"
        )
