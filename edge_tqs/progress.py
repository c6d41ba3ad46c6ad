"""Progress on standard error: a line that is redrawn on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: progress(stage, done, total): called as often as convenient; a stage without steps is (stage, 0, 1).
Progress = Callable[[str, int, int], None]

REDRAW_SECONDS = 0.1


@contextmanager
def show() -> Iterator[Progress]:
    """A Progress that prints to standard error; the terminal's line is cleared at the end."""
    terminal = sys.stderr.isatty()
    stage = ""
    started = drawn = time.monotonic()

    def progress(name: str, done: int, total: int) -> None:
        nonlocal stage, started, drawn
        now = time.monotonic()
        if name != stage:
            stage, started = name, now
            if not terminal:
                print(f"{name} ...", file=sys.stderr, flush=True)
        elif now - drawn < REDRAW_SECONDS:
            return
        drawn = now
        if terminal:
            counted = f" {done}/{total}" if total > 1 else ""
            left = f", {(now - started) / done * (total - done):.0f} s left" if 0 < done < total else ""
            print(f"\r\033[K{name}{counted}{left}", end="", file=sys.stderr, flush=True)

    try:
        yield progress
    finally:
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
