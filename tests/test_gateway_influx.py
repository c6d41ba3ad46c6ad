"""forecastd and a real InfluxDB 1 (Debian's influxdb), which is away for a while; and what version 2 is asked."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import gateways
import pytest
from forecastd.report import Report
from forecastd.settings import read
from forecastd.sinks import About, SinkError
from forecastd.sinks.influx import Settings, Sink, check

INFLUXD = shutil.which("influxd", path="/usr/bin:/usr/sbin:/usr/local/bin")
MODEL: Any = type("Model", (), {"columns": ("flow",)})


def about(name: str = "plant") -> About:
    return About(name, MODEL, (), 60_000_000_000, {})


def report(minute: int, value: float = 1.5) -> Report:
    return Report(
        minute * 60_000_000_000, {"air temp, °C": value}, {"air temp, °C": "ok"}, 1, 1, 60_000_000_000, None, (), ()
    )


class Influx:
    """A server on ports of its own, to be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{ports[0]}"
        self._config = folder / "influxdb.conf"
        self._config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{ports[1]}"\n'
            f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{ports[0]}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
        )
        self._program: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert INFLUXD is not None, "tools/setup installs influxdb"
        quiet = subprocess.DEVNULL
        self._program = subprocess.Popen([INFLUXD, "-config", self._config], stdout=quiet, stderr=quiet)
        until = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.05)

    def stop(self) -> None:
        assert self._program is not None
        self._program.terminate()
        self._program.wait(30)

    def ask(self, query: str) -> list[list[Any]]:
        asked = urllib.parse.urlencode({"db": "plant", "q": query, "epoch": "s"})
        with urllib.request.urlopen(f"{self.url}/query", data=asked.encode(), timeout=10) as answer:
            (result,) = json.load(answer)["results"]
        return [row for series in result.get("series", []) for row in series["values"]]

    def rows(self, measurement: str, count: int) -> list[list[Any]]:
        """Once there are so many."""
        until = time.monotonic() + 30
        while len(found := self.ask(f'SELECT * FROM "{measurement}"')) < count:
            assert time.monotonic() < until, found
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    made = Influx(tmp_path_factory.mktemp("influx"))
    yield made
    made.stop()


def test_forecasts_are_in_influxdb_as_they_were_said(influx: Influx, tmp_path: Path) -> None:
    influx.ask('CREATE DATABASE "plant"')
    graph, codes, _ = gateways.graph_of("none")
    samples = gateways.physical(graph, codes)[0]
    sinks = [{"kind": "jsonl"}, {"kind": "influx", "url": influx.url, "database": "plant"}]
    bundle = gateways.bundle(graph, tmp_path)
    config = gateways.config(tmp_path / "forecastd.json", sinks=sinks)
    code, reports, error = gateways.run(bundle, "--config", config, text=gateways.lines(samples))
    assert (code, error) == (0, "")
    kept = influx.ask("SELECT flow, load FROM edge_tqs_sample")
    assert [row[1:] for row in kept] == [[one["sample"][name] for name in gateways.COLUMNS] for one in reports]
    forecast = reports[-1]["forecast"]
    made = int(time.mktime(time.strptime(forecast["made"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone)
    rows = influx.ask(f"SELECT flow, load FROM edge_tqs_forecast WHERE made = {made}")
    assert [row[1:] for row in sorted(rows)] == [[row[name] for name in gateways.COLUMNS] for row in forecast["values"]]
    assert sorted(row[0] for row in rows) == [made + 600 * (n + 1) for n in range(gateways.HORIZON)]


def test_what_comes_while_the_server_is_away_is_there_afterwards(
    influx: Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecastd.sinks.influx._AGAIN_S", 0.2)
    sink = Sink(Settings(influx.url, database="later", waiting=5), about())
    sink.publish(report(1))
    time.sleep(0.1)
    influx.ask('CREATE DATABASE "later"')  # it was not there before
    until = time.monotonic() + 20
    while sink._waiting and time.monotonic() < until:
        time.sleep(0.05)
    influx.stop()
    for minute in range(2, 10):
        sink.publish(report(minute))
    influx.start()
    monkeypatch.setattr(influx, "ask", lambda query, ask=influx.ask: ask(query.replace('"edge', '"later".."edge')))
    rows = influx.rows("edge_tqs_sample", 1 + 5)
    assert [row[0] for row in rows][-5:] == [60 * minute for minute in range(5, 10)]
    assert sink.counters["refused"] == 0
    assert sink.counters["lost"] >= 2  # of eight that came while five could wait; one may have been in hand
    sink.close()


class Recorder(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, bytes]]
    code = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers.get("Authorization", ""), body))
        self.send_response(self.code)
        self.send_header("Location", "http://elsewhere/")
        self.end_headers()

    def log_message(self, format: str, *words: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("table", "path", "authorization"),
    [
        (
            {"organisation": "at home", "bucket": "plant", "token_file": "secret"},
            "/api/v2/write?org=at+home&bucket=plant&precision=ns",
            "Token wor d",
        ),
        (
            {"database": "plant", "user": "pi", "password_file": "secret"},
            "/write?db=plant&precision=ns",
            "Basic " + base64.b64encode(b"pi:wor d").decode(),
        ),
    ],
)
def test_how_a_server_is_asked(
    table: dict[str, str], path: str, authorization: str, tmp_path: Path, capfd: Any
) -> None:
    """A stand-in for InfluxDB 2, which Debian does not have; it refuses what it is asked the second time."""
    (tmp_path / "secret").write_text("wor d\n")
    handler: Any = type("Handler", (Recorder,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        given: dict[str, Any] = {
            name: str(tmp_path / value) if name.endswith("_file") else value for name, value in table.items()
        }
        settings = Settings(f"http://127.0.0.1:{server.server_address[1]}/", **given)
        assert check(settings) == []
        sink = Sink(settings, about("a b"))
        sink.publish(report(2))
        until = time.monotonic() + 10
        while not handler.asked:
            assert time.monotonic() < until
            time.sleep(0.01)
        ((asked, said, body),) = handler.asked
        assert (asked, said) == (path, authorization)
        assert body.decode().splitlines() == [
            r"edge_tqs_sample,model=a\ b air\ temp\,\ °C=1.5 120000000000",
            r'edge_tqs_state,model=a\ b air\ temp\,\ °C="ok",problems=0i 120000000000',
        ]
        handler.code = 302  # what is sent elsewhere is not followed, the secret least of all
        sink.publish(report(3))
        while len(handler.asked) < 2 or not sink._waiting:
            assert time.monotonic() < until
            time.sleep(0.01)
        handler.code = 400
        sink.close()
        sink._thread.join(10)
        assert sink.counters == {"lost": 0, "refused": 1}
        told = capfd.readouterr().err
        assert 'write "url" as http://elsewhere/ has it' in told
        assert "refuses what it was sent, which is lost: 400" in told
        assert "wor d" not in told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_another_program_at_the_port_is_asked_again(capfd: pytest.CaptureFixture[str]) -> None:
    """What answers is no HTTP; its place is taken by a server."""
    handler: Any = type("Handler", (Recorder,), {"asked": []})
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sink = Sink(Settings(f"http://127.0.0.1:{port}", database="plant"), about())
        sink.publish(report(1))
        answered, _ = other.accept()
        answered.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        answered.recv(1 << 16)
        answered.close()
    with HTTPServer(("127.0.0.1", port), handler) as server:
        server.handle_request()
    sink.close()
    assert len(handler.asked) == 1
    assert sink.counters == {"lost": 0, "refused": 0}
    first, last = capfd.readouterr().err.splitlines()
    assert "does not answer: SSH-2.0" in first
    assert "it works again" in last


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": "http://gate:here"}, 'write "url": "http://192.168.1.10:8086"'),
        ({"url": "http://pi:word@gate:8086"}, "which would be told"),
        ({"url": "192.168.1.10"}, 'write "url": "http://192.168.1.10:8086"'),
        ({"database": None}, 'one of "database"'),
        ({"bucket": "b"}, 'one of "database"'),
        ({"database": None, "bucket": "b"}, 'needs "organisation" and "token_file"'),
    ],
)
def test_wrong_settings(table: dict[str, Any], said: str) -> None:
    whole = {"url": "http://gate:8086", "database": "plant", **table}
    mistakes: list[str] = []
    settings = read(Settings, {name: value for name, value in whole.items() if value is not None}, "sink", mistakes)
    assert settings is not None
    assert any(said in mistake for mistake in check(settings))


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="the secret cannot be read"):
        Sink(Settings("http://gate", database="d", user="pi", password_file=str(tmp_path / "none")), about())
