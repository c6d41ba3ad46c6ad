"""Flash tools: the real programs, against boot loaders on a PTY, a drive's folder, or no device at all.

tools/setup installs all of them, so that a missing one fails here.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from boot_loaders import EspRom, Stm32Rom

from edge_tqs.boards.board import Board, Memory, Upload, load_board, upload_methods
from edge_tqs.boards.flash import METHODS, flash, uf2
from edge_tqs.errors import DeviceError, ToolError, UsageError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An ELF's name beside 3,001 bytes of binary: no whole number of words, blocks or pages."""
    (tmp_path / "firmware.bin").write_bytes(bytes(os.urandom(3001)))
    (tmp_path / "firmware.elf").write_bytes(b"\x7fELF")
    (tmp_path / "firmware.hex").write_text(":0400000001020304F2\n:00000001FF\n")
    return tmp_path / "firmware.elf"


def board(method: str, origin: int = 0, **upload: Any) -> Board:
    memory = Memory(origin, 1 << 20)
    base = load_board("netduinoplus2")
    return dataclasses.replace(base, name="a-board", flash=memory, upload=Upload(method, **upload), emulator=None)


def test_board_files_may_name_each_tool() -> None:
    assert set(METHODS) == {
        "dfu-util",
        "esptool",
        "gdb",
        "openocd",
        "pyocd",
        "ssh",
        "stm32flash",
        "teensy-loader-cli",
        "uf2",
    }
    assert set(upload_methods()) == {*METHODS, "bundle", "none"}
    with pytest.raises(UsageError, match="no flash tool jlink") as caught:
        flash(board("gdb"), Path("x"), method="jlink")
    assert "openocd" in caught.value.hint


# stm32flash


@pytest.fixture
def without_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot loader wants even parity, which a PTY cannot have: the real program is told to leave it out."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "stm32flash").write_text(f'#!/bin/sh\nexec {shutil.which("stm32flash")} -m 8n1 "$@"\n')
    (folder / "stm32flash").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("without_parity")
def test_stm32flash_writes_and_verifies(image: Path) -> None:
    binary = image.with_suffix(".bin").read_bytes()
    with Stm32Rom() as rom:
        result = flash(board("stm32flash", 0x08000000, target="0x410"), image, port=rom.port)
        assert bytes(rom.flash[: len(binary)]) == binary
    assert (result.method, result.bytes_written, result.sections_compared) == ("stm32flash", 3001, 1)


@pytest.mark.usefixtures("without_parity")
def test_stm32flash_leaves_another_part_alone(image: Path) -> None:
    with Stm32Rom(device_id=0x414) as rom:
        with pytest.raises(DeviceError, match=r"device id 0x0414, a-board has 0x410: nothing was written"):
            flash(board("stm32flash", 0x08000000, target="0x410"), image, port=rom.port)
        assert rom.writes == 0


@pytest.mark.usefixtures("without_parity")
def test_stm32flash_notices_a_worn_flash(image: Path) -> None:
    with Stm32Rom(worn=True) as rom, pytest.raises(DeviceError, match="stm32flash did not write"):
        flash(board("stm32flash", 0x08000000), image, port=rom.port)


def test_stm32flash_without_a_port_that_is_there(image: Path) -> None:
    with pytest.raises(DeviceError, match="no STM32 boot loader answers") as caught:
        flash(board("stm32flash", 0x08000000), image, port="/dev/no-such-port")
    assert "BOOT0" in caught.value.hint


# esptool


def test_esptool_writes_and_verifies(image: Path) -> None:
    binary = image.with_suffix(".bin").read_bytes()
    with EspRom() as rom:
        result = flash(board("esptool", target="esp32c3"), image, port=rom.port)
        assert bytes(rom.flash[: len(binary)]) == binary
    assert (result.method, result.bytes_written, result.sections_compared) == ("esptool", 3001, 1)


def test_esptool_leaves_another_chip_alone(image: Path) -> None:
    with EspRom(chip_id=13) as rom:
        with pytest.raises(DeviceError, match="esptool did not write"):
            flash(board("esptool", target="esp32c3"), image, port=rom.port)
        assert rom.writes == 0


def test_esptool_notices_a_worn_flash(image: Path) -> None:
    with EspRom(worn=True) as rom, pytest.raises(DeviceError, match="esptool did not write"):
        flash(board("esptool", target="esp32c3"), image, port=rom.port)


# UF2


def drive(folder: Path, name: str = "RPI-RP2") -> Path:
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: {name}\n")
    return folder


def test_uf2_is_copied_block_by_block(image: Path, tmp_path: Path) -> None:
    there = drive(tmp_path / "drive")
    pico = board("uf2", 0x10000000, target="RPI-RP2", family=0xE48BFF56)
    result = flash(pico, image, port=str(there))
    assert result.sections_compared == 0
    data, seen = (there / "a-board.uf2").read_bytes(), bytearray()
    assert len(data) == 512 * 12
    for number in range(12):
        block = data[512 * number : 512 * (number + 1)]
        head = struct.unpack_from("<8I", block)
        assert head == (
            0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * number, 256, number, 12, 0xE48BFF56,
        )  # fmt: skip
        assert struct.unpack_from("<I", block, 508) == (0x0AB16F30,)
        seen += block[32 : 32 + 256]
    assert seen[:3001] == image.with_suffix(".bin").read_bytes()


def test_uf2_leaves_another_board_alone(image: Path, tmp_path: Path) -> None:
    there = drive(tmp_path / "drive", "RP2350")
    pico = board("uf2", 0x10000000, target="RPI-RP2", family=0xE48BFF56)
    with pytest.raises(DeviceError, match=r"is RPI-RP2, but .* says RP2350: nothing was written"):
        flash(pico, image, port=str(there))
    assert [path.name for path in there.iterdir()] == ["INFO_UF2.TXT"]


def test_uf2_finds_the_one_drive(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uf2, "MOUNTS", (str(tmp_path / "media"),))
    pico = board("uf2", 0x10000000, target="RPI-RP2", family=0xE48BFF56)
    with pytest.raises(DeviceError, match="no drive") as caught:
        flash(pico, image)
    assert "BOOTSEL" in caught.value.hint
    (tmp_path / "media" / "me").mkdir(parents=True)
    there = drive(tmp_path / "media" / "me" / "RPI-RP2")
    drive(tmp_path / "media" / "me" / "OTHER", "SAMD21")
    assert flash(pico, image).port == str(there)
    drive(tmp_path / "media" / "me" / "second")
    with pytest.raises(UsageError, match="2 drives could be a-board"):
        flash(pico, image)


# Tools that need a probe or a device: what they say when there is none


@pytest.mark.parametrize(
    ("method", "upload", "said"),
    [
        (
            "openocd",
            {"configs": ("interface/stlink.cfg", "target/stm32f4x.cfg")},
            "OpenOCD did not write .*open failed",
        ),
        ("dfu-util", {"target": "0483:df11"}, "dfu-util did not write .*No DFU capable USB device"),
        ("pyocd", {"target": "nrf52840"}, "pyOCD did not write .*No target device available"),
        ("teensy-loader-cli", {"target": "TEENSY41"}, "teensy_loader_cli did not write .*Unable to open device"),
    ],
)
def test_no_device_is_one_message(image: Path, method: str, upload: dict[str, Any], said: str) -> None:
    with pytest.raises(DeviceError, match=said) as caught:
        flash(board(method, 0x08000000, **upload), image)
    assert caught.value.hint


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"gdb", "uf2", "esptool", "pyocd"}))
def test_a_missing_tool_is_named_with_how_to_get_it(image: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (image.parent / "bundle").mkdir()
    monkeypatch.setenv("PATH", "/nowhere")
    chosen = board(method, target="0483:df11", configs=("a.cfg",))
    with pytest.raises(ToolError, match="is missing") as caught:
        flash(chosen, image, port="pi@host" if method == "ssh" else "/dev/ttyX")
    assert "sudo apt install" in caught.value.hint


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"gdb", "stm32flash", "ssh"}))
def test_a_board_file_that_lacks_what_the_tool_needs(image: Path, method: str) -> None:
    with pytest.raises(UsageError, match="a-board: its board file") as caught:
        flash(board(method), image, port="/dev/ttyX")
    assert "[upload]" in caught.value.hint


def test_teensy_loader_cli_writes_the_hex_file_and_is_told_no_port(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the program: what it is asked to do, and that only its word that the board starts counts."""
    folder, asked = tmp_path / "programs", tmp_path / "asked"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    stand_in = folder / "teensy_loader_cli"
    for said in ("Programming...\nBooting", "Programming...\nerror writing to Teensy"):
        stand_in.write_text(f'#!/bin/sh\necho "$*" > {asked}\necho "{said}"\n')
        stand_in.chmod(0o755)
        if "error" in said:
            with pytest.raises(DeviceError, match=r"did not write .*error writing to Teensy"):
                flash(board("teensy-loader-cli", target="TEENSY41"), image)
        else:
            result = flash(board("teensy-loader-cli", target="TEENSY41"), image)
            assert (result.bytes_written, result.sections_compared) == (3001, 0)
        assert asked.read_text() == f"--mcu=TEENSY41 -v {image.with_suffix('.hex')}\n"
    with pytest.raises(UsageError, match="cannot be told which board to take"):
        flash(board("teensy-loader-cli", target="TEENSY41"), image, port="/dev/ttyX")


# ssh


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ssh and scp that stay here, in a home of their own: no ssh server runs on every machine that tests run on."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    skip = 'while [ "$1" != "${1#-}" ]; do shift 2; done\nshift\n'
    ssh = f'#!/bin/sh\n{skip}cd {home} && PATH={programs}:$PATH sh -c "$*"\n'
    scp = (
        f'#!/bin/sh\nfor last; do :; done\nfor item; do [ "$item" = "$last" ] || source=$item; done\n'
        f'cp -r "$source" {home}/"${{last#*:}}"\n'
    )
    for name, text in (("ssh", ssh), ("scp", scp), ("uname", "#!/bin/sh\necho aarch64\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return home


def test_a_bundle_is_copied_and_compared(remote: Path, image: Path) -> None:
    bundle = image.parent / "bundle"
    (bundle / "deep").mkdir(parents=True)
    (bundle / "agent.py").write_text("print(1)\n")
    (bundle / "deep" / "model.tflite").write_bytes(os.urandom(999))
    pi = dataclasses.replace(load_board("rpi4"), name="rpi4")
    result = flash(pi, image, port="pi@host", method="ssh")
    assert (result.sections_compared, result.bytes_written) == (2, 999 + 9)
    copied = remote / "edge-tqs-bundle"
    assert (copied / "deep" / "model.tflite").read_bytes() == (bundle / "deep" / "model.tflite").read_bytes()

    flash(dataclasses.replace(pi, toolchain="arm-linux-gnueabihf-"), image, port="host:2222", method="ssh")


def test_a_bundle_for_another_machine_is_not_copied(remote: Path, image: Path) -> None:
    (image.parent / "bundle").mkdir()
    (remote.parent / "programs" / "uname").write_text("#!/bin/sh\necho x86_64\n")
    with pytest.raises(DeviceError, match="host is x86_64, rpi4 is not: nothing was copied"):
        flash(load_board("rpi4"), image, port="host", method="ssh")
    (remote.parent / "programs" / "uname").write_text("#!/bin/sh\necho armv6l\n")
    with pytest.raises(DeviceError, match="host is armv6l, rpi2 is not: nothing was copied"):
        flash(load_board("rpi2"), image, port="host", method="ssh")
    assert not list(remote.iterdir())
    assert flash(load_board("rpi-zero"), image, port="host", method="ssh").board == "rpi-zero"


@pytest.mark.parametrize("port", ["-oProxyCommand=touch x", "pi@host;reboot", "", "host:notaport"])
def test_ssh_is_given_hosts_only(image: Path, port: str) -> None:
    with pytest.raises(UsageError, match=r"\[USER@\]HOST\[:PORT\]"):
        flash(load_board("rpi4"), image, port=port, method="ssh")
