"""trace.jsonl: what is read back after each way in which a run may end, and each way in which a file may be damaged."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_tqs.device.trace_file import TraceFile, TraceHeader, TraceStep, read_trace
from edge_tqs.errors import StorageError, UsageError

HEADER = TraceHeader("ab" * 32, "a-board", "systick", 25_000_000, "cd" * 32, rollouts=2, horizon=3)
STEPS = tuple(TraceStep(number // 3, number % 3, (number, -number), 1000 + number, 7 * number) for number in range(6))


def write(path: Path, steps: tuple[TraceStep, ...] = STEPS, *, resume: bool = False) -> bytes:
    with TraceFile(path, HEADER, resume=resume) as trace:
        for step in steps:
            trace.step(step)
    return path.read_bytes()


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "t", HEADER, resume=False) as trace:
        trace.step(STEPS[0])
        trace.event("retry")
        trace.event("retry")
        trace.step(STEPS[1])
    read = read_trace(tmp_path / "t")
    assert (read.header, read.steps, read.events) == (HEADER, STEPS[:2], {"retry": 2})
    assert read.size == (tmp_path / "t").stat().st_size


def test_each_step_is_in_the_file_before_the_next(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "t", HEADER, resume=False) as trace:
        for count, step in enumerate(STEPS, 1):
            trace.step(step)
            assert read_trace(tmp_path / "t").steps == STEPS[:count]


def test_a_file_cut_anywhere_has_the_whole_lines_before_the_cut_and_goes_on_from_there(tmp_path: Path) -> None:
    whole, path = write(tmp_path / "whole"), tmp_path / "t"
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole)):
        path.write_bytes(whole[:cut])
        there = STEPS[: sum(end <= cut for end in ends) - 1]
        assert read_trace(path).steps == there
        write(path, STEPS[len(there) :], resume=True)
        assert (read_trace(path).steps, read_trace(path).events) == (STEPS, {"resume": 1})


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_file_without_a_whole_line_cannot_be_gone_on_with(tmp_path: Path, cut: int) -> None:
    (tmp_path / "t").write_bytes(write(tmp_path / "whole")[:cut])
    with pytest.raises(UsageError, match="before its first line was written"):
        read_trace(tmp_path / "t")


def test_a_changed_byte_is_found_and_its_line_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "t")
    for place in range(len(whole) - 1):  # without its last line end the last line is a torn one
        (tmp_path / "t").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UsageError, match=rf"line {whole[:place].count(10) + 1} is damaged") as caught:
            read_trace(tmp_path / "t")
        assert "--resume" in caught.value.hint


@pytest.mark.parametrize(
    ("order", "line"), [((0, 1, 3, 4), 3), ((0, 1, 2, 2, 3), 4), ((0, 2, 1, 3), 2), ((1, 2, 3), 1), ((0, 0, 1), 2)]
)
def test_lines_lost_doubled_or_moved_are_found(tmp_path: Path, order: tuple[int, ...], line: int) -> None:
    lines = write(tmp_path / "t").splitlines(keepends=True)
    (tmp_path / "t").write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(UsageError, match=f"line {line} is damaged"):
        read_trace(tmp_path / "t")


@pytest.mark.parametrize("steps", [STEPS[1:], (STEPS[0], STEPS[0]), (*STEPS, replace(STEPS[0], rollout=2))])
def test_steps_out_of_order_are_refused(tmp_path: Path, steps: tuple[TraceStep, ...]) -> None:
    write(tmp_path / "t", steps)
    with pytest.raises(UsageError, match="not the next one"):
        read_trace(tmp_path / "t")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": 4}, "horizon 3, now 4"),
        ({"model_hash": "ef" * 32}, "model hash abab"),
        ({"seeds": "ef" * 32}, "seeds cdcd"),
        ({"board": "b", "counter_hz": 1}, "board a-board, now b; counter hz 25000000, now 1"),
    ],
)
def test_the_trace_of_another_run_is_refused_with_what_differs(tmp_path: Path, change: dict, said: str) -> None:
    before = write(tmp_path / "t", STEPS[:2])
    with pytest.raises(UsageError, match=said):
        TraceFile(tmp_path / "t", replace(HEADER, **change), resume=True)
    assert (tmp_path / "t").read_bytes() == before


def test_the_trace_of_another_version_is_refused(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "t", replace(HEADER, format=1), resume=False):
        pass
    with pytest.raises(UsageError, match="its format is 1, this version of edge-tqs reads 3"):
        read_trace(tmp_path / "t")


def test_without_resume_a_run_begins_anew(tmp_path: Path) -> None:
    write(tmp_path / "t")
    assert write(tmp_path / "t", STEPS[:1]).count(b"\n") == 2


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_leaves_the_trace_of_a_running_one_alone(tmp_path: Path, resume: bool) -> None:
    with TraceFile(tmp_path / "t", HEADER, resume=False) as trace:
        trace.step(STEPS[0])
        with pytest.raises(UsageError, match="being written by another run"):
            TraceFile(tmp_path / "t", HEADER, resume=resume)
        trace.step(STEPS[1])
    assert read_trace(tmp_path / "t").steps == STEPS[:2]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_anywhere_is_named_and_keeps_whole_lines(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole")
    for size in range(0, len(whole), 7):
        with no_file_longer_than(size), pytest.raises(StorageError, match="takes no more: File too large") as caught:
            write(tmp_path / "t")
        assert "Make room" in caught.value.hint
        assert (tmp_path / "t").read_bytes() == whole[: whole.rfind(b"\n", 0, size) + 1]


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trace of a run"):
        TraceFile(tmp_path / "t", HEADER, resume=True)
    assert not (tmp_path / "t").exists()
