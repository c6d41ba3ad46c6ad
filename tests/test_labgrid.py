"""A place of labgrid: its coordinator, its exporter and its client, as `pip install labgrid` has them, on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from device.fake import FakeDevice
from device.rfc2217_server import Rfc2217Server
from test_device import PATIENT, expect_rollout

from edge_tqs.boards.labgrid import _serial_port, port_of_place
from edge_tqs.device.device import Device
from edge_tqs.device.serial_port import open_port
from edge_tqs.errors import DeviceError, ToolError

pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")
#: Where tools/setup puts it.
PROGRAMS = Path(__file__).parents[1] / ".venv-labgrid" / "bin"
SHOWN = """Place 'bench-1':
  acquired: vm/root
Acquired resource 'NetworkSerialPort' (lab/bench/NetworkSerialPort/NetworkSerialPort):
  {'acquired': 'bench-1',
   'avail': True,
   'cls': 'NetworkSerialPort',
   'params': {'extra': {'proxy': 'lab.example.org', 'proxy_required': False},
              'host': 'localhost',
              'port': 4567,
              'protocol': 'raw',
              'speed': 115200}}
"""


def test_the_port_is_read_off_what_the_client_shows() -> None:
    """As labgrid 26.0 prints it."""
    assert _serial_port("bench-1", SHOWN) == "socket://localhost:4567"
    assert _serial_port("bench-1", SHOWN.replace("'raw'", "'rfc2217'")) == "rfc2217://localhost:4567"
    two = SHOWN + SHOWN.partition("root\n")[2]
    for shown, count in ((SHOWN.replace("True,", "False,", 1), 0), ("Place 'bench-1':\n", 0), (two, 2)):
        with pytest.raises(DeviceError, match=f"bench-1 has {count} serial ports, not one"):
            _serial_port("bench-1", shown)
    with pytest.raises(DeviceError, match="in a way that is not known"):
        _serial_port("bench-1", SHOWN.replace("'port'", "'gate'"))


def test_without_labgrid_the_place_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="labgrid://bench needs labgrid-client"), port_of_place("bench"):
        pass


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """A coordinator, and an exporter of a serial server behind which a device answers: place bench-1."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("LG_COORDINATOR", coordinator)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        host, port = server.url.removeprefix("rfc2217://").split(":")
        (tmp_path / "exporter.yaml").write_text(
            f"bench:\n  NetworkSerialPort:\n    host: '{host}'\n    port: {port}\n    protocol: rfc2217\n"
        )
        commands = [
            ["labgrid-coordinator", "-l", coordinator],
            ["labgrid-exporter", "-c", coordinator, "--name", "lab", "exporter.yaml"],
        ]
        running = []
        try:
            for command in commands:
                running.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
                time.sleep(0.1)
            until = time.monotonic() + 30
            while "NetworkSerialPort" not in client("resources"):
                assert time.monotonic() < until
                time.sleep(0.1)
            client("-p", "bench-1", "create")
            client("-p", "bench-1", "add-match", "lab/bench/*")
            yield fake
        finally:
            for one in reversed(running):
                one.terminate()
                one.wait(30)


def client(*words: str) -> str:
    return subprocess.run(["labgrid-client", *words], capture_output=True, text=True, check=False).stdout


def test_a_place_is_acquired_used_and_given_back(lab: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    acquired = re.compile(r"^  acquired: (.*)", re.MULTILINE)
    with port_of_place("bench-1") as url:
        assert acquired.findall(client("-p", "bench-1", "show")) != ["None"]
        with Device(open_port(url), PATIENT) as device:
            expect_rollout(device, lab)
        monkeypatch.setenv("LG_USERNAME", "somebody-else")
        with pytest.raises(DeviceError, match="labgrid does not acquire bench-1"), port_of_place("bench-1"):
            pass
        monkeypatch.delenv("LG_USERNAME")
    assert acquired.findall(client("-p", "bench-1", "show")) == ["None"]
    with pytest.raises(DeviceError, match="labgrid does not acquire nothing-such"), port_of_place("nothing-such"):
        pass
