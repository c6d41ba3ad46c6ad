"""`edge-tqs deploy`: a build onto one host, or back to the release before.

The steps are: look (what is it, what runs there), copy, check, install. Up to the last one nothing is changed for what
runs there; where the last one fails, what ran before is put back.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edge_tqs.delivery.check import Expected, check_library, check_program
from edge_tqs.delivery.release import Release
from edge_tqs.delivery.ssh import Answer, Connection, connect, parse_address
from edge_tqs.errors import DeviceError, TqsError, UsageError
from edge_tqs.progress import Progress

FOLDER = "edge-tqs"
#: forecastd's least.
_PYTHON = (3, 9)
#: Room that is to be left on the disk, in bytes.
_SPARE = 1_000_000


def ignore(release: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Target:
    """A host and how it is to be. address: as `parse_address` has it; folder: of the releases, in the user's home or
    absolute; options: of install.sh; ssh_config: in place of ~/.ssh/config."""

    address: str
    folder: str = FOLDER
    options: tuple[str, ...] = ()
    ssh_config: Path | None = None


@dataclass(frozen=True)
class Found:
    """A host as it is. current, previous: releases, "" for none; way: how install.sh can be run, "self", "sudo" or
    "none"; mqtt: paho-mqtt is there; has: the release is there and whole."""

    machine: str
    bits: int
    python: tuple[int, ...]
    folder: str
    current: str
    previous: str
    way: str
    systemd: bool
    mqtt: bool
    has: bool
    free_bytes: int


@dataclass(frozen=True)
class Deployed:
    """What became of a host: ``before`` and ``now`` are releases, "" for none. steps: compared by ssh; said: what was
    done or would be, and what was not, in sentences."""

    host: str
    model: str
    before: str
    now: str
    steps: int
    said: tuple[str, ...]


def deploy(
    target: Target,
    release: Release,
    expected: Expected,
    progress: Progress,
    *,
    dry_run: bool = False,
    runs: Callable[[str], None] = ignore,
) -> Deployed:
    """Bring ``release`` to the host, check it there, install and start it. With ``dry_run`` only look.

    ``runs`` hears which release the host has, as soon as that is known and when it has changed.

    Raises:
        UsageError, ToolError: The address is none, there is no ssh.
        DeviceError: The host cannot be reached, is of another kind, lacks room or Python, or installing failed; then it
            has the release that it had.
        CheckError: The host computes something else; likewise.
    """
    with _opened(target, progress) as connection:
        found = _look(connection, target, release)
        runs(found.current)
        _suits(found, connection, release)
        if dry_run:
            return Deployed(
                target.address, release.model, found.current, found.current, 0, _would(found, release, target)
            )
        said = []
        if not found.has:
            progress(f"{target.address}: copying", 0, 1)
            _ask(connection, target, release, "receive", data=release.tar())
            said.append(f"copied {len(release.files)} files, {release.size:,} bytes, to {found.folder}/releases")
        try:
            progress(f"{target.address}: checking", 0, 1)
            steps = check_program(connection, _words(target, release, "serve"), expected)
            said.append(f"checked {steps} steps of the program there: all codes are this machine's")
            library, mistakes = _library(connection, target, release, expected)
            said += [library, *(f"edge-tqs-forecastd cannot start yet: {mistake}" for mistake in mistakes)]
            if mistakes and release.live and "--server" not in target.options:
                raise UsageError(
                    f"{target.address}: edge-tqs-forecastd would not start there: {mistakes[0]}",
                    hint="Correct the build's forecastd.json, or name another one with --config.",
                )
        except TqsError:
            with suppress(TqsError):  # the connection may be what failed
                _ask(connection, target, release, "discard")
            raise
        progress(f"{target.address}: installing", 0, 1)
        said += _activate(connection, target, release, found)
        return Deployed(target.address, release.model, found.current, release.name, steps, tuple(said))


def roll_back(
    target: Target,
    release: Release,
    progress: Progress,
    *,
    dry_run: bool = False,
    runs: Callable[[str], None] = ignore,
) -> Deployed:
    """Install the release that was there before the current one of ``release``'s model; once more, and it is back.

    Raises as `deploy`, and UsageError where none was there before.
    """
    with _opened(target, progress) as connection:
        found = _look(connection, target, release)
        runs(found.current)
        if not found.previous:
            raise UsageError(
                f"{target.address}: no release of {release.model} was there before {found.current or 'any'}",
                hint="Deploy an older build in its place.",
            )
        if dry_run:
            would = f"would go back to {found.previous}"
            return Deployed(target.address, release.model, found.current, found.current, 0, (would,))
        progress(f"{target.address}: going back", 0, 1)
        said = _activate(connection, target, release, found, found.previous)
        return Deployed(target.address, release.model, found.current, found.previous, 0, said)


def _opened(target: Target, progress: Progress) -> AbstractContextManager[Connection]:
    address = parse_address(target.address)
    progress(f"{target.address}: connecting", 0, 1)
    return connect(address, target.ssh_config)


def _look(connection: Connection, target: Target, release: Release) -> Found:
    answer = _ask(connection, target, release, "probe")
    bits, free, python = answer.value("bits"), answer.value("free"), answer.value("python")
    return Found(
        machine=answer.value("machine"),
        bits=int(bits) if bits.isdecimal() else 0,
        python=tuple(int(part) for part in python.split(".") if part.isdecimal()),
        folder=answer.value("folder"),
        current=answer.value("current"),
        previous=answer.value("previous"),
        way=answer.value("way"),
        systemd=bool(answer.value("systemd")),
        mqtt=bool(answer.value("mqtt")),
        has=bool(answer.value("has")),
        free_bytes=1024 * int(free) if free.isdecimal() else 0,
    )


def _suits(found: Found, connection: Connection, release: Release) -> None:
    """Raise DeviceError unless the release can run there."""
    host = connection.address
    other_words = found.bits not in (0, release.bits)
    if found.machine not in release.machines or other_words:
        system = f"{found.machine or 'an unknown machine'}{f' with a {found.bits}-bit system' if other_words else ''}"
        raise DeviceError(
            f"{host} is {system}, the build is for {release.bits}-bit {' or '.join(release.machines)}: "
            "nothing was copied",
            hint="Build for a board of its kind: `edge-tqs boards`.",
        )
    if found.python < _PYTHON:
        there = f"Python {'.'.join(map(str, found.python))}" if found.python else "no python3"
        raise DeviceError(
            f"{host} has {there}, and edge-tqs-forecastd needs 3.9: nothing was copied",
            hint="On the host: `sudo apt install python3`.",
        )
    if release.mqtt and not found.mqtt:
        raise DeviceError(
            f"{host} has no paho-mqtt, by which its Python would speak to the broker: nothing was copied",
            hint="On the host: `sudo apt install python3-paho-mqtt`.",
        )
    needed = 2 * release.size + _SPARE
    if not found.has and found.free_bytes < needed:
        raise DeviceError(
            f"{host} has {found.free_bytes:,} bytes left at {found.folder}, {needed:,} are needed: nothing was copied",
            hint="Make room there.",
        )


def _library(
    connection: Connection, target: Target, release: Release, expected: Expected
) -> tuple[str, tuple[str, ...]]:
    """(what was checked of the library, mistakes of forecastd.json)."""
    forecast = expected.built.graph.forecast
    if forecast.exogenous and not forecast.driven:
        return "not checked: the library; edge-tqs-forecastd takes no inputs that are known ahead", ()
    found = check_library(connection, _words(target, release, "check"), expected)
    if found.instead:
        said = f"LiteRT computes for edge-tqs-forecastd there, not the compiled library: {found.instead}"
    else:
        said = "checked the library in the host's Python: the same codes"
    return said, found.mistakes


def _activate(
    connection: Connection, target: Target, release: Release, found: Found, name: str | None = None
) -> tuple[str, ...]:
    answer = _ask(connection, target, release, "activate", *target.options, name=name)
    said = answer.values("said")
    if any(line.startswith("not installed") for line in said):
        hint = "" if release.live else "; --broker HOST, or a source in --config FILE, has it started"
        return (*said[:-1], said[-1] + hint)
    return tuple(said) if found.systemd else (*said, "not started: no systemd runs there")


def _would(found: Found, release: Release, target: Target) -> tuple[str, ...]:
    size = f"{len(release.files)} files, {release.size:,} bytes"
    copy = f"{release.name} is there" if found.has else f"would copy {size}, to {found.folder}/releases/{release.name}"
    then = "would check the program and the library there"
    if found.current == release.name:
        return (f"runs {release.name} already: would check, install and start it again",)
    way = {"none": "would not install: that needs root", "sudo": "would install by sudo"}.get(
        found.way, "would install"
    )
    options = f" with {shlex.join(target.options)}" if target.options else ""
    return (copy, then, f"{way}{options}{'' if found.systemd else '; would not start: no systemd runs there'}")


def _ask(
    connection: Connection,
    target: Target,
    release: Release,
    step: str,
    *more: str,
    data: bytes = b"",
    name: str | None = None,
) -> Answer:
    """One step of remote.sh. Raises DeviceError with its sentence."""
    answer = connection.run(_words(target, release, step, *more, name=name), data)
    if answer.code != 0:
        why = answer.value("error") or (answer.err.strip().splitlines() or ["it said nothing"])[-1]
        hint = "Make room there." if "No space" in why else f"Look at it there: `{connection.address.command}`."
        raise DeviceError(f"{connection.address}: {step} failed: {why}", hint=hint)
    return answer


def _words(target: Target, release: Release, step: str, *more: str, name: str | None = None) -> list[str]:
    """The command of a step on the host."""
    script = resources.files("edge_tqs.delivery").joinpath("remote.sh").read_text(encoding="utf-8")
    return ["sh", "-c", script, "edge-tqs", step, target.folder, release.model, name or release.name, *more]
