"""What a board is, and the strict reader of boards/*.toml. The dataclasses below are the schema of those files."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from edge_tqs.errors import UsageError
from edge_tqs.templates import boards_root, template_root

_T = TypeVar("_T")
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
class _Range:
    low: int
    high: int


@dataclass(frozen=True)
class _Form:
    """A regular expression for the whole of a string."""

    pattern: str


@dataclass(frozen=True)
class _OneOf:
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """A range of addresses. origin: its first address; size_bytes: its length."""

    origin: Annotated[int, _Range(0, _U32)]
    size_bytes: Annotated[int, _Range(1024, _U32)]


@dataclass(frozen=True)
class Uart:
    """The UART that carries the protocol.

    baud: the rate that it starts with. max_baud: what the way from it to the host is known to carry, up to which
    `validate` raises the rate; None where that is not known.

    driver: a file of firmware_templates/drivers/uart; base: its registers' address; tx_pin, rx_pin: in the numbering of
    the driver, None where the hardware has them fixed.
    """

    driver: Annotated[str, _Form(r"[a-z0-9_]+")]
    base: Annotated[int, _Range(0, _U32)]
    baud: Annotated[int, _Range(1200, 4_000_000)]
    tx_pin: Annotated[int | None, _Range(0, 255)] = None
    rx_pin: Annotated[int | None, _Range(0, 255)] = None
    max_baud: Annotated[int | None, _Range(1200, 4_000_000)] = None


@dataclass(frozen=True)
class Usb:
    """How the board's serial port shows itself to the host; for finding the port."""

    vid: Annotated[int, _Range(0, 0xFFFF)]
    pid: Annotated[int, _Range(0, 0xFFFF)]


@dataclass(frozen=True)
class ControlLines:
    """What the lines DTR and RTS of the board's serial port are for.

    dtr, rts: whether they are asserted while the port is open; None leaves them as the operating system has them.
    reset: the line that holds the board in reset while it is asserted and the other is not; None where neither does.
    """

    dtr: bool | None = None
    rts: bool | None = None
    reset: Annotated[str | None, _OneOf(("dtr", "rts"))] = None


@dataclass(frozen=True)
class Upload:
    """How the image gets there.

    method: a tool of edge_tqs/flash; bundle, a directory to copy; none, it is there. target: what the tool calls the
    part, and recognises it by: pyOCD's target, esptool's chip, dfu-util's USB ids, stm32flash's device id, the Board-ID
    of a UF2 drive; teensy_loader_cli's board, which it cannot recognise. configs: OpenOCD's. family: of UF2.
    """

    method: Annotated[str, _Form(r"[a-z0-9-]+")]
    target: Annotated[str | None, _Form(_WORD)] = None
    configs: Annotated[tuple[str, ...], _Form(_WORD)] = ()
    family: Annotated[int | None, _Range(0, _U32)] = None


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

    kind: Annotated[str, _OneOf(tuple(_EMULATOR_KEYS))]
    program: Annotated[str | None, _Form(_WORD)] = None
    machine: Annotated[str | None, _Form(_WORD)] = None
    icount_shift: Annotated[int | None, _Range(0, 10)] = None
    args: Annotated[tuple[str, ...], _Form(_WORD)] = ()


@dataclass(frozen=True)
class Board:
    """One board file, checked. Sizes in bytes, clocks in Hz.

    core: the processor, for reading (cortex-m4); port: a folder of firmware_templates/ports; toolchain: prefix of gcc,
    objcopy and objdump, empty for the host's; proven: how far this board was tried, "emulated" (its image ran in its
    emulator) or "compiled"; stack_bytes: RAM kept for the stack. flash, ram, uart and stack_bytes are a
    microcontroller's: absent with the port linux, present with the others. activations: of models that are built for
    it, unless something else is asked for. boot: a file of firmware_templates/drivers/boot, what the chip's ROM starts
    before the image; None where the core starts the image itself.
    """

    name: Annotated[str, _Form(r"[a-z0-9][a-z0-9-]{0,39}")]
    description: Annotated[str, _Form(_TEXT)]
    core: Annotated[str, _Form(r"[A-Za-z0-9 _.+/-]+")]
    port: Annotated[str, _OneOf(("cortexm", "esp32", "linux"))]
    toolchain: Annotated[str, _Form(r"(?:[A-Za-z0-9_.]+-)*")]
    clock_hz: Annotated[int, _Range(1_000_000, _U32)]
    max_payload: Annotated[int, _Range(64, 0xFFFF)]
    proven: Annotated[str, _OneOf(("emulated", "compiled"))]
    upload: Upload
    cflags: Annotated[tuple[str, ...], _Form(_FLAG)] = ()
    ldflags: Annotated[tuple[str, ...], _Form(_FLAG)] = ()
    stack_bytes: Annotated[int | None, _Range(512, 1 << 24)] = None
    flash: Memory | None = None
    ram: Memory | None = None
    uart: Uart | None = None
    usb: Usb | None = None
    lines: ControlLines = ControlLines()
    boot: Annotated[str | None, _Form(r"[a-z0-9_]+")] = None
    emulator: Emulator | None = None
    activations: Annotated[Literal["int8", "int16"], _OneOf(("int8", "int16"))] = "int8"
    path: Path = dataclasses.field(default=Path(), compare=False, metadata={"key": False})
    """The file that this was read from; not a key of it."""


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
        near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"no board is named {text!r}",
            hint=f"{meant}`edge-tqs boards` lists them; a board file of your own is given by its path.",
        )
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
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(
            f"board file {path}: {error.strerror or error}", hint="`edge-tqs boards` lists the boards that are shipped."
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number or nesting beyond all use
        raise UsageError(
            f"board file {path} is not TOML: {str(error) or type(error).__name__}",
            hint=f"{boards_root() / 'host.toml'} is an example.",
        ) from error
    board = dataclasses.replace(_table(Board, values, str(path), ""), path=path)
    _check_together(board)
    return board


def _table(kind: type[_T], values: Mapping[str, Any], file: str, prefix: str) -> _T:
    """An instance of the dataclass ``kind`` from a TOML table, whose own key is ``prefix`` without the closing dot."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.metadata.get("key", True)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise UsageError(
                f"board file {file}: unknown key {prefix + key!r}",
                hint=f"Did you mean {prefix + near[0]!r}?" if near else f"Known here: {', '.join(fields)}.",
            )
    hints = typing.get_type_hints(kind, include_extras=True)
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _value(hints[name], values[name], file, prefix + name)
        elif field.default is dataclasses.MISSING:
            raise UsageError(
                f"board file {file}: the key {prefix + name!r} is missing", hint="docs/boards.md explains every key."
            )
    return kind(**arguments)


def _value(hint: Any, value: object, file: str, key: str) -> Any:
    rule = None
    if typing.get_origin(hint) is Annotated:
        hint, rule = typing.get_args(hint)
    if isinstance(hint, types.UnionType):  # X | None: TOML has no null, a given value is an X
        (hint,) = (choice for choice in typing.get_args(hint) if choice is not type(None))
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _wrong(file, key, "a table", value)
        return _table(typing.cast(type[Any], hint), value, file, f"{key}.")
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(file, key, "true or false", value)
        return value
    if isinstance(rule, _Range):
        return _integer(rule, value, file, key)
    assert isinstance(rule, _Form | _OneOf)
    if hint is str or typing.get_origin(hint) is Literal:
        return _string(rule, value, file, key)
    if not isinstance(value, list):
        raise _wrong(file, key, "a list of strings", value)
    return tuple(_string(rule, item, file, f"{key}[{index}]") for index, item in enumerate(value))


def _integer(rule: _Range, value: object, file: str, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(file, key, "an integer", value)
    if not rule.low <= value <= rule.high:
        raise _wrong(file, key, f"an integer from {rule.low} to {rule.high}", value)
    return value


def _string(rule: _Form | _OneOf, value: object, file: str, key: str) -> str:
    if not isinstance(value, str):
        raise _wrong(file, key, "a string", value)
    if isinstance(rule, _OneOf) and value not in rule.choices:
        raise _wrong(file, key, "one of " + ", ".join(rule.choices), value)
    if isinstance(rule, _Form) and re.fullmatch(rule.pattern, value) is None:
        raise _wrong(file, key, f"a string of the form {rule.pattern}", value)
    return value


def _wrong(file: str, key: str, wanted: str, value: object) -> UsageError:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # an integer too long to print, tables nested too deep
        shown = f"something of type {type(value).__name__}"
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return UsageError(f"board file {file}: {key!r} must be {wanted}, not {shown}", hint="docs/boards.md explains it.")


def _check_together(board: Board) -> None:
    """The rules that involve more than one key."""

    def refuse(problem: str, hint: str) -> typing.NoReturn:
        raise UsageError(f"board file {board.path}: {problem}", hint=hint)

    bare_metal = {"flash": board.flash, "ram": board.ram, "uart": board.uart, "stack_bytes": board.stack_bytes}
    for key, value in bare_metal.items():
        if board.port != "linux" and value is None:
            refuse(
                f"the key {key!r} is missing",
                f'A board with port = "{board.port}" needs flash, ram, uart and stack_bytes.',
            )
        if board.port == "linux" and value is not None:
            refuse(f"{key!r} has no meaning with port = 'linux'", "Leave it out: the operating system owns it.")
    if board.stack_bytes is not None and board.ram is not None:
        cores, multiple = ("RISC-V's and Xtensa's", 16) if board.port == "esp32" else ("Arm's", 8)
        if board.stack_bytes % multiple != 0:
            refuse(
                f"'stack_bytes' is {board.stack_bytes}",
                f"{cores} procedure call standard wants a multiple of {multiple}.",
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
    if board.boot is not None and (board.port != "cortexm" or board.boot not in boot_stages()):
        refuse(
            f"'boot' is {board.boot!r}, which port = {board.port!r} does not have",
            f"For port = 'cortexm' there is: {', '.join(boot_stages())}.",
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
