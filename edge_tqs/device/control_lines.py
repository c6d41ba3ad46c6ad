"""The lines beside the data of a serial port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ControlLines:
    """What the lines DTR and RTS of a board's serial port are for.

    dtr, rts: whether they are asserted while the port is open; None leaves them as the operating system has them.
    reset: the line that holds the board in reset while it is asserted and the other is not; None where neither does.
    """

    dtr: bool | None = None
    rts: bool | None = None
    reset: Literal["dtr", "rts"] | None = None


#: Both lines as the operating system has them.
AS_THEY_ARE = ControlLines()
