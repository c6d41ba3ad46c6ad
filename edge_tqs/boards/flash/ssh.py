"""Copying a bundle to a Linux board with ssh and scp, its files compared there by their SHA-256.

The board is recognised by its machine (`uname -m`) before anything is copied. The bundle's own install.sh is not run:
it asks for root, and what it does is the owner's to start.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.flash import FlashResult
from edge_tqs.boards.flash._run import run, tool
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.needs import Need, program

_SSH = program(("ssh",), "reaches the board", "openssh-client")
_SCP = program(("scp",), "copies the bundle to the board", "openssh-client")
#: [USER@]HOST[:PORT]; nothing that ssh could take for an option
_HOST = re.compile(r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.@-]*)(?::(?P<port>\d{1,5}))?")
FOLDER = "edge-tqs-bundle"
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_MACHINES = {
    "aarch64-linux-gnu-": ("aarch64",),
    "arm-linux-gnueabi-": ("armv6l", "armv7l", "armv8l", "aarch64"),
    "arm-linux-gnueabihf-": ("armv7l", "armv8l", "aarch64"),
}


def needs() -> tuple[Need, ...]:
    """Both programs."""
    return (_SSH, _SCP)


def flash(board: Board, image: Path, port: str | None) -> FlashResult:
    """Copy the bundle beside ``image`` to FOLDER in the user's home and compare it. port: [USER@]HOST[:PORT]."""
    parts = _HOST.fullmatch(port or "")
    if parts is None:
        raise UsageError(
            f"{board.name}: --port is to be [USER@]HOST[:PORT], not {port or 'missing'}",
            hint="For example --port pi@raspberrypi.local, with a key that needs no password.",
        )
    bundle = next((p / "bundle" for p in image.parents if (p / "bundle").is_dir()), None)
    if bundle is None:
        raise UsageError(f"{board.name}: the build has no bundle", hint="Build again: `edge-tqs build`.")
    host, number = parts["host"], parts["port"] or "22"
    ssh = [*tool(_SSH), *_OPTIONS, "-p", number, host]
    output = run([*ssh, "uname", "-m"], host)
    if output.code != 0:
        raise DeviceError(
            f"{host}: ssh does not get there: {output.last}", hint=f"Try `ssh -p {number} {host}` by hand."
        )
    machine = (output.text.split() or ["nothing"])[-1]
    if machine not in _MACHINES.get(board.toolchain, (machine,)):
        raise DeviceError(
            f"{host} is {machine}, {board.name} is not: nothing was copied", hint="Build for a board of its kind."
        )
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    run([*ssh, "rm", "-rf", FOLDER], host)
    output = run([*tool(_SCP), *_OPTIONS, "-P", number, "-r", "-q", str(bundle), f"{host}:{FOLDER}"], host)
    if output.code != 0:
        raise DeviceError(f"{host}: the bundle was not copied: {output.last}", hint="Is there room on the board?")
    names = [path.relative_to(bundle).as_posix() for path in files]
    output = run([*ssh, f"cd {FOLDER} && sha256sum", *(f"'{name}'" for name in names)], host)
    lines = (line.split(maxsplit=1) for line in output.text.splitlines())
    there = {words[1]: words[0] for words in lines if len(words) == 2}
    wrong = [n for n, path in zip(names, files, strict=True) if there.get(n) != _sha256(path)]
    if wrong:
        raise DeviceError(f"{host}: {', '.join(wrong)} differ there", hint="Copy again; then look at the board's disk.")
    return FlashResult(board.name, "ssh", host, sum(path.stat().st_size for path in files), len(files))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
