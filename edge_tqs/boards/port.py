"""What a port is: the folder firmware_templates/ports/<name>, which its port.toml describes.

A port makes the portable sources run on a family of chips, or on an operating system. A board file names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated

from edge_tqs import strict
from edge_tqs.errors import UsageError
from edge_tqs.strict import FILLED, between, matching
from edge_tqs.templates import template_root

PORT_TOML = "port.toml"
_FILE = r"[a-z0-9_]+\.c"
_WORD = r"[A-Za-z0-9_.,=:/+-]+"


@dataclass(frozen=True)
class Toolchain:
    """A compiler of the port, by the prefix of its programs, and the Debian packages of it and of its C library."""

    prefix: Annotated[str, matching(r"(?:[A-Za-z0-9_.]+-)*")]
    compiler: Annotated[str, matching(_WORD)]
    library: Annotated[str, matching(f"(?:{_WORD})?")] = ""


@dataclass(frozen=True)
class Port:
    """One port.toml, checked.

    bare_metal: the image has the chip for itself: it has a linker script, a UART driver and the sources of ports/bare,
    and the board file says where flash, RAM and UART are; otherwise it is a program, and a build has a bundle.
    sources: files of the folder, compiled in this order.
    c_library_flags: of the C library that is linked in; None where the port brings what it needs of one.
    stack_multiple: of bytes, that the processor's procedure call standard wants of a stack.
    boot_stages: the board may name a file of drivers/boot.
    direct_boot: the chip's boot ROM maps the raw binary, which an emulator of the chip alone must do too.
    library: the file of the folder that makes a shared library of the model: `make library`.
    """

    description: Annotated[str, FILLED]
    bare_metal: bool
    sources: Annotated[tuple[Annotated[str, matching(_FILE)], ...], FILLED]
    toolchains: Annotated[tuple[Toolchain, ...], FILLED]
    c_library_flags: tuple[Annotated[str, matching(_WORD)], ...] | None = None
    stack_multiple: Annotated[int, between(1, 256)] = 1
    boot_stages: bool = False
    direct_boot: bool = False
    library: Annotated[str, matching(_FILE)] | None = None

    def packages(self, prefix: str) -> tuple[str, str]:
        """The Debian packages of a compiler and of its C library; "" where they are not known."""
        return next(((t.compiler, t.library) for t in self.toolchains if t.prefix == prefix), ("", ""))


def port_names() -> tuple[str, ...]:
    """The names that ``port`` may have in a board file."""
    return tuple(sorted(path.parent.name for path in (template_root() / "ports").glob(f"*/{PORT_TOML}")))


@cache
def load_port(name: str) -> Port:
    """The port of a name of `port_names`. Raises UsageError with the key that is wrong."""
    path = template_root() / "ports" / name / PORT_TOML
    where, hint = f"port file {path}", "docs/boards.md explains every key."
    port = strict.read(Port, strict.parse_toml(path.read_bytes(), where, hint), where, hint)
    for source in port.sources:
        if not (path.parent / source).is_file():
            raise UsageError(f"{where}: there is no {source} beside it", hint="Write it, or take it out of sources.")
    return port
