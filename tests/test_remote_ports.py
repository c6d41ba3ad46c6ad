"""Ports of serial servers (RFC 2217), and what DTR and RTS do on the way: they are seen at the server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from device.fake import FakeDevice
from device.rfc2217_server import Rfc2217Server
from test_device import PATIENT, QUICK, expect_rollout

from edge_tqs.boards.board import list_boards, load_board
from edge_tqs.device.control_lines import ControlLines
from edge_tqs.device.device import Device
from edge_tqs.device.serial_port import open_port, pulse_reset
from edge_tqs.errors import DeviceError, UsageError

#: pyserial's client of RFC 2217 sets up its thread in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")


def test_a_rollout_through_a_serial_server() -> None:
    """Steps hold every value of a byte, 0xFF among them, which Telnet doubles."""
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        with Device(open_port(server.url, 57600), PATIENT) as device:
            assert device.hello().board == "fake"
            expect_rollout(device, fake)
        assert server.serial.baudrate == 57600
        assert server.levels[:2] == [("dtr", True), ("rts", True)]  # as an operating system has them
        assert {level for _, level in server.levels} == {True}


def test_lines_take_the_levels_of_the_board() -> None:
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        with Device(open_port(server.url, lines=ControlLines(dtr=False, rts=True)), PATIENT) as device:
            expect_rollout(device, fake)
        assert ("dtr", False) in server.levels
        assert not {("dtr", True), ("rts", False)} & set(server.levels)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (ControlLines(reset="rts"), [("dtr", False), ("rts", True), ("rts", False)]),
        (ControlLines(dtr=True, reset="rts"), [("dtr", False), ("rts", True), ("rts", False), ("dtr", True)]),
        (ControlLines(reset="dtr"), [("rts", False), ("dtr", True), ("dtr", False)]),
    ],
)
def test_a_reset_on_purpose_pulses_its_line_alone(lines: ControlLines, expected: list[tuple[str, bool]]) -> None:
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        port = open_port(server.url, lines=lines)
        before = len(server.levels)
        pulse_reset(port, lines)
        assert server.levels[before:] == expected
        port.close()


def test_a_board_that_no_line_resets() -> None:
    with FakeDevice() as fake:
        port = open_port(fake.path)
        with pytest.raises(UsageError, match="no line of this board's port resets it") as caught:
            pulse_reset(port, ControlLines())
        assert "reset button" in caught.value.hint
        port.close()


def test_a_port_without_such_lines() -> None:
    """A PTY has neither DTR nor RTS."""
    with FakeDevice() as fake:
        port = open_port(fake.path)
        with pytest.raises(DeviceError, match="RTS cannot be set"):
            pulse_reset(port, ControlLines(reset="rts"))
        port.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyserial leaves that socket to the GC
def test_a_server_that_goes_away_ends_the_run_with_one_message() -> None:
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server, Device(open_port(server.url), QUICK) as device:
        device.hello()
        server.hang_up()
        with pytest.raises(DeviceError) as caught:
            device.status()
        assert server.url in caught.value.message
        assert caught.value.hint


def test_the_lines_of_a_board_file(tmp_path: Path) -> None:
    text = load_board("bluepill").path.read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text + '\n[lines]\ndtr = false\nreset = "rts"\n')
    assert load_board(path).lines == ControlLines(dtr=False, reset="rts")
    for wrong, message in (
        ("dtr = 0", "'lines.dtr' must be true or false, not 0"),
        ('reset = "cts"', "'lines.reset' must be one of dtr, rts"),
    ):
        path.write_text(f"{text}\n[lines]\n{wrong}\n")
        with pytest.raises(UsageError, match=message):
            load_board(path)


def test_no_board_is_reset_by_being_looked_at() -> None:
    """A line that resets the board is never asserted while the other is not, at no moment of opening: the operating
    system asserts both, then pyserial sets DTR and then RTS."""
    for board in list_boards():
        lines, levels = dataclasses.asdict(board.lines), {"dtr": True, "rts": True}
        for name, level in tuple(levels.items()):
            levels[name] = level if lines[name] is None else lines[name]
            assert [line for line, level in levels.items() if level] != [lines["reset"]], board.name


def test_the_lines_of_the_esp32c3_reach_its_port() -> None:
    """Opening leaves both asserted, so that the chip runs; a reset then lets it start its flash, for DTR is not."""
    lines = load_board("esp32c3").lines
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        port = open_port(server.url, lines=lines)
        with Device(port, PATIENT) as device:
            expect_rollout(device, fake)
            assert {level for _, level in server.levels} == {True}
            opened = len(server.levels)
            pulse_reset(port, lines)
            assert server.levels[opened:] == [("dtr", False), ("rts", True), ("rts", False)]
