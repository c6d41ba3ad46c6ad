"""Opening a serial port, and saying plainly why it cannot be opened.

``url`` is whatever ``serial.serial_for_url`` takes: a device file, ``socket://host:port``, ``rfc2217://host:port``.
"""

from __future__ import annotations

import errno
import grp
import os
import stat
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from edge_tqs.device.control_lines import AS_THEY_ARE, ControlLines
from edge_tqs.errors import DeviceError, TqsError, UsageError
from edge_tqs.needs import Need

#: Seconds that one read may wait. Deadlines are kept by the caller, so that no port is reconfigured for each read.
POLL_SECONDS = 0.05
#: Seconds after which a port whose far end takes nothing counts as silent.
WRITE_SECONDS = 5.0
#: Seconds that a board is held in reset: longer than the capacitors that some boards put into the line.
RESET_SECONDS = 0.1
#: For how long a port that went away is waited for, and how often it is looked for.
REOPEN_SECONDS = 30.0
REOPEN_POLL_SECONDS = 0.2
#: Of ports of which no board file says another rate: what every serial converter can do.
DEFAULT_BAUD = 115200
SERIAL_GROUP = "dialout"
#: Major numbers of their devices (Linux, Documentation/admin-guide/devices.txt).
PSEUDO_TERMINALS = range(136, 144)
ADDRESS_HINT = "Give a device file such as /dev/ttyACM0, socket://HOST:PORT or rfc2217://HOST:PORT."


class SerialPort(Protocol):
    """What every pyserial port offers and a device needs. Reads return after POLL_SECONDS at the latest."""

    baudrate: int

    @property
    def port(self) -> str | None: ...
    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


def needs() -> tuple[Need, ...]:
    """The permission to open serial ports. Where none is there now, that of Debian's group for them."""
    ports = sorted(port.device for port in list_ports.comports())
    denied = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]

    def find() -> str | None:
        if denied:
            return None
        return ", ".join(ports) if ports else _group_says()

    group = _group_of(denied[0]) if denied else SERIAL_GROUP
    return (Need("serial ports", "may be opened by this user", find, command=f"sudo adduser $USER {group}"),)


def _group_says() -> str | None:
    try:
        group = grp.getgrnam(SERIAL_GROUP).gr_gid
    except KeyError:
        return "none is there now"
    return f"none is there now; in {SERIAL_GROUP}" if os.geteuid() == 0 or group in os.getgroups() else None


def _group_of(path: str) -> str:
    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return SERIAL_GROUP


def open_port(url: str, baud: int = DEFAULT_BAUD, lines: ControlLines = AS_THEY_ARE) -> SerialPort:
    """Open ``url`` at ``baud``; a local port is locked against other programs.

    DTR and RTS get the level that ``lines`` states. Where it states none they keep the level that the operating system
    gives them on opening. Either way a local port keeps it on closing: on many boards a change is a reset.

    Raises:
        UsageError: There is no such port, it is no serial port, or this user may not open it.
        DeviceError: Another program holds the port, or nothing answers at the address.
    """
    local = "://" not in url
    if local:
        _require_character_device(url)
    else:
        _require_address(url)
    try:
        port = serial.serial_for_url(
            url, do_not_open=True, baudrate=baud, timeout=POLL_SECONDS, exclusive=True if local else None
        )
        if not url.startswith("rfc2217:"):  # pyserial has none there: the network's own timeout ends a write
            port.write_timeout = WRITE_SECONDS
        for name, level in (("dtr", lines.dtr), ("rts", lines.rts)):
            if level is not None:
                setattr(port, name, level)
        port.open()
    except OSError as error:  # SerialException is one
        raise _explain(url, baud, error) from error
    except ValueError as error:  # a scheme that pyserial does not know, a baud rate that the port does not
        raise UsageError(f"{url}: {error}", hint=ADDRESS_HINT) from error
    if local:
        _keep_lines_on_close(port)
    opened: SerialPort = port
    return opened


@dataclass(frozen=True)
class UsbDevice:
    """What tells a USB device from others wherever its port appears. serial_number: "" for chips that have none."""

    vid: int
    pid: int
    serial_number: str


def usb_device(url: str) -> UsbDevice | None:
    """The USB device behind a port; None for a port of another kind."""
    return next((usb for path, usb in _usb_ports() if path == os.path.realpath(url)), None)


def reopen_port(
    url: str,
    baud: int = DEFAULT_BAUD,
    lines: ControlLines = AS_THEY_ARE,
    usb: UsbDevice | None = None,
    seconds: float = REOPEN_SECONDS,
) -> SerialPort:
    """Open a port that went away as soon as it is there again, ``usb`` under whatever name it has got now.

    Two devices that show themselves alike are not told apart: then it must be ``url`` again.

    Raises:
        DeviceError: It was not there within ``seconds``, or could not be opened; the reason is the last one.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return open_port(_name_now(url, usb), baud, lines)
        except TqsError as error:
            if time.monotonic() >= end:
                raise DeviceError(
                    f"the port went away and was not there again within {seconds:g} s: {error.message}",
                    hint="Was the board unplugged, or did its power fail? Connect it again.",
                ) from error
        time.sleep(REOPEN_POLL_SECONDS)


def _name_now(url: str, usb: UsbDevice | None) -> str:
    alike = [path for path, device in _usb_ports() if device == usb]
    return alike[0] if len(alike) == 1 and alike[0] != os.path.realpath(url) else url


def _usb_ports() -> list[tuple[str, UsbDevice]]:
    return [
        (port.device, UsbDevice(port.vid, port.pid, port.serial_number or ""))
        for port in list_ports.comports()
        if port.vid is not None and port.pid is not None
    ]


def pulse_reset(port: SerialPort, lines: ControlLines) -> None:
    """Reset the board with the line of its port that does so: asserted for RESET_SECONDS, the other one not.

    Raises:
        UsageError: None of the board's lines does.
        DeviceError: The port has no such line, or went away.
    """
    if lines.reset is None:
        raise UsageError(
            f"{port.port}: no line of this board's port resets it",
            hint="Press its reset button, or state lines.reset in its board file (docs/boards.md).",
        )
    other = "rts" if lines.reset == "dtr" else "dtr"
    try:
        setattr(port, other, False)
        setattr(port, lines.reset, True)
        time.sleep(RESET_SECONDS)
        setattr(port, lines.reset, False)
        if getattr(lines, other) is not None:
            setattr(port, other, getattr(lines, other))
    except OSError as error:
        raise DeviceError(
            f"{port.port}: {lines.reset.upper()} cannot be set: {error}", hint="Press the board's reset button."
        ) from error


def has_rate(port: SerialPort) -> bool:
    """Whether the port's baud rate is that of a wire: a pseudo-terminal or a socket passes bytes as they come."""
    name = port.port or ""
    if "://" in name:
        return name.startswith("rfc2217://")
    try:
        return os.major(os.stat(name).st_rdev) not in PSEUDO_TERMINALS
    except OSError:  # it went away in this moment
        return False


def _keep_lines_on_close(port: SerialPort) -> None:
    """Without HUPCL the kernel leaves DTR and RTS up when the port closes, so the next opening changes nothing."""
    attributes = termios.tcgetattr(port.fileno())
    attributes[2] &= ~termios.HUPCL
    termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)


def _require_character_device(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        present = [port.device for port in list_ports.comports()]
        raise UsageError(
            f"{path}: no such port",
            hint=f"Ports on this machine: {', '.join(sorted(present))}."
            if present
            else "This machine has no serial port now: is the board plugged in, and its cable not for charging only?",
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be reached: {error.strerror}") from error
    if not stat.S_ISCHR(mode):
        raise UsageError(f"{path}: not a serial port", hint="A serial port is a device file such as /dev/ttyACM0.")


def _require_address(url: str) -> None:
    """Pyserial's own complaint about an address without a port is no sentence."""
    parts = urlsplit(url)
    try:
        complete = bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if parts.scheme in ("socket", "rfc2217") and not complete:
        raise UsageError(f"{url}: not an address with a host and a port number", hint=ADDRESS_HINT)


def _explain(url: str, baud: int, error: OSError) -> TqsError:
    reason = error.errno
    if reason in (errno.EACCES, errno.EPERM):
        return UsageError(
            f"{url}: this user may not open it",
            hint="On Debian serial ports belong to the group dialout: `sudo adduser $USER dialout`, then log in again.",
        )
    if reason in (errno.EBUSY, errno.EAGAIN):
        holders = _holders(url)
        return DeviceError(
            f"{url}: in use by {', '.join(holders) if holders else 'another program'}",
            hint="Close that program (a terminal, a monitor, ModemManager) and try again.",
        )
    if reason == errno.ENOTTY or "Could not configure port" in str(error):
        return UsageError(f"{url}: not a serial port, or one that cannot do {baud} baud: {error}")
    if "://" in url:
        return DeviceError(
            f"{url}: nothing answers there: {error}", hint="Is the serial server running at that address?"
        )
    return DeviceError(f"{url}: cannot be opened: {error}")


def _holders(path: str) -> list[str]:
    """Processes that have ``path`` open, as "name (pid N)"; those of other users only when root asks."""
    target = os.path.realpath(path)
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda entry: int(entry.name)):
        try:
            if any(os.readlink(link) == target for link in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
        except OSError:
            continue  # it ended, or is not ours to look into
    return found
