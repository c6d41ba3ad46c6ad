"""hosts.toml: the hosts of a fleet, and what each is to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edge_tqs import strict
from edge_tqs.delivery.deploy import FOLDER
from edge_tqs.delivery.ssh import parse_address
from edge_tqs.errors import UsageError

_HINT = "docs/how-to/fleet.md has an example."


@dataclass(frozen=True)
class _Host:
    address: str
    name: str | None = None
    build: str | None = None
    broker: str | None = None
    config: str | None = None
    folder: str | None = None
    install: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _File:
    host: Annotated[tuple[_Host, ...], strict.FILLED]
    build: str | None = None
    broker: str | None = None
    config: str | None = None
    folder: str = FOLDER
    install: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """One host. name: its gateway's in topics, None where it has none; build: None leaves it to the command; paths are
    those of the file, from its folder on."""

    address: str
    name: str | None
    build: Path | None
    broker: str | None
    config: Path | None
    folder: str
    install: tuple[str, ...]


def read_inventory(path: Path) -> tuple[Host, ...]:
    """The hosts, in the file's order; what a ``[[host]]`` leaves out is what the file says above all of them.

    Raises UsageError for a file that cannot be read, a wrong or unknown key, an address that is none or there twice,
    and a name that is there twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    file = strict.read(_File, strict.parse_toml(data, str(path), _HINT), str(path), _HINT)
    for host in file.host:
        parse_address(host.address)
    places = [f"{host.address} {host.folder or file.folder}" for host in file.host]
    names = [host.name for host in file.host if host.name is not None]
    for what, given in (("address", places), ("name", names)):
        twice = next((value for value in given if given.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"{path}: the {what} {twice.split()[0]} is there twice", hint="Each host is named once.")
    return tuple(
        Host(
            address=host.address,
            name=host.name,
            build=_path(path, host.build or file.build),
            broker=host.broker or file.broker,
            config=_path(path, host.config or file.config),
            folder=host.folder or file.folder,
            install=file.install if host.install is None else host.install,
        )
        for host in file.host
    )


def _path(inventory: Path, given: str | None) -> Path | None:
    return None if given is None else inventory.parent / given
