"""Puts model, templates and board together into a folder that `make` builds, builds it, and reads the sizes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.port import load_port
from edge_tqs.boards.stack_bound import StackUse, deepest_stack
from edge_tqs.errors import ToolError, UsageError
from edge_tqs.needs import Need, program
from edge_tqs.templates import fill, template_root

_CORE = ("tqs_crc32.c", "tqs_model.c", "tqs_model_float.c", "tqs_server.c", "tqs_wire.c")
_BARE = "ports/bare"  # what the ports without an operating system share
_BARE_SOURCES = ("variables.c", "bare.c", "main.c")
_NO_PIN = 0xFFFFFFFF
_LOG = "build.log"
_LIBRARY = "build/libforecaster.so"


@dataclass(frozen=True)
class Firmware:
    """A folder with all sources of one firmware, its Makefile among them. Stands alone: `make` builds it."""

    board: Board
    folder: Path


@dataclass(frozen=True)
class Image:
    """A built firmware. Sizes in bytes; those of a Linux program include its C library where that is linked in.

    elf, bin, hex: the files, the last two None for a Linux program. text: code; rodata: constants and vectors; data:
    variables with a first value; bss: variables that start as zero; stack: what the linker script keeps for it, None
    for a Linux program. largest_frame: the deepest single stack frame of the sources, in largest_frame_function.
    deepest: the stack at its deepest; None for a Linux program, and where a call graph has no bound.
    """

    elf: Path
    bin: Path | None
    hex: Path | None
    text: int
    rodata: int
    data: int
    bss: int
    stack: int | None
    largest_frame: int
    largest_frame_function: str
    deepest: StackUse | None

    @property
    def flash_bytes(self) -> int:
        """What the image takes of the flash; the first values of variables are there too."""
        return self.text + self.rodata + self.data

    @property
    def ram_bytes(self) -> int:
        """Static RAM, without the stack."""
        return self.data + self.bss


def assemble(
    board: Board, model_files: Mapping[str, str], kernel_sources: Sequence[str], out_dir: Path, *, probe: bool = False
) -> Firmware:
    """Write a complete firmware folder; files of an earlier one there are replaced, and its build is removed.

    Args:
        board: What it is for.
        model_files: Text by file name; ``model.c`` and ``model.h`` at least.
        kernel_sources: The kernels that model.c calls, relative to firmware_templates (``kernels/tqs_fc_s8.c``).
        out_dir: The folder; made if it does not exist.
        probe: The image also tells what each operator computes (PROBE in PROTOCOL.md).

    Raises:
        UsageError: The folder cannot be written.
    """
    root = template_root()
    port = f"ports/{board.port}"
    sources = [*(f"core/{name}" for name in _CORE), *sorted(kernel_sources)]
    about = load_port(board.port)
    sources += [f"{port}/{name}" for name in about.sources]
    library = [] if about.library is None else [f"{port}/{about.library}"]
    headers = [
        path.relative_to(root).as_posix()
        for part in ("core", "kernels", "kernels/arm", port)
        for path in _headers(root / part)
    ]
    values = {"BOARD_NAME": board.name, "MAX_PAYLOAD": str(board.max_payload)}
    texts = dict(model_files)
    includes = [f"-I{port}"]
    if board.bare_metal:
        assert board.uart is not None
        sources.append(f"drivers/uart/{board.uart.driver}.c")
        if board.boot is not None:
            sources.append(f"drivers/boot/{board.boot}.c")
        sources += [f"{_BARE}/{name}" for name in _BARE_SOURCES]
        headers += [f"{_BARE}/tqs_bare.h", "drivers/uart/tqs_uart.h"]
        includes += [f"-I{_BARE}", "-Idrivers/uart"]
        values |= _bare_metal_values(board)
        texts["link.ld"] = fill(_template(root, f"{port}/link.ld.in"), _linker_values(board))
    texts["board.h"] = fill(_template(root, f"{_BARE if board.bare_metal else port}/board.h.in"), values)
    model_sources = sorted(name for name in model_files if name.endswith(".c"))
    texts["Makefile"] = fill(
        _template(root, "Makefile.in"),
        {
            "BOARD_NAME": board.name,
            "TOOLCHAIN": board.toolchain,
            "CFLAGS": " ".join(board.cflags),
            "LDFLAGS": " ".join(board.ldflags),
            "PORT": port,
            "INCLUDES": " ".join(includes),
            "PROBE": str(int(probe)),
            "SOURCES": " \\\n    ".join(model_sources + sources),
        },
    )
    try:
        shutil.rmtree(out_dir / "build", ignore_errors=True)
        for name in [*sources, *library, *sorted(headers), f"{port}/port.mk"]:
            _write(out_dir / name, _template(root, name))
        for name, text in texts.items():
            _write(out_dir / name, text)
    except OSError as error:
        raise UsageError(
            f"the firmware folder {out_dir} cannot be written: {error.strerror or error}",
            hint="Give a folder that you may write to, on a disk with space.",
        ) from error
    return Firmware(board, out_dir)


def needs(board: Board) -> tuple[Need, ...]:
    """What building the board's firmware needs: make, its toolchain, and a C library where its port has none."""
    port = load_port(board.port)
    compiler, library = port.packages(board.toolchain)
    gcc, objcopy, objdump = (f"{board.toolchain}{tool}" for tool in ("gcc", "objcopy", "objdump"))
    tools = (
        program(("make",), "runs the firmware's Makefile", "make"),
        program((gcc,), "compiles the firmware", compiler),
        program((objcopy,), "makes the image's .bin and .hex", compiler),
        program((objdump,), "reads the image's sizes", compiler),
    )
    if port.c_library_flags is None:
        return tools
    flags = port.c_library_flags
    return (
        *tools,
        Need(
            f"the C library of {gcc} for {board.core}",
            "is linked with the firmware",
            lambda: gcc if _has_library(gcc, (*board.cflags, *flags)) else None,
            library,
        ),
    )


def _has_library(gcc: str, flags: Sequence[str]) -> bool:
    """Whether the compiler, with these flags, finds the headers, and the specs that the flags may name."""
    try:
        done = subprocess.run(
            [gcc, *flags, "-E", "-x", "c", "-"],
            input=b"#include <stdint.h>\n#include <string.h>\n",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def check_toolchain(board: Board) -> None:
    """ToolError, naming the packages, when one of `needs` is missing."""
    missing = [need for need in needs(board) if need.find() is None]
    if missing:
        packages = " ".join(sorted({need.package for need in missing if need.package}))
        verb = "is missing; it builds" if len(missing) == 1 else "are missing; they build"
        raise ToolError(
            f"{', '.join(need.name for need in missing)} {verb} the firmware for {board.name}",
            hint=f"On Debian: sudo apt install {packages}" if packages else "Install them, or add them to PATH.",
        )


def compile_firmware(firmware: Firmware, *, extra_cflags: str = "") -> Image:
    """Run `make` in the folder and read the image's sizes. All that make says is in the folder's build.log.

    Raises:
        ToolError: The compiler or make is missing, or failed (the message has its first error).
        UsageError: The image does not fit the board's flash or RAM, or its stack may get too deep.
    """
    board = firmware.board
    check_toolchain(board)
    done = _make(firmware, f"CFLAGS_EXTRA={extra_cflags}")
    (firmware.folder / _LOG).write_text(done.stdout)
    if done.returncode != 0:
        _explain_failure(firmware, done.stdout)
    image = _read_image(firmware)
    if image.stack is not None and image.deepest is not None and image.deepest.bytes > image.stack:
        raise UsageError(
            f"the stack can take {image.deepest.bytes} bytes ({' > '.join(image.deepest.path)}); "
            f"{board.name} keeps {image.stack} for it",
            hint="Give a larger stack_bytes in a board file of your own.",
        )
    return image


def compile_library(firmware: Firmware) -> Path:
    """The model alone as a shared library for the board's processor, of a port that has one (library.c says its calls).

    Raises ToolError as `compile_firmware`.
    """
    check_toolchain(firmware.board)
    done = _make(firmware, "library")
    if done.returncode != 0:
        (firmware.folder / _LOG).write_text(done.stdout)
        _explain_failure(firmware, done.stdout)
    return firmware.folder / _LIBRARY


def _make(firmware: Firmware, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A make above this one (as in `make test`) must not hand down its flags and jobs.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", f"-j{os.cpu_count() or 1}", "--output-sync=target", *arguments],
        cwd=firmware.folder,
        env=environment | {"LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _headers(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.h"))


def _template(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _bare_metal_values(board: Board) -> dict[str, str]:
    assert board.uart is not None
    uart = board.uart
    return {
        "CLOCK_HZ": str(board.clock_hz),
        "UART_BASE": f"0x{uart.base:08X}",
        "UART_BAUD": str(uart.baud),
        "UART_TX_PIN": str(uart.tx_pin) if uart.tx_pin is not None else f"0x{_NO_PIN:X}",
        "UART_RX_PIN": str(uart.rx_pin) if uart.rx_pin is not None else f"0x{_NO_PIN:X}",
    }


def _linker_values(board: Board) -> dict[str, str]:
    assert board.flash is not None
    assert board.ram is not None
    return {
        "BOARD_NAME": board.name,
        "FLASH_ORIGIN": f"0x{board.flash.origin:08X}",
        "FLASH_SIZE": str(board.flash.size_bytes),
        "RAM_ORIGIN": f"0x{board.ram.origin:08X}",
        "RAM_SIZE": str(board.ram.size_bytes),
        "STACK_SIZE": str(board.stack_bytes),
    }


def _explain_failure(firmware: Firmware, log: str) -> None:
    board, log_path = firmware.board, firmware.folder / _LOG
    overflow = dict(re.findall(r"region `(FLASH|RAM)' overflowed by (\d+) bytes", log))
    for region, memory in (("FLASH", board.flash), ("RAM", board.ram)):
        if region in overflow and memory is not None:
            needed = memory.size_bytes + int(overflow[region])
            stack = f" ({board.stack_bytes} for the stack)" if region == "RAM" else ""
            raise UsageError(
                f"the image needs {needed} bytes of {region.lower()}{stack}; {board.name} has {memory.size_bytes}",
                hint="Give a smaller --budget, a smaller model, or a larger board (`edge-tqs boards`).",
            )
    telling = r"(?<!collect2: )error:|undefined reference|multiple definition|cannot (?:find|open|read)|\*\*\*"
    errors = [line.strip() for line in log.splitlines() if re.search(telling, line)]
    first = errors[0] if errors else (log.strip().splitlines() or ["no message"])[-1]
    raise ToolError(
        f"the firmware for {board.name} did not compile: {first}",
        hint=f"All that the compiler said is in {log_path}.",
    )


def _read_image(firmware: Firmware) -> Image:
    build = firmware.folder / "build"
    bare_metal = firmware.board.bare_metal
    elf = build / "firmware.elf"
    sizes = _section_sizes(firmware.board.toolchain, elf)
    frames = _frames(build)
    function = max(sorted(frames), key=lambda name: frames[name])
    return Image(
        elf=elf,
        bin=build / "firmware.bin" if bare_metal else None,
        hex=build / "firmware.hex" if bare_metal else None,
        text=sizes["text"],
        rodata=sizes["rodata"],
        data=sizes["data"],
        bss=sizes["bss"],
        stack=sizes["stack"] if bare_metal else None,
        largest_frame=frames[function],
        largest_frame_function=function,
        deepest=deepest_stack(disassembly(firmware.board.toolchain, elf), frames) if bare_metal else None,
    )


def _section_sizes(toolchain: str, elf: Path) -> dict[str, int]:
    """Loaded bytes by kind, from `objdump -h`: one line with a section's size, the next with its flags."""
    sizes = dict.fromkeys(("text", "rodata", "data", "bss", "stack"), 0)
    for line in _objdump(toolchain, "-h", "-w", str(elf)).splitlines():
        fields = line.split(maxsplit=7)
        if len(fields) < 8 or not fields[0].isdigit() or "ALLOC" not in fields[7]:
            continue
        name, size, flags = fields[1], int(fields[2], 16), fields[7]
        if name == ".stack":
            kind = "stack"
        elif "CODE" in flags:
            kind = "text"
        elif "READONLY" in flags:
            kind = "rodata"
        elif "LOAD" in flags.replace("ALLOC", ""):
            kind = "data"
        else:
            kind = "bss"
        sizes[kind] += size
    return sizes


def disassembly(toolchain: str, elf: Path) -> str:
    """All code of a linked image, as `stack_bound` reads it. Raises ToolError."""
    return _objdump(toolchain, "-d", "--no-show-raw-insn", str(elf))


def _objdump(toolchain: str, *arguments: str) -> str:
    """What objdump says of the file that its arguments end with."""
    done = subprocess.run(
        [f"{toolchain}objdump", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
    if done.returncode != 0:
        raise ToolError(
            f"{toolchain}objdump cannot read {arguments[-1]}: {done.stderr.strip()}",
            hint="Build again with make clean all.",
        )
    return done.stdout


def _frames(build: Path) -> dict[str, int]:
    """Bytes by function; of several of one name, which static functions may have, the largest.

    gcc's -fstack-usage records are file:line:column:function, bytes, qualifiers; tab-separated.
    """
    frames: dict[str, int] = {}
    for path in sorted(build.rglob("*.su")):
        for line in path.read_text(errors="replace").splitlines():
            where, size, _ = line.split("\t")
            name = where.rsplit(":", 1)[-1]
            frames[name] = max(frames.get(name, 0), int(size))
    return frames
