"""The page of forecastd in a real browser, and its metrics as Prometheus reads them."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import pytest
from browser import CLIPPED, browser, needs_browser
from prometheus_client.parser import text_string_to_metric_families

from edge_tqs.graph.graph import Array

SAMPLES = 30
FACTS = {
    "period": "10min",
    "rolling": 0,
    "columns": {},
    "errors": [{"label": "flow", "lead": lead, "mae": 0.5 * lead, "naive": lead} for lead in range(1, 7)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    graph, codes, _ = gateways.graph_of("none")
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(2)
    samples = gateways.physical(graph, rng.integers(-100, 100, (SAMPLES, codes.shape[2])))
    return gateways.bundle(graph, folder, facts=FACTS), samples


class Gateway:
    """forecastd, whose standard input is the test's."""

    def __init__(self, program: subprocess.Popen[str], address: str) -> None:
        self.program, self.address = program, address

    def say(self, text: str) -> None:
        """Lines of CSV; back once they are answered."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(text)
        self.program.stdin.flush()

    def answers(self, count: int) -> list[dict[str, Any]]:
        assert self.program.stdout is not None
        return [json.loads(self.program.stdout.readline()) for _ in range(count)]

    def get(self, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        place = re.fullmatch(r"http://(.+):(\d+)/", self.address)
        assert place is not None
        connection = http.client.HTTPConnection(place[1], int(place[2]), timeout=10)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@contextmanager
def running(bundle: Path, folder: Path, page: dict[str, Any]) -> Iterator[Gateway]:
    sinks = [{"kind": "jsonl"}, {"kind": "page", **page}]
    config = gateways.config(folder / "forecastd.json", sinks=sinks, columns={"flow": {"unit": "m³/h"}, "load": {}})
    command = [sys.executable, str(bundle / "edge-tqs-forecastd"), "--config", str(config)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, text=True, encoding="utf-8") as program:  # type: ignore[call-overload]
        try:
            said = program.stderr.readline()
            assert said.startswith("page: http://"), said
            yield Gateway(program, said.removeprefix("page: ").strip())
        finally:
            program.kill()


@needs_browser
def test_the_page_lives_fits_and_says_what_is_wrong(made: tuple[Path, Array], tmp_path: Path) -> None:
    bundle, samples = made
    rows = gateways.lines(samples).splitlines(keepends=True)
    with running(bundle, tmp_path, {"listen": "127.0.0.1:0"}) as gateway, browser() as window:
        window.open(gateway.address)
        assert window.wait("return document.title").startswith("Forecasts")
        gateway.say("".join(rows[:12]))
        window.wait("return document.querySelectorAll('#live canvas').length")
        newest = "return document.querySelector('#figures b').textContent"
        before = window.run(newest)
        gateway.say("".join(rows[12:]))
        window.wait(f"return document.querySelector('#figures b').textContent !== {json.dumps(before)}")
        assert window.wait("return document.getElementById('state').textContent") == "all is well"
        shown = window.run("return document.querySelector('#figures').innerText")
        assert [word for word in ("measured", "forecast for", "promised", "m³/h") if word not in shown] == [], shown
        assert window.run("return errors.data[3]") == [0.5, 1, 1.5, 2, 2.5, 3]
        assert window.run("return live.data[2].filter(value => value !== null).length") == gateways.HORIZON + 1
        for width in (1280, 390):
            for dark in (False, True):
                window.size(width)
                window.dark(dark)
                window.wait(f"return document.querySelector('#live canvas').getBoundingClientRect().width <= {width}")
                assert window.run(CLIPPED) == []
                assert (
                    window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
                ) == dark
        window.run("[...document.querySelectorAll('nav button')].find(one => one.textContent === 'load').click()")
        assert window.run("return document.querySelector('nav [aria-pressed=true]').textContent") == "load"
        stuck = "".join(f"2024-05-02T00:{n}0:00Z,nan,0.5\n" for n in range(3))
        gateway.say(stuck)
        wrong = window.wait("return [...document.querySelectorAll('#wrong li')].map(one => one.textContent).join('; ')")
        window.wait("return document.getElementById('state').className === 'bad'")
        wrong = window.run("return document.getElementById('wrong').innerText")
        assert "flow is missing" in wrong
        assert window.errors() == []
        gateway.program.kill()
        window.wait("return document.getElementById('state').textContent === 'the gateway does not answer'")


def test_metrics_are_what_prometheus_reads_and_what_was_forecast(made: tuple[Path, Array], tmp_path: Path) -> None:
    bundle, samples = made
    with running(bundle, tmp_path, {"listen": "127.0.0.1:0"}) as gateway:
        code, text = gateway.get("/metrics")
        (info,) = text_string_to_metric_families(text)
        assert (code, info.name) == (200, "edge_tqs_info")
        gateway.say(gateways.lines(samples))
        reports = gateway.answers(SAMPLES)
        for _ in range(100):  # a report goes to standard output first
            families = {one.name: one for one in text_string_to_metric_families(gateway.get("/metrics")[1])}
            (time,) = families["edge_tqs_sample_timestamp_seconds"].samples
            if time.value == 1714521600 + 600 * (SAMPLES - 1):
                break
        forecast = {
            (one.labels["output"], int(one.labels["lead"])): one.value for one in families["edge_tqs_forecast"].samples
        }
        wanted = reports[-1]["forecast"]["values"]
        assert forecast == {(name, n + 1): row[name] for n, row in enumerate(wanted) for name in gateways.COLUMNS}
        errors = families["edge_tqs_error"].samples
        assert {one.labels["lead"] for one in errors} == {"1", "2", "3", "4", "5", "6"}
        states = [one for one in families["edge_tqs_sensor_state"].samples if one.value]
        assert [(one.labels["column"], one.labels["state"]) for one in states] == [("flow", "ok"), ("load", "ok")]


def test_only_this_machine_may_ask_and_only_for_what_there_is(made: tuple[Path, Array], tmp_path: Path) -> None:
    with running(made[0], tmp_path, {"listen": "127.0.0.1:0", "names": "gate.example.org"}) as gateway:
        for host in ("evil.example.org", "evil.example.org:8088", "", "localhost.evil.example.org"):
            assert gateway.get("/state.json", host)[0] == 403
        for host in ("127.0.0.1:1", "[::1]:5", "localhost", "gate.example.org:80"):
            assert gateway.get("/state.json", host)[0] == 200
        assert gateway.get("/../model.json")[0] == 404
        assert gateway.get("/state.json?after=0")[0] == 204
        request = urllib.request.Request(gateway.address, b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(request, timeout=10)
        page = gateway.get("/")[1]
        assert not re.search(r"(src|href)=|@import|url\(", page.split("<script>")[0])


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"listen": "here:80"}, "an address of this machine and a port"),
        ({"listen": "192.0.2.1:80"}, "cannot listen at"),
    ],
)
def test_where_nothing_can_listen(made: tuple[Path, Array], tmp_path: Path, page: dict[str, Any], said: str) -> None:
    config = gateways.config(tmp_path / "forecastd.json", sinks=[{"kind": "page", **page}])
    code, _, error = gateways.run(made[0], "--config", config)
    assert (code, error.count("\n")) == (2, 1)
    assert said in error
