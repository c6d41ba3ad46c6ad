"""What the doctor finds on machines that lack something, and the commands it gives."""

from __future__ import annotations

import dataclasses
import grp
import importlib.util
import json
import os
import platform
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from edge_tqs.boards.board import Emulator, list_boards, load_board
from edge_tqs.cli.doctor import Examination, examine
from edge_tqs.cli.main import cli
from edge_tqs.device import serial_port
from edge_tqs.errors import UsageError
from edge_tqs.quantization import runtimes
from edge_tqs.system import tensorflow as tensorflow_import

AN547 = load_board("mps3-an547")
EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def missing(examination: Examination) -> list[str]:
    return [finding.name for finding in examination.findings if finding.found is None]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH of a Debian with neither compilers nor emulators; this user is not root and no serial port is there."""
    (tmp_path / "apt-get").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [grp.getgrnam("dialout").gr_gid])
    monkeypatch.setattr(list_ports, "comports", list)
    return tmp_path


def program(folder: Path, name: str, script: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_machine_that_built_all_boards_lacks_nothing_but_perhaps_a_permission() -> None:
    assert set(missing(examine(list_boards()))) <= {"serial ports"}


def test_a_bare_machine_is_told_all_packages_in_one_command(bare: Path) -> None:
    examination = examine([AN547])
    assert missing(examination) == [
        "make",
        "arm-none-eabi-gcc",
        "arm-none-eabi-objcopy",
        "arm-none-eabi-objdump",
        "the C library of arm-none-eabi-gcc for cortex-m55",
        "qemu-system-arm",
        "qemu-system-arm -M mps3-an547",
        "gdb-multiarch",
    ]
    assert not examination.complete
    assert examination.commands == (
        "sudo apt-get update && sudo apt-get install -y "
        "gcc-arm-none-eabi gdb-multiarch libnewlib-arm-none-eabi make qemu-system-arm",
    )


def test_what_was_installed_is_not_asked_for_again(bare: Path) -> None:
    for name in ("make", "arm-none-eabi-gcc", "arm-none-eabi-objcopy", "arm-none-eabi-objdump", "gdb-multiarch"):
        program(bare, name)
    program(bare, "qemu-system-arm", "echo 'Supported machines are:'; echo 'mps3-an547  ARM MPS3'")
    examination = examine([AN547])
    assert missing(examination) == []
    assert (examination.complete, examination.commands) == (True, ())


def test_a_compiler_without_its_c_library(bare: Path) -> None:
    program(bare, "arm-none-eabi-gcc", 'case "$*" in *-E*) exit 1 ;; esac')
    names = missing(examine([AN547]))
    assert "arm-none-eabi-gcc" not in names
    assert "the C library of arm-none-eabi-gcc for cortex-m55" in names


def test_an_emulator_too_old_for_the_machine(bare: Path) -> None:
    program(bare, "qemu-system-arm", "echo 'mps2-an385  ARM MPS2'")
    assert "qemu-system-arm -M mps3-an547" in missing(examine([AN547]))
    assert "qemu-system-arm -M mps2-an385" not in missing(examine([load_board("mps2-an385")]))


def test_a_board_of_ones_own_with_a_toolchain_and_an_emulator_that_no_package_is_known_for(bare: Path) -> None:
    board = dataclasses.replace(AN547, toolchain="arm-my-elf-", emulator=Emulator("qemu-system", "my-qemu", "my-board"))
    examination = examine([board])
    assert {"arm-my-elf-gcc", "my-qemu", "my-qemu -M my-board"} <= set(missing(examination))
    assert examination.commands == ("sudo apt-get update && sudo apt-get install -y gdb-multiarch make",)


def test_the_superuser_needs_no_sudo_and_another_system_has_no_apt(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert examine([load_board("host")]).commands[0].startswith("apt-get update && apt-get install -y ")
    (bare / "apt-get").unlink()
    assert examine([load_board("host")]).commands == ()


def test_a_missing_python_package_is_given_to_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    examination = examine([])
    assert "Python package tensorflow" in missing(examination)
    (command,) = examination.commands
    assert command.startswith(f"{sys.executable} -m pip install ")
    assert "'tensorflow>=2.18'" in command


def test_the_requirements_are_those_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    stated = [*EXTRAS["dependencies"], *(text for extra in EXTRAS["optional-dependencies"].values() for text in extra)]
    known = {text.split(";")[0].strip() for text in stated}
    assert {need.pip for need in (*tensorflow_import.needs(), *runtimes.needs())} <= known
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert [need.name for need in runtimes.needs()] == ["Python package ai_edge_litert"]


def test_a_port_that_this_user_may_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = tmp_path / "ttyUSB0"
    port.write_text("")
    group = grp.getgrgid(port.stat().st_gid).gr_name
    monkeypatch.setattr(list_ports, "comports", lambda: [ListPortInfo(str(port))])
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(port))
    (need,) = serial_port.needs()
    assert need.find() is None
    assert need.command == f"sudo adduser $USER {group}"
    assert need.command in examine([AN547]).commands
    assert need.command not in examine([load_board("host")]).commands
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert serial_port.needs()[0].find() == str(port)


def test_without_a_port_the_group_decides(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serial_port.needs()[0].find() == "none is there now; in dialout"
    monkeypatch.setattr(os, "getgroups", list)
    assert serial_port.needs()[0].find() is None
    assert serial_port.needs()[0].command == "sudo adduser $USER dialout"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert serial_port.needs()[0].find() is not None


def test_the_command_shows_it_and_leaves_with_1(bare: Path) -> None:
    shown = CliRunner().invoke(cli, ["doctor", "--board", "mps3-an547"])
    assert shown.exit_code == 1
    assert "MISSING  gdb-multiarch" in shown.output
    assert "8 missing; to install what is:\n  sudo apt-get update" in shown.output
    body = json.loads(CliRunner().invoke(cli, ["doctor", "--board", "mps3-an547", "--json"]).output)
    assert body["complete"] is False
    (finding,) = [finding for finding in body["findings"] if finding["name"] == "gdb-multiarch"]
    assert (finding["found"], finding["install"], finding["boards"]) == (None, "gdb-multiarch", ["mps3-an547"])


def test_the_command_leaves_with_0_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", list)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    shown = CliRunner().invoke(cli, ["doctor", "--board", "host"])
    assert shown.exit_code == 0
    assert shown.output.endswith("nothing is missing\n")


def test_without_a_board_all_shipped_ones_are_examined() -> None:
    body = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).output)
    named = {board for finding in body["findings"] for board in finding["boards"]}
    assert named == {board.name for board in list_boards()}
    emulators = [board.emulator for board in list_boards() if board.emulator and board.emulator.machine]
    machines = {f"{emulator.program} -M {emulator.machine}" for emulator in emulators if emulator.program}
    assert len(machines) > 9
    assert machines <= {item["name"] for item in body["findings"]}


@pytest.mark.parametrize(
    ("name", "files", "command"),
    [
        ("qemu-virt-aarch64", ["vmlinuz-arm64"], "fetch.sh kernel"),
        ("pico", ["node_modules/rp2040js"], "fetch.sh rp2040js"),
    ],
)
def test_what_no_package_holds_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str], command: str
) -> None:
    monkeypatch.setenv("EDGE_TQS_EMULATORS", str(tmp_path))
    examination = examine([load_board(name)])
    wanted = {str(tmp_path / file) for file in files}
    assert wanted <= set(missing(examination))
    (given,) = [text for text in examination.commands if command in text]
    assert given.endswith(f"{command} {tmp_path}")
    assert os.access(given.split()[0], os.X_OK)
    for file in wanted:
        Path(file).mkdir(parents=True)
    assert not wanted & set(missing(examine([load_board(name)])))


def test_a_board_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="mps3-an548"):
        CliRunner().invoke(cli, ["doctor", "--board", "mps3-an548"], catch_exceptions=False)
