"""What is missing on this machine for some boards, and the commands that install it.

Each module states in its ``needs`` what it uses, from the board's file where that depends on the board: a new board, or
a new way to flash one, is examined without a change here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_tqs.boards import firmware, flash
from edge_tqs.boards.board import Board
from edge_tqs.boards.emulator import emulator
from edge_tqs.device import serial_port
from edge_tqs.needs import Need
from edge_tqs.quantization import runtimes
from edge_tqs.system import tensorflow as tensorflow_import


@dataclass(frozen=True)
class Finding:
    """One need, looked for. found: where it is, None when it is missing; boards: those that need it, empty for all;
    install: Debian's package, pip's requirement or the command, "" when none is known."""

    name: str
    purpose: str
    found: str | None
    boards: tuple[str, ...]
    install: str


@dataclass(frozen=True)
class Examination:
    """All that the boards need, and what to run, in that order, so that nothing is missing any more.

    A missing program without a known package, and Debian's packages on a system without apt-get, have no command.
    """

    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return all(finding.found is not None for finding in self.findings)


def examine(boards: Sequence[Board]) -> Examination:
    """Look for what building for, flashing, running and validating ``boards`` needs. Nothing is changed or opened."""
    needs: dict[str, Need] = {}
    users: dict[str, list[str]] = {}
    for need, board in _all_needs(boards):
        needs.setdefault(need.name, need)
        users.setdefault(need.name, []).extend([board] if board else [])
    found = {name: need.find() for name, need in needs.items()}
    findings = tuple(
        Finding(name, need.purpose, found[name], tuple(users[name]), need.package or need.pip or need.command)
        for name, need in needs.items()
    )
    return Examination(findings, _commands([need for name, need in needs.items() if found[name] is None]))


def _all_needs(boards: Iterable[Board]) -> Iterator[tuple[Need, str]]:
    """(need, name of the board that has it or "")."""
    for need in (*tensorflow_import.needs(), *runtimes.needs()):
        yield need, ""
    for board in boards:
        for need in (*firmware.needs(board), *emulator.needs(board), *flash.needs(board)):
            yield need, board.name
        if board.upload.method != "none":  # a board at a cable
            for need in serial_port.needs():
                yield need, board.name


def _commands(missing: Sequence[Need]) -> tuple[str, ...]:
    commands = []
    packages = sorted({need.package for need in missing if need.package})
    if packages and shutil.which("apt-get"):
        apt = "apt-get" if os.geteuid() == 0 else "sudo apt-get"
        commands.append(f"{apt} update && {apt} install -y {shlex.join(packages)}")
    requirements = [need.pip for need in missing if need.pip]
    if requirements:
        commands.append(shlex.join([sys.executable, "-m", "pip", "install", *requirements]))
    return (*commands, *(need.command for need in missing if need.command))
