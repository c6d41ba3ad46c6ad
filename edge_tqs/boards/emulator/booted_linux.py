"""Debian's kernel for 64-bit Arm, and the smallest system that it boots: one program, which is init."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from pathlib import Path

from edge_tqs.templates import emulator_root

_DIRECTORY, _DEVICE, _PROGRAM = 0o040755, 0o020600, 0o100755
#: linux/Documentation/admin-guide/devices.txt: the first PL011
_PL011 = ("dev/ttyAMA0", (204, 64))
#: The console is nowhere, so that the kernel's words do not run into the protocol; what follows -- goes to init.
_WORDS = ("console=null", "quiet", "panic=-1", "--", "--port", f"/{_PL011[0]}")
#: A frame that no CRC fits: the program answers it with a NAK, and the kernel before it with nothing.
_KNOCK = b"\0\x05edge\0"
_BETWEEN_KNOCKS_SECONDS = 0.3


def kernel_file() -> Path:
    """Where runners/fetch.sh puts the kernel."""
    return emulator_root() / "vmlinuz-arm64"


def arguments(initrd: str) -> Sequence[str]:
    """Of QEMU: no network card, whose ROM is another package, and an end instead of a reboot after a crash."""
    files = ("-kernel", str(kernel_file()), "-initrd", initrd, "-append", " ".join(_WORDS))
    return ("-m", "128M", "-nic", "none", "-no-reboot", *files)


def initrd_of(program: bytes) -> bytes:
    """An initial RAM disk whose /init is ``program``: a cpio archive of the kind "newc" (cpio(5)), not compressed."""
    name, numbers = _PL011
    return b"".join(
        (
            _entry(1, "dev", _DIRECTORY),
            _entry(2, name, _DEVICE, numbers=numbers),
            _entry(3, "init", _PROGRAM, program),
            _entry(0, "TRAILER!!!", 0),
        )
    )


def _entry(inode: int, name: str, mode: int, data: bytes = b"", numbers: tuple[int, int] = (0, 0)) -> bytes:
    links, owner, time, disk = 1, 0, 0, 0
    fields = (inode, mode, owner, owner, links, time, len(data), disk, disk, *numbers, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def answers(port: int) -> bool:
    """Whether the program serves: it is sent nonsense, and its answer is thrown away. port: a raw terminal."""
    os.write(port, _KNOCK)
    heard = False
    while select.select([port], [], [], _BETWEEN_KNOCKS_SECONDS)[0]:
        heard = os.read(port, 4096) != b"" or heard
    return heard
