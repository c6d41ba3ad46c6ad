from __future__ import annotations

import dataclasses
import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_tqs.boards.board import Board, Emulator, Memory, Uart, list_boards, load_board, uart_drivers
from edge_tqs.boards.port import load_port, port_names
from edge_tqs.errors import UsageError
from edge_tqs.templates import boards_root, template_root

SHIPPED = sorted(path.stem for path in boards_root().glob("*.toml"))
AN386 = (boards_root() / "qemu-mps2-an386.toml").read_text()
HOST = (boards_root() / "host.toml").read_text()


def refused(tmp_path: Path, text: str | bytes) -> UsageError:
    path = tmp_path / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        load_board(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def test_the_boards_that_are_promised() -> None:
    emulated = {"qemu-mps2-an386", "qemu-microbit", "mps2-an385", "mps2-an500", "mps2-an505", "mps3-an547"}
    emulated |= {"netduinoplus2", "stm32vldiscovery", "lm3s6965evb"}
    emulated |= {"pico", "bluepill", "esp32c3", "esp32s3"}
    linux = {"host", "rpi-zero", "rpi1", "rpi2", "rpi3", "rpi4", "rpi5", "rpi-zero2w", "qemu-virt-aarch64"}
    assert emulated | linux <= set(SHIPPED)
    assert [board.name for board in list_boards()] == SHIPPED
    assert {load_board(name).proven for name in emulated | linux} == {"emulated"}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_boards_are_named_as_their_files_and_ship_what_they_need(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.path == boards_root() / f"{name}.toml"
    assert (template_root() / "ports" / board.port).is_dir()
    assert load_board(str(board.path)) == board


def test_every_value_arrives() -> None:
    board = load_board("qemu-microbit")
    assert board.core == "cortex-m0"
    assert board.toolchain == "arm-none-eabi-"
    assert board.cflags == ("-mcpu=cortex-m0",)
    assert board.clock_hz == 16_000_000
    assert board.flash == Memory(origin=0, size_bytes=256 * 1024)
    assert board.ram == Memory(origin=0x20000000, size_bytes=16 * 1024)
    assert board.uart == Uart(driver="nrf51", base=0x40002000, baud=115200, tx_pin=24, rx_pin=25)
    assert board.emulator == Emulator("qemu-system", program="qemu-system-arm", machine="microbit", icount_shift=6)
    assert load_board("rpi4").ldflags == ("-static",)


def test_a_board_may_prefer_int16_activations(tmp_path: Path) -> None:
    assert {load_board(name).activations for name in SHIPPED} == {None}
    file = tmp_path / "wide.toml"
    file.write_text(AN386.replace("max_payload = 1024", 'max_payload = 1024\nactivations = "int16"', 1))
    assert load_board(file).activations == "int16"


def test_a_board_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_board("host").name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("typed", "meant"), [("qemu-mps2-an387", "qemu-mps2-an386"), ("rpi", "rpi4"), ("microbit", "qemu-microbit")]
)
def test_a_misspelt_name_brings_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_board(typed)
    assert typed in caught.value.message
    assert meant in caught.value.hint
    assert "edge-tqs boards" in caught.value.hint


def test_a_name_like_no_other() -> None:
    with pytest.raises(UsageError) as caught:
        load_board("zzz")
    assert caught.value.hint.startswith("`edge-tqs boards`")


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_board(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"none\.toml"):
        load_board("./none.toml")


def test_a_folder_is_no_board(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="directory"):
        load_board(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "key", "meant"),
    [
        ("clock_hz", "clock_khz", "'clock_khz'", "'clock_hz'"),
        ("baud =", "bauds =", "'uart.bauds'", "'uart.baud'"),
        ("[upload]", "[uploads]", "'uploads'", "'upload'"),
        ("[emulator]", "frobnicate = 1\n[emulator]", "'upload.frobnicate'", "method"),
        ("[uart]", "path = 'x'\n[uart]", "'path'", ""),
    ],
)
def test_an_unknown_key_is_named_with_the_one_meant(tmp_path: Path, old: str, new: str, key: str, meant: str) -> None:
    assert old in AN386
    error = refused(tmp_path, AN386.replace(old, new, 1))
    assert f"unknown key {key}" in error.message
    assert meant in error.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("25_000_000", "'fast'", "'clock_hz' must be an integer, not 'fast'"),
        ("25_000_000", "true", "'clock_hz' must be an integer, not True"),
        ("25_000_000", "25e6", "'clock_hz' must be an integer, not 25000000.0"),
        ("25_000_000", "3", "'clock_hz' must be an integer from 1000000 to"),
        ("max_payload = 1024", "max_payload = 65536", "'max_payload' must be an integer from 64 to 65535"),
        ("baud = 115200", "baud = -1", "'uart.baud' must be an integer from 1200"),
        ("cflags = [", "cflags = [1, ", "'cflags[0]' must be a string, not 1"),
        ("cflags = [", "cflags = ['-D$(shell id)', ", "'cflags[0]' must be a string of the form"),
        ('"arm-none-eabi-"', '"arm none"', "'toolchain' must be a string of the form"),
        ('port = "cortexm"', 'port = "cortexa"', f"'port' must be one of {', '.join(port_names())}, not 'cortexa'"),
        ('name = "qemu-mps2-an386"', 'name = "a\\"b"', "'name' must be a string of the form"),
        ("flash = {", "flash = 3 #", "'flash' must be a table, not 3"),
        ("[upload]", "[[upload]]", "'upload' must be a table"),
        ("stack_bytes = 8192", "stack_bytes = 8191", "'stack_bytes' is 8191"),
        ("stack_bytes = 8192", "stack_bytes = 4194304", "leaves nothing"),
        ("stack_bytes = 8192", "", "'stack_bytes' is missing"),
        ("max_payload = 1024", "", "'max_payload' is missing"),
        ("origin = 0x2000_0000", "origin = 0xFFFF_0000", "'ram' ends beyond"),
        ('driver = "cmsdk"', 'driver = "ns16550"', "'uart.driver' is 'ns16550', which does not exist"),
        ("max_payload = 1024", "max_payload = 1024\nactivations = 'int4'", "must be one of int8, int16, not 'int4'"),
        ('machine = "mps2-an386"', "", "'emulator.machine' does not go"),
        ("max_payload = 1024", "max_payload = 1024\nboot = 'rp2299'", "'boot' is 'rp2299', which port"),
        ('kind = "qemu-system"', 'kind = "rp2040js"', "'emulator.program' does not go"),
        ('kind = "qemu-system"', 'kind = "labwired"', "'emulator.program' does not go"),
        ('kind = "qemu-system"', 'kind = "qemu-linux"', "'emulator.icount_shift' needs"),
        ('program = "qemu-system-arm"', "", "'emulator.program' does not go"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in AN386
    assert said in refused(tmp_path, AN386.replace(old, new, 1)).message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[upload]", "stack_bytes = 4096\n[upload]", "'stack_bytes' has no meaning"),
        ("[upload]", "[uart]\ndriver = 'cmsdk'\nbase = 0\nbaud = 9600\n[upload]", "'uart' has no meaning"),
        ('kind = "process"', 'kind = "process"\nprogram = "x"', "'emulator.program' does not go"),
        ('kind = "process"', 'kind = "process"\nicount_shift = 1', "icount_shift"),
        ('kind = "process"', 'kind = "process"\nmachine = "x"', "'emulator.machine' does not go"),
    ],
)
def test_what_only_a_microcontroller_has(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in HOST
    assert said in refused(tmp_path, HOST.replace(old, new, 1)).message


def test_the_stack_of_a_risc_v_core_is_a_multiple_of_16(tmp_path: Path) -> None:
    text = load_board("esp32c3").path.read_text()
    error = refused(tmp_path, text.replace("stack_bytes = 8192", "stack_bytes = 8200"))
    assert "'stack_bytes' is 8200" in error.message
    assert "multiple of 16" in error.hint


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"name = ", b"a = " + b"9" * 5000, b"a = " + b"[" * 5000, b"name = 1\nname = 2", b"\0"],
    ids=["not UTF-8", "no value", "long number", "deep", "twice", "NUL"],
)
def test_a_file_that_is_not_toml(tmp_path: Path, text: bytes) -> None:
    assert "is not TOML" in refused(tmp_path, text).message


def test_an_empty_file_lacks_its_first_key(tmp_path: Path) -> None:
    assert "'name' is missing" in refused(tmp_path, b"").message


def test_the_table_of_the_manual_is_that_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    module = importlib.import_module("board_table")
    document = module.DOCUMENT.read_text()
    assert module.insert(document) == document, "run: python tools/board_table.py"
    written = document.partition(module.BEGIN)[2].partition(module.END)[0]
    for name in SHIPPED:
        assert written.count(f"\n| `{name}` |") == 1


def test_every_folder_of_a_port_describes_itself() -> None:
    assert set(port_names()) >= {"cortexm", "esp32", "linux"}
    for name in port_names():
        folder, port = template_root() / "ports" / name, load_port(name)
        assert {*port.sources, *filter(None, [port.library])} == {path.name for path in folder.glob("*.c")}
        assert (folder / "port.mk").is_file()
        assert (folder / "link.ld.in").is_file() == port.bare_metal


def test_the_compilers_of_all_boards_are_known_to_their_port() -> None:
    for board in list_boards():
        compiler, library = load_port(board.port).packages(board.toolchain)
        assert compiler, board.name
        assert bool(library) == (load_port(board.port).c_library_flags is not None), board.name
    assert load_port("linux").packages("my-own-") == ("", "")


def test_drivers_are_the_files_that_are_there() -> None:
    assert {"cmsdk", "nrf51", "pl011", "stm32"} <= set(uart_drivers())


PIECES = [
    *AN386.splitlines(),
    *HOST.splitlines(),
    "[uart]",
    "flash = 1",
    "usb = { vid = 0x0d28, pid = 0x0204 }",
    "clock_hz = 1e9",
    "cflags = [[]]",
    "name = '\\n'",
    "[name]",
    "[[uart]]",
    "uart.driver.x = 1",
    "upload = 1979-05-27",
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(st.sampled_from(PIECES), max_size=40).map(lambda lines: "\n".join(lines).encode()),
        st.tuples(st.integers(0, len(AN386) - 1), st.integers(0, 30), st.text(max_size=4)).map(
            lambda cut: (AN386[: cut[0]] + cut[2] + AN386[cut[0] + cut[1] :]).encode()
        ),
    )
)
def test_any_file_is_a_board_or_a_usage_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(text)
    outcome: Board | UsageError
    try:
        outcome = load_board(path)
    except UsageError as error:
        outcome = error
    if isinstance(outcome, UsageError):
        assert outcome.hint
        assert "\n" not in outcome.message
    else:
        values: dict[str, Any] = tomllib.loads(text.decode())
        assert set(values) <= {field.name for field in dataclasses.fields(outcome)}
