"""forecastd and a real broker: mosquitto, started on a loopback port; by paho-mqtt 2 and by the system's own."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import paho.mqtt.client as paho
import pytest
from forecastd.model import Model, Target
from forecastd.mqtt import Connection
from forecastd.report import Report
from forecastd.settings import read
from forecastd.sinks import About
from forecastd.sinks.mqtt import Settings as Sending
from forecastd.sinks.mqtt import Sink, _outputs
from forecastd.sources.mqtt import Settings, check
from gateways import bundle, config, graph_of, lines, moment, physical, run
from paho.mqtt.enums import CallbackAPIVersion

from edge_tqs.graph.graph import Array

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
#: paho-mqtt 2 of this environment, and what the system's Python has: 1.6 on Debian 12.
PYTHONS = (sys.executable, "/usr/bin/python3")
SECONDS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    """(bundle, samples)."""
    graph, codes, _ = graph_of("none")
    return bundle(graph, tmp_path_factory.mktemp("mqtt")), physical(graph, codes).reshape(-1, 2)


class Broker:
    """mosquitto on a port of its own, to be stopped and started again; ``said`` are the messages it gave on."""

    def __init__(
        self, folder: Path, said: str = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(said.format(port=self.port))
        self.said: queue.Queue[tuple[str, str]] = queue.Queue()
        self.start()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        at_once: Any = 0.05  # seconds; paho's types say that they are whole
        self._client.reconnect_delay_set(at_once, at_once)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda client, data, told: self.said.put((told.topic, told.payload.decode()))
        self._client.connect_async("127.0.0.1", self.port)
        self._client.loop_start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS
        while True:  # who asks before it listens asks again a second later
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.01)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def wait(self, wanted: Callable[[str, str], bool], again: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """The first message that is ``wanted``; ``again`` is done every quarter of a second until it comes."""
        until, told = time.monotonic() + SECONDS, ("", "")
        while time.monotonic() < until:
            try:
                told = self.said.get(timeout=0.25)
            except queue.Empty:
                again()
                continue
            if wanted(*told):
                return told
        raise AssertionError(f"it never came; the last message was {told}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.close()


@contextmanager
def running(python: str, folder: Path, settings: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [python, str(folder / "edge-tqs-forecastd"), "--config", str(settings), *more]
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}) as process:
        try:
            yield process
        finally:
            process.terminate()
    assert process.returncode == 0


def reached(broker: Broker, **more: Any) -> dict[str, Any]:
    return {"kind": "mqtt", "broker": "127.0.0.1", "port": broker.port, **more}


@pytest.mark.parametrize("python", PYTHONS)
def test_objects_of_json_become_forecasts_over_a_restart_of_the_broker(
    python: str, model: tuple[Path, Array], broker: Broker, tmp_path: Path
) -> None:
    folder, samples = model
    settings = config(
        tmp_path / "c.json",
        source=reached(broker, topic="plant/all", time="ts", live=False),
        sinks=[reached(broker)],
        columns={"flow": {"from": "Q", "unit": "m3/h"}, "load": {}},
    )
    reports = []

    def take(number: int) -> None:
        """Publish a sample until its report is there: what a broker that is not there is told is lost."""

        def publish() -> None:
            flow, load = samples[number].tolist()
            broker.publish("plant/all", json.dumps({"ts": moment(number), "Q": flow, "load": str(load), "more": {}}))

        publish()
        _, payload = broker.wait(
            lambda topic, text: topic == "edge-tqs/drawn/report" and json.loads(text)["time"] == moment(number), publish
        )
        reports.append(json.loads(payload))

    with running(python, folder, settings):
        found = [broker.wait(lambda topic, _: topic.startswith("homeassistant/")) for _ in range(3)]
        for number in range(8):
            take(number)
        broker.stop()
        broker.start()
        for number in range(8, 11):
            take(number)
        for garbage in (
            "nonsense",
            "[1]",
            "{}",
            '{"ts": "soon"}',
            '{"ts": "' + moment(8) + '", "Q": true}',
            "\x00" * 9,
            '{"ts": "' + moment(8) + '", "Q": 1' + "0" * 400 + "}",
        ):
            broker.publish("plant/all", garbage)
        take(11)
    assert broker.wait(lambda topic, text: topic == "edge-tqs/drawn/online" and text == "offline")
    assert reports[-1]["counters"]["garbage"] == 7
    # The forecasts are those of the same samples on standard input.
    _, expected, _ = run(folder, "--config", config(tmp_path / "d.json"), text=lines(samples[:12]))
    assert [report["forecast"] for report in reports] == [report["forecast"] for report in expected]
    told = {topic: json.loads(payload) for topic, payload in found}
    flow = told["homeassistant/sensor/edge_tqs_drawn/flow/config"]
    assert (flow["unit_of_measurement"], flow["state_topic"]) == ("m3/h", "edge-tqs/drawn/flow")
    assert told["homeassistant/binary_sensor/edge_tqs_drawn/problem/config"]["device_class"] == "problem"


def test_a_topic_each_at_the_time_of_arrival(model: tuple[Path, Array], broker: Broker, tmp_path: Path) -> None:
    """One address is all that is said; a sensor that stops is a problem."""
    folder, samples = model
    settings, times = config(tmp_path / "c.json", period="300ms"), np.arange(10_000)
    facts = json.loads((folder / "gateway.json").read_text())
    assert facts["period"] is None
    broker.publish("drawn/flow", "1e30", retain=True)  # of some day before
    assert broker.wait(lambda topic, text: text == "1e30")
    stopped = False

    def publish() -> None:
        row = samples[times[0] % len(samples)].tolist()
        broker.publish("drawn/flow", repr(row[0]))
        if not stopped:
            broker.publish("drawn/load", repr(row[1]))

    with running(sys.executable, folder, settings, "--broker", f"127.0.0.1:{broker.port}"):

        def wait(wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                publish()
                time.sleep(0.05)
                while not broker.said.empty():
                    topic, payload = broker.said.get()
                    if topic.startswith("edge-tqs/drawn/") and payload[0] == "{" and wanted(topic, json.loads(payload)):
                        found: dict[str, Any] = json.loads(payload)
                        return found
            raise AssertionError("it never came")

        sensor = wait(lambda topic, told: topic.endswith("/flow"))
        assert len(sensor["forecast"]) == 6
        assert sensor["value"] == sensor["forecast"][0]["value"]
        made, *times_for = (
            datetime.fromisoformat(text) for text in (sensor["made"], *(row["datetime"] for row in sensor["forecast"]))
        )
        assert [(time_for - made).total_seconds() for time_for in times_for] == [3 * lead / 10 for lead in range(1, 7)]
        off = wait(lambda topic, told: topic.endswith("/problem") and told["state"] == "OFF")
        assert off["counters"]["kept from before"] == 1
        stopped = True
        wrong = wait(lambda topic, told: topic.endswith("/problem") and told["state"] == "ON")
        assert wrong["states"] == {"flow": "ok", "load": "missing"}
        assert wrong["problems"] == ["load is missing"]


def test_a_broker_that_forgot_all_gets_what_home_assistant_needs_however_much_waits(broker: Broker) -> None:
    """It is away for longer than messages can wait, and keeps nothing from before."""
    kind = Model("", 1, gateways.COLUMNS, "direct", 5, 1, (), ())
    sink = Sink(Sending("127.0.0.1", broker.port), About("m", kind, (Target(1, "load", "load", True),), 1, {}))
    sink._connection._client.reconnect_delay_set(0.05, 0.05)
    assert broker.wait(lambda topic, text: (topic, text) == ("edge-tqs/m/online", "online"))
    broker.stop()
    while sink._connection._client.is_connected():
        time.sleep(0.01)
    report = Report(0, {}, {}, 1, 1, 1, None, (), ())
    for _ in range(150):
        sink.publish(report)
    assert sink.counters == {"lost": 2 * 150 - 200}
    while not broker.said.empty():
        broker.said.get()
    broker.start()
    wanted = {"edge-tqs/m/online", "homeassistant/sensor/edge_tqs_m/load/config", "edge-tqs/m/report"}
    while wanted:
        wanted.discard(broker.wait(lambda topic, _: topic in wanted)[0])
    until = time.monotonic() + SECONDS
    while sink._connection._under_way:
        assert time.monotonic() < until
        time.sleep(0.01)
    sink.publish(report)
    assert sink.counters == {"lost": 2 * 150 - 200}
    sink.close()


def test_a_broker_that_is_not_there_or_refuses_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def told(words: str) -> str:
        said, until = "", time.monotonic() + SECONDS
        while words not in said:
            assert time.monotonic() < until, said
            time.sleep(0.02)
            said += capfd.readouterr().err
        return said

    made = Broker(tmp_path, "listener {port} 127.0.0.1\nallow_anonymous false\n")
    connection = Connection(Sending("127.0.0.1", made.port), "source", subscribe=("plant/flow",))
    connection._client.reconnect_delay_set(0.05, 0.05)
    assert 'write "user" and "password"' in told("refuses")
    made.stop()
    assert "source mqtt: the broker at 127.0.0.1" in told("is not reached")
    connection.close()
    made.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "a/#"}, "stands for many"),
        ({"topic": "a", "field": "v"}, '"field" is of a topic for each column'),
        ({"topic": "a/{column}", "time": "ts"}, 'write "field": "value" too'),
        ({"topic": "a", "live": False}, 'write "time": "ts"'),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, Any], said: str) -> None:
    mistakes: list[str] = []
    settings = read(Settings, {"broker": "b", **given}, "source", mistakes)
    assert mistakes == []
    (sentence,) = check(settings)
    assert said in sentence


def test_a_broker_is_all_that_must_be_said(model: tuple[Path, Array], tmp_path: Path) -> None:
    settings = config(tmp_path / "c.json")
    assert run(model[0], "--config", settings, "--broker", "10.0.0.1", "--check")[0] == 0
    code, _, said = run(model[0], "--config", settings, "--broker", "10.0.0.1:here", "--check")
    assert (code, "is no address" in said) == (2, True)


def test_without_paho_there_is_one_sentence(model: tuple[Path, Array], tmp_path: Path) -> None:
    command = [sys.executable, "-S", str(model[0] / "edge-tqs-forecastd"), "--config", str(config(tmp_path / "c.json"))]
    done = subprocess.run(
        [*command, "--broker", "127.0.0.1"], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"}
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "MQTT needs paho-mqtt" in line


def test_each_output_has_a_topic_of_its_own() -> None:
    targets = tuple(Target(1, label, "load", True) for label in ("load", "load quantile 0.1", "Load", "report", "°"))
    kind = Model("", 1, gateways.COLUMNS, "direct", 5, 1, (), ())
    about = About("m", kind, targets, 1, {"load": "kW"})
    assert list(_outputs(about)) == ["load", "load_quantile_0_1", "load_", "report_", "output"]
    assert set(_outputs(About("m", Model("", 1, gateways.COLUMNS, "classes", 5, 1, (), ()), targets[:1], 1, {}))) == {
        "class",
        "load",
    }
