"""What was heard on a device's port, and which kind of silence that is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edge_tqs.frames import Frame, FrameReader


@dataclass
class Line:
    """What came since the port was opened. pending: the good frames that nobody took yet."""

    reader: FrameReader = field(default_factory=FrameReader)
    received_bytes: int = 0
    frames: int = 0
    pending: deque[Frame] = field(default_factory=deque)

    def feed(self, data: bytes) -> None:
        frames = self.reader.feed(data)
        self.received_bytes += len(data)
        self.frames += len(frames)
        self.pending.extend(frames)

    def silence(self) -> str:
        """What is wrong when no answer comes."""
        if self.frames:
            return "the board has stopped answering"
        if self.received_bytes:
            return f"{self.received_bytes} bytes came, none of them a frame of this protocol,"
        return "no answer"

    def silence_hint(self) -> str:
        """What to try then."""
        if self.frames:
            return "Reset the board; if it stays silent, flash it again with `edge-tqs flash BUILD`."
        if self.received_bytes:
            return "Another program may run on the board, or at another baud rate: check the rate, then flash it."
        return (
            "Check that this is the board's port and baud rate, that it has power, that TX and RX are crossed, "
            "and that it is flashed (`edge-tqs flash BUILD`)."
        )
