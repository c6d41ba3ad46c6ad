"""Progress on standard error: a line that is redrawn on a terminal; elsewhere a line a stage, and one now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: progress(stage, done, total): called as often as convenient; a stage without steps is (stage, 0, 1).
Progress = Callable[[str, int, int], None]

REDRAW_SECONDS = 0.1
#: Between two lines of one stage where there is no terminal.
LINE_SECONDS = 10.0


@contextmanager
def show() -> Iterator[Progress]:
    """A Progress that prints to standard error; the terminal's line is cleared at the end."""
    terminal = sys.stderr.isatty()
    stage, first = "", 0
    started = drawn = time.monotonic()

    def progress(name: str, done: int, total: int) -> None:
        nonlocal stage, first, started, drawn
        now = time.monotonic()
        if name != stage:
            stage, first, started = name, done, now
        elif now - drawn < (REDRAW_SECONDS if terminal else LINE_SECONDS):
            return
        drawn = now
        counted = f" {done}/{total}" if total > 1 and (terminal or done > first) else ""
        # What was done before this run, by an earlier one, says nothing about the speed of this one.
        left = f", {(now - started) / (done - first) * (total - done):.0f} s left" if first < done < total else ""
        if terminal:
            print(f"\r\033[K{name}{counted}{left}", end="", file=sys.stderr, flush=True)
        else:
            print(f"{name}{counted}{left} ...", file=sys.stderr, flush=True)

    try:
        yield progress
    finally:
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
