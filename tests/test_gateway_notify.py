"""What forecastd tells systemd, heard on the socket that systemd would listen on (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gateways
import pytest
from forecastd.notify import Notifier
from forecastd.trouble import Trouble


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        yield heard


def test_the_command_says_when_it_serves_and_that_it_lives(systemd: socket.socket, tmp_path: Path) -> None:
    graph, codes, _ = gateways.graph_of("none")
    bundle = gateways.bundle(graph, tmp_path)
    samples = gateways.physical(graph, codes)[0]
    given = gateways.config(tmp_path / "forecastd.json")
    state = tmp_path / "state"
    state.mkdir()
    asked = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "60000000", "STATE_DIRECTORY": str(state)}
    command = [sys.executable, str(bundle / "edge-tqs-forecastd"), "--config", str(given)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | asked) as program:
        assert program.stdin is not None
        assert systemd.recv(4096) == b"READY=1"
        assert systemd.recv(4096) == b"WATCHDOG=1"
        assert systemd.recv(4096) == b"STATUS=no sample yet"
        program.communicate(gateways.lines(samples).encode())
        heard = [systemd.recv(4096)]
        while heard[-1] != b"STOPPING=1":
            heard.append(systemd.recv(4096))
    assert (program.returncode, len(heard) <= 3) == (0, True)
    assert (state / "forecastd.sqlite").exists()  # no store was named


def test_signs_of_life_are_four_in_the_time_that_is_given(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "8000000"})
    systemd.setblocking(False)
    alive: list[float] = []
    for second in range(9):
        now[0] = float(second)
        notifier.turn("")
        try:
            while systemd.recv(100) != b"WATCHDOG=1":
                pass
            alive.append(now[0])
        except BlockingIOError:
            continue
    assert alive == [0, 2, 4, 6, 8]


def test_a_trouble_is_told_once_and_without_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    trouble = Trouble("sink x")
    for words in ("away", "away", "\x1b[2Jelsewhere\n", "away"):
        trouble.said(words)
    trouble.over()
    trouble.over()
    for _ in range(2):
        trouble.once("a line")
    told = capfd.readouterr().err.splitlines()
    start = "edge-tqs-forecastd: sink x: "
    assert all(line.startswith(start) for line in told)
    assert [line.removeprefix(start) for line in told] == [
        "away",
        "?[2Jelsewhere?",
        "away",
        "it works again",
        "a line; more of this is counted, not told",
    ]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}, {"NOTIFY_SOCKET": "@no-such-name"}])
def test_without_systemd_nothing_is_said(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.turn("a sample")
    notifier.stopping()
