"""What a board is, and the strict reader of boards/*.toml. The dataclasses below are the schema of those files."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from edge_tqs import strict
from edge_tqs.boards.port import load_port, port_names
from edge_tqs.device.control_lines import AS_THEY_ARE, ControlLines
from edge_tqs.errors import UsageError
from edge_tqs.strict import between, matching, one_of
from edge_tqs.templates import boards_root, template_root

_U32 = 2**32 - 1
#: Flags go into a Makefile and names into C as they are: only characters that need no quoting in either.
_FLAG = r"-[A-Za-z0-9_=,.+/-]+"
_WORD = r"[A-Za-z0-9_.,=:/+-]+"
_TEXT = r"[ -!#-\[\]-~]+"  # printable ASCII without the double quote and the backslash

#: emulator.kind -> which of the keys program and machine it has
_EMULATOR_KEYS: dict[str, frozenset[str]] = {
    "qemu-system": frozenset({"program", "machine"}),
    "qemu-linux": frozenset({"program", "machine"}),
    "qemu-user": frozenset({"program"}),
    "process": frozenset(),
    "rp2040js": frozenset(),
    "labwired": frozenset({"machine"}),
}


@dataclass(frozen=True)
class Memory:
    """A range of addresses. origin: its first address; size_bytes: its length."""

    origin: Annotated[int, between(0, _U32)]
    size_bytes: Annotated[int, between(1024, _U32)]


@dataclass(frozen=True)
class FlashTiming:
    """How long the flash that the core runs from makes it wait; for modelled milliseconds.

    wait_states: core cycles for a line that no cache holds, beyond the one of any access; 0: none ever. line_bytes:
    what is read at once. code_lines, data_lines: that are kept; 0: none. ways: lines of a set; 0: any line anywhere.
    shared: code and data are kept together, in code_lines. prefetch: the next line of code is read ahead.
    """

    wait_states: Annotated[int, between(0, 1000)]
    line_bytes: Annotated[int, one_of((4, 8, 16, 32, 64))] = 16
    code_lines: Annotated[int, between(0, 4096)] = 0
    data_lines: Annotated[int, between(0, 4096)] = 0
    ways: Annotated[int, between(0, 4096)] = 0
    shared: bool = False
    prefetch: bool = False


@dataclass(frozen=True)
class Uart:
    """The UART that carries the protocol.

    baud: the rate that it starts with. max_baud: what the way from it to the host is known to carry, up to which
    `validate` raises the rate; None where that is not known.

    driver: a file of firmware_templates/drivers/uart; base: its registers' address; tx_pin, rx_pin: in the numbering of
    the driver, None where the hardware has them fixed.
    """

    driver: Annotated[str, matching(r"[a-z0-9_]+")]
    base: Annotated[int, between(0, _U32)]
    baud: Annotated[int, between(1200, 4_000_000)]
    tx_pin: Annotated[int | None, between(0, 255)] = None
    rx_pin: Annotated[int | None, between(0, 255)] = None
    max_baud: Annotated[int | None, between(1200, 4_000_000)] = None


@dataclass(frozen=True)
class Usb:
    """How the board's serial port shows itself to the host; for finding the port."""

    vid: Annotated[int, between(0, 0xFFFF)]
    pid: Annotated[int, between(0, 0xFFFF)]


@dataclass(frozen=True)
class Upload:
    """How the image gets there.

    method: a tool of edge_tqs/flash; bundle, a directory to copy; none, it is there. target: what the tool calls the
    part, and recognises it by: pyOCD's target, esptool's chip, dfu-util's USB ids, stm32flash's device id, the Board-ID
    of a UF2 drive; teensy_loader_cli's board, which it cannot recognise. configs: OpenOCD's. family: of UF2.
    """

    method: Annotated[str, matching(r"[a-z0-9-]+")]
    target: Annotated[str | None, matching(_WORD)] = None
    configs: tuple[Annotated[str, matching(_WORD)], ...] = ()
    family: Annotated[int | None, between(0, _U32)] = None


@dataclass(frozen=True)
class Emulator:
    """What runs the image without the board.

    kind: qemu-system (a whole machine; flashed through gdb), qemu-linux (a whole machine that boots Debian's kernel
    with the program as its init), qemu-user (the program under another architecture), process (the program itself),
    rp2040js (an RP2040 in Node, from the UF2 file) or labwired (a chip in the Python package of that name).
    program: what to start, qemu kinds only. machine: QEMU's -M, or labwired's chip. icount_shift: QEMU's -icount shift,
    nanoseconds an instruction as a power of two, which makes ticks repeatable; None leaves it off. args: further
    arguments.
    """

    kind: Annotated[str, one_of(_EMULATOR_KEYS)]
    program: Annotated[str | None, matching(_WORD)] = None
    machine: Annotated[str | None, matching(_WORD)] = None
    icount_shift: Annotated[int | None, between(0, 10)] = None
    args: tuple[Annotated[str, matching(_WORD)], ...] = ()


@dataclass(frozen=True)
class Board:
    """One board file, checked. Sizes in bytes, clocks in Hz.

    core: the processor, for reading (cortex-m4); port: a folder of firmware_templates/ports; toolchain: prefix of gcc,
    objcopy and objdump, empty for the host's; proven: how far this board was tried, "emulated" (its image ran in its
    emulator) or "compiled"; stack_bytes: RAM kept for the stack. flash, ram, uart and stack_bytes are a
    microcontroller's: present with a port that is bare metal, absent with the others. activations: of models that are
    built for it, unless something else is asked for; None leaves it to what they cost. boot: a file of
    firmware_templates/drivers/boot, what the chip's ROM starts before the image; None where the core starts the image
    itself. flash_timing: None where nothing is known of it; no milliseconds are modelled then.
    """

    name: Annotated[str, matching(r"[a-z0-9][a-z0-9-]{0,39}")]
    description: Annotated[str, matching(_TEXT)]
    core: Annotated[str, matching(r"[A-Za-z0-9 _.+/-]+")]
    port: Annotated[str, one_of(port_names())]
    toolchain: Annotated[str, matching(r"(?:[A-Za-z0-9_.]+-)*")]
    clock_hz: Annotated[int, between(1_000_000, _U32)]
    max_payload: Annotated[int, between(64, 0xFFFF)]
    proven: Literal["emulated", "compiled"]
    upload: Upload
    cflags: tuple[Annotated[str, matching(_FLAG)], ...] = ()
    ldflags: tuple[Annotated[str, matching(_FLAG)], ...] = ()
    stack_bytes: Annotated[int | None, between(512, 1 << 24)] = None
    flash: Memory | None = None
    ram: Memory | None = None
    uart: Uart | None = None
    usb: Usb | None = None
    lines: ControlLines = AS_THEY_ARE
    boot: Annotated[str | None, matching(r"[a-z0-9_]+")] = None
    flash_timing: FlashTiming | None = None
    emulator: Emulator | None = None
    activations: Literal["int8", "int16"] | None = None
    path: Path = dataclasses.field(default=Path(), compare=False, metadata={"key": False})
    """The file that this was read from; not a key of it."""

    @property
    def bare_metal(self) -> bool:
        """Whether the image has the chip for itself; otherwise it is a program of an operating system."""
        return load_port(self.port).bare_metal


def load_board(name_or_path: str | Path) -> Board:
    """The board of a shipped name (``qemu-mps2-an386``) or of a file (anything that ends in .toml or has a slash).

    Raises:
        UsageError: No such board or file, not TOML, an unknown or missing key, a value of a wrong type or out of range.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return _read_board(Path(name_or_path))
    known = {path.stem: path for path in boards_root().glob("*.toml")}
    if text not in known:
        meant = strict.nearest(text.lower().replace("_", "-"), known, "", most=3)
        listing = "`edge-tqs boards` lists them; a board file of your own is given by its path."
        raise UsageError(f"no board is named {text!r}", hint=f"{meant} {listing}".lstrip())
    return _read_board(known[text])


def list_boards() -> tuple[Board, ...]:
    """All shipped boards, by name. UsageError as for `load_board`."""
    return tuple(_read_board(path) for path in sorted(boards_root().glob("*.toml")))


def uart_drivers() -> tuple[str, ...]:
    """The names that ``uart.driver`` may have: the C files of firmware_templates/drivers/uart."""
    return tuple(sorted(path.stem for path in (template_root() / "drivers" / "uart").glob("*.c")))


def boot_stages() -> tuple[str, ...]:
    """The names that ``boot`` may have: the C files of firmware_templates/drivers/boot."""
    return tuple(sorted(path.stem for path in (template_root() / "drivers" / "boot").glob("*.c")))


def upload_methods() -> tuple[str, ...]:
    """The names that ``upload.method`` may have: the files of edge_tqs/flash, and those that write nothing."""
    tools = (path.stem.replace("_", "-") for path in (Path(__file__).parent / "flash").glob("[a-z]*.py"))
    return (*sorted(tools), "bundle", "none")


def _read_board(path: Path) -> Board:
    where = f"board file {path}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{where}: {error.strerror or error}", hint="`edge-tqs boards` lists the boards that are shipped."
        ) from error
    values = strict.parse_toml(data, where, f"{boards_root() / 'host.toml'} is an example.")
    board = dataclasses.replace(strict.read(Board, values, where, "docs/boards.md explains every key."), path=path)
    _check_together(board)
    return board


def _check_together(board: Board) -> None:
    """The rules that involve more than one key."""

    def refuse(problem: str, hint: str) -> typing.NoReturn:
        raise UsageError(f"board file {board.path}: {problem}", hint=hint)

    port = load_port(board.port)
    bare_metal = {"flash": board.flash, "ram": board.ram, "uart": board.uart, "stack_bytes": board.stack_bytes}
    for key, value in bare_metal.items():
        if port.bare_metal and value is None:
            refuse(
                f"the key {key!r} is missing",
                f'A board with port = "{board.port}" needs flash, ram, uart and stack_bytes.',
            )
        if not port.bare_metal and value is not None:
            refuse(f"{key!r} has no meaning with port = {board.port!r}", "Leave it out: the operating system owns it.")
    if board.stack_bytes is not None and board.ram is not None:
        if board.stack_bytes % port.stack_multiple != 0:
            refuse(
                f"'stack_bytes' is {board.stack_bytes}",
                f"The procedure call standard of its processor wants a multiple of {port.stack_multiple}.",
            )
        if board.stack_bytes >= board.ram.size_bytes:
            refuse(f"'stack_bytes' {board.stack_bytes} leaves nothing of ram.size_bytes", "Lower it.")
    for key, memory in (("flash", board.flash), ("ram", board.ram)):
        if memory is not None and memory.origin + memory.size_bytes > 2**32:
            refuse(f"{key!r} ends beyond the 32-bit address space", f"Check {key}.origin and {key}.size_bytes.")
    if board.uart is not None and board.uart.driver not in uart_drivers():
        refuse(
            f"'uart.driver' is {board.uart.driver!r}, which does not exist", f"There is: {', '.join(uart_drivers())}."
        )
    if board.uart is not None and board.uart.max_baud is not None and board.uart.max_baud < board.uart.baud:
        refuse("'uart.max_baud' is below 'uart.baud'", "It is the most that the rate is raised to: lower uart.baud.")
    stages = boot_stages() if port.boot_stages else ()
    if board.boot is not None and board.boot not in stages:
        refuse(
            f"'boot' is {board.boot!r}, which port = {board.port!r} does not have",
            f"There is: {', '.join(stages)}." if stages else "Leave it out: the core starts the image itself.",
        )
    if board.upload.method not in upload_methods():
        refuse(
            f"'upload.method' is {board.upload.method!r}, which does not exist",
            f"There is: {', '.join(upload_methods())}.",
        )
    if board.emulator is not None:
        _check_emulator(board.emulator, refuse)


def _check_emulator(emulator: Emulator, refuse: Callable[[str, str], typing.NoReturn]) -> None:
    wanted = _EMULATOR_KEYS[emulator.kind]
    for key in ("program", "machine"):
        if (getattr(emulator, key) is not None) != (key in wanted):
            having = ", ".join(kind for kind, keys in _EMULATOR_KEYS.items() if key in keys)
            refuse(
                f"'emulator.{key}' does not go with emulator.kind = {emulator.kind!r}",
                f"These need it, and no others: {having}.",
            )
    if emulator.icount_shift is not None and emulator.kind != "qemu-system":
        refuse("'emulator.icount_shift' needs emulator.kind = 'qemu-system'", "Leave it out.")
