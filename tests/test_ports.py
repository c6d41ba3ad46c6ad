"""Serial ports and the boards that they may be."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from edge_tqs.boards.board import list_boards
from edge_tqs.boards.serial_ports import list_serial_ports
from edge_tqs.cli.main import cli


def info(device: str, vid: int | None = None, pid: int | None = None, description: str = "n/a") -> ListPortInfo:
    port = ListPortInfo(device)
    port.vid, port.pid, port.description = vid, pid, description
    port.serial_number = "9900" if vid is not None else None
    return port


@pytest.fixture(autouse=True)
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> list[ListPortInfo]:
    ports = [
        info("/dev/ttyS0"),
        info("/dev/ttyUSB1", 0x0403, 0xBCD9, "LM3S6965 Evaluation Board"),
        info("/dev/ttyACM0", 0x0D28, 0x0204, "BBC micro:bit CMSIS-DAP"),
        info("/dev/ttyUSB0", 0x0403, 0x6001, "FT232R USB UART"),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: list(ports))
    return ports


def test_a_port_is_matched_by_both_ids() -> None:
    ports = list_serial_ports(list_boards())
    assert [port.device for port in ports] == ["/dev/ttyACM0", "/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyS0"]
    assert [port.boards for port in ports] == [("qemu-microbit",), (), ("lm3s6965evb",), ()]
    assert [port.description for port in ports][-1] == ""
    assert ports[0].serial_number == "9900"


def test_boards_that_show_themselves_alike_are_all_named() -> None:
    (board,) = [board for board in list_boards() if board.name == "qemu-microbit"]
    assert list_serial_ports([board, board])[0].boards == ("qemu-microbit", "qemu-microbit")
    assert list_serial_ports([])[0].boards == ()


def test_the_command_prints_a_table_or_json() -> None:
    shown = CliRunner().invoke(cli, ["ports"])
    assert shown.exit_code == 0
    assert "/dev/ttyACM0  0d28:0204  qemu-microbit" in shown.output
    body = json.loads(CliRunner().invoke(cli, ["ports", "--json"]).output)
    assert body[0]["boards"] == ["qemu-microbit"]
    assert (body[0]["vid"], body[0]["pid"], body[3]["vid"]) == (0x0D28, 0x0204, None)


def test_no_port_at_all(plugged_in: list[ListPortInfo]) -> None:
    plugged_in.clear()
    shown = CliRunner().invoke(cli, ["ports"])
    assert shown.exit_code == 0
    assert "no serial port" in shown.output
    assert json.loads(CliRunner().invoke(cli, ["ports", "--json"]).output) == []
