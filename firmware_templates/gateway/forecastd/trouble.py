# SPDX-License-Identifier: Apache-2.0
"""What keeps a source or a sink from its work, told on standard error: each trouble once, and that it is over.

Reports cannot tell it: where nothing is read there are none.
"""

from __future__ import annotations

import sys
from contextlib import suppress


class Trouble:
    """``of``: what it is told of, as "source" or "sink influx"."""

    def __init__(self, of: str) -> None:
        self._of, self._now, self._told = of, "", False

    def said(self, words: str) -> None:
        """A sentence; nothing is told where it was the last one, too."""
        if words != self._now:
            self._now = words
            self._tell(words)

    def over(self) -> None:
        """It works."""
        if self._now:
            self._now = ""
            self._tell("it works again")

    def once(self, words: str) -> None:
        """What is no state, as a line that cannot be read: told the first time alone, for it is counted."""
        if not self._told:
            self._told = True
            self._tell(f"{words}; more of this is counted, not told")

    def _tell(self, words: str) -> None:
        words = "".join(letter if letter.isprintable() else "?" for letter in words)  # it may be anybody's
        with suppress(OSError, ValueError):  # nobody listens any more
            sys.stderr.write(f"edge-tqs-forecastd: {self._of}: {words}\n")  # at once: threads tell, too
            sys.stderr.flush()
