"""A disk that is really full: a small tmpfs of its own, and a file in it that leaves so much room and no more."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: $1: where. $2: bytes. The mount is gone with the last process that sees it, which waits for its input to end.
_MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


@contextmanager
def small_disk(size: int) -> Iterator[Path | None]:
    """An empty file system of ``size`` bytes, in whole pages; None where this user may mount none.

    It is mounted in a namespace of another process, as root or as the root of a user namespace, and reached through
    that process's directory in /proc: nothing is mounted for anybody else, or stays behind.
    """
    with tempfile.TemporaryDirectory(prefix="edge-tqs-disk-") as folder:
        for flags in ("-rm", "-m"):
            command = ["unshare", flags, "sh", "-c", _MOUNT, "sh", folder, str(size)]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as holder:  # leaving the block closes its input and waits for its end
                assert holder.stdout is not None
                if holder.stdout.readline() == b"mounted\n":
                    yield Path(f"/proc/{holder.pid}/root{folder}")
                    return
        yield None


def leave_room(disk: Path, size: int) -> tuple[Path, int]:
    """Fill ``disk`` but for ``size`` bytes, rounded down to whole blocks: (the file that does, the bytes left)."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    left = size // free.f_bsize
    ballast.write_bytes(bytes((free.f_bavail - left) * free.f_bsize))
    return ballast, left * free.f_bsize
