"""The serial ports of this machine, and the boards that they may be by their USB ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serial.tools import list_ports

from edge_tqs.boards.board import Board


@dataclass(frozen=True)
class FoundPort:
    """One port. vid, pid: of its USB device, None where it is no USB device; description: the device's own words, ""
    when it has none; boards: the names of those that show themselves so. An id is often that of a converter chip, which
    many products share: it says what may be there, not what is."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str
    description: str
    boards: tuple[str, ...]


def list_serial_ports(boards: Iterable[Board]) -> tuple[FoundPort, ...]:
    """All serial ports, by device file, USB ones first. Nothing is opened, so no board is reset."""
    known = [board for board in boards if board.usb is not None]
    found = []
    for port in list_ports.comports():
        names = tuple(b.name for b in known if b.usb is not None and (b.usb.vid, b.usb.pid) == (port.vid, port.pid))
        words = "" if port.description in (None, "n/a") else port.description
        found.append(FoundPort(port.device, port.vid, port.pid, port.serial_number or "", words, names))
    return tuple(sorted(found, key=lambda port: (port.vid is None, port.device)))
