"""A bundle as a release: a name that its content gives, a list of its files' digests, and one tar file."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.bundle import CONFIG, INSTALLER, PROGRAM, unit_name
from edge_tqs.building.folder.directory import BUNDLE, BuildDir
from edge_tqs.delivery.config import kinds_of, with_broker
from edge_tqs.errors import UsageError

SUMS = "SHA256SUMS"
#: ELF e_machine and word size (System V ABI) to what `uname -m` says of a kernel that runs it, and of a 64-bit one.
_MACHINES = {
    (62, 64): ("x86_64",),
    (183, 64): ("aarch64",),
    (3, 32): ("i386", "i486", "i586", "i686", "x86_64"),
    (40, 32): ("armv7l", "armv8l", "aarch64"),
    (243, 64): ("riscv64",),
}
_ARMV6 = "arm-linux-gnueabi-"


@dataclass(frozen=True)
class Release:
    """name: the first 12 digits of the model's hash, a dash, and 8 of the list of files, so that equal names are equal
    releases. model: unit_name of it, the folder that its releases are in. files: mode and content by name. machines: by
    `uname -m`. bits: of a word. mqtt: forecastd.json has a source or a sink of it. live: it has a source that a
    service can read."""

    name: str
    model: str
    model_hash: str
    files: Mapping[str, tuple[int, bytes]]
    sums: bytes
    machines: tuple[str, ...]
    bits: int
    mqtt: bool
    live: bool

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(len(content) for _, content in self.files.values()) + len(self.sums)

    def tar(self) -> bytes:
        """All files and the list of them; equal releases give equal bytes."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for name, (mode, content) in self.files.items():
                _add(archive, name, content, mode)
            _add(archive, SUMS, self.sums, 0o644)
        return made.getvalue()


def release_of(
    built: BuildDir, *, config: bytes | None = None, broker: str | None = None, gateway: str | None = None
) -> Release:
    """The release of a build, with ``config`` as its forecastd.json, for a ``broker`` as `with_broker` has it.

    Raises UsageError where the build is of no Linux board or its bundle not complete, and as `with_broker`.
    """
    folder = built.path / BUNDLE
    if built.board.bare_metal:
        raise UsageError(
            f"{built.path} is for {built.board.name}, which runs no Linux: there is nothing to deploy",
            hint=f"Write it to its board: `edge-tqs flash {built.path}`.",
        )
    if not all((folder / name).is_file() for name in (INSTALLER, PROGRAM, CONFIG)):
        raise UsageError(f"{folder} is no complete bundle", hint="Run `edge-tqs build` again.")
    model = unit_name(built.report.model.name)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {path.relative_to(folder).as_posix(): (_mode(path), path.read_bytes()) for path in paths}
    settings = files[CONFIG][1] if config is None else config
    if gateway is not None and broker is None:
        raise UsageError(
            f"the name {gateway} says nothing without a broker: it stands in topics",
            hint="Give --broker, or `broker` in hosts.toml; a configuration of your own has its topics itself.",
        )
    if broker is not None:
        settings = with_broker(settings, model, broker, gateway)
    files[CONFIG] = (0o644, settings)
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, (_, content) in files.items()).encode()
    machine, bits = _elf(folder / PROGRAM)
    return Release(
        name=f"{built.model_hash[:12]}-{_sha256(sums)[:8]}",
        model=model,
        model_hash=built.model_hash,
        files=files,
        sums=sums,
        machines=_machines(built.board, machine, bits),
        bits=bits,
        mqtt="mqtt" in kinds_of(settings),
        live="stdin" not in kinds_of(settings),
    )


def _machines(board: Board, machine: int, bits: int) -> tuple[str, ...]:
    found = _MACHINES.get((machine, bits), ())
    return ("armv6l", *found) if board.toolchain == _ARMV6 else found


def _elf(program: Path) -> tuple[int, int]:
    """(e_machine, bits of a word) of a little-endian ELF file. Raises UsageError for another file."""
    head = program.read_bytes()[:20]
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise UsageError(f"{program} is no program", hint="Run `edge-tqs build` again.")
    return int.from_bytes(head[18:20], "little"), 64 if head[4] == 2 else 32


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
