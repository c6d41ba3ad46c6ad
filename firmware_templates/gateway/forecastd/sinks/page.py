# SPDX-License-Identifier: Apache-2.0
"""A local page with the live sensors, the forecast, its errors by lead and what is wrong; and /metrics for Prometheus.

One HTML file that needs nothing from elsewhere; uPlot (MIT, web/UPLOT_LICENSE.txt) draws. It is served to this machine
alone unless `listen` says more. It only shows: there is nothing to change by it.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import gethostname
from typing import Any
from urllib.parse import parse_qs, urlsplit

from forecastd.clock import SECOND, period_text
from forecastd.metrics import metrics
from forecastd.report import Report
from forecastd.settings import address, key, text
from forecastd.sinks import About, SinkError

#: Where it listens if nothing is said: at the first of these ports that is free.
_HOST, _PORT, _PORTS = "127.0.0.1", 8088, 32
#: Samples that the page shows, values in all; notices; connections at once, and how long one may take.
_SAMPLES, _VALUES, _NOTICES, _CONNECTIONS, _SECONDS = 500, 20_000, 30, 16, 10.0


@dataclass(frozen=True)
class Settings:
    """listen: address and port; "0.0.0.0:8088" shows it to the network. Left out: this machine alone, at 8088 or the
    next port that is free. names: by which browsers may call this machine, beside its own and its addresses."""

    listen: tuple[str, int] | None = key(address, '"listen": "0.0.0.0:8088"', None)
    names: str = key(text, '"names": "greenhouse.example.org"', "")


class Sink:
    """Serves in threads of its own. Raises SinkError where nothing can listen there."""

    def __init__(self, settings: Settings, about: About) -> None:
        self.counters: dict[str, int] = {}
        self._about, self._lock = about, threading.Lock()
        kept = max(2, min(_SAMPLES, _VALUES // len(about.model.columns)))
        self._times: deque[int] = deque(maxlen=kept)
        self._values: deque[tuple[float | None, ...]] = deque(maxlen=kept)
        self._notices: deque[tuple[float, str]] = deque(maxlen=_NOTICES)
        for sample in about.history:
            self._times.append(sample.time)
            self._values.append(sample.values)
        self._report: Report | None = None
        self._number = 0
        own = {"localhost", gethostname().lower(), f"{gethostname().lower()}.local"}
        self._names = own | {name.strip().lower() for name in settings.names.split(",") if name.strip()}
        self._page = _page()
        self._server = self._listen(settings)
        self._server.sink = self
        self.address = "http://{}:{}/".format(*self._server.server_address[:2])
        print(f"page: {self.address}", file=sys.stderr, flush=True)
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def _listen(self, settings: Settings) -> _Server:
        tried = [settings.listen] if settings.listen is not None else [(_HOST, _PORT + n) for n in range(_PORTS)]
        for place in tried:
            try:
                return _Server(place)
            except OSError as error:
                said = error.strerror
        raise SinkError(f'the page cannot listen at {tried[0][0]}:{tried[0][1]}: {said}; name another "listen"')

    def publish(self, report: Report) -> None:
        with self._lock:
            self._report, self._number = report, self._number + 1
            if report.sample:
                columns = self._about.model.columns
                self._times.append(report.time)
                self._values.append(tuple(report.sample.get(name) for name in columns))
            self._notices.extend((report.time / SECOND, words) for words in report.notices)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What the threads of the server ask for.

    def page(self) -> bytes:
        """The page, which asks for `state`."""
        return self._page

    def knows(self, host: str) -> bool:
        """Whether a request was meant for this machine: pages of others must not read it by a name that they made
        point here (DNS rebinding)."""
        name = urlsplit(f"//{host}").hostname or ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True

    def metrics(self) -> str:
        """The state as Prometheus reads it."""
        with self._lock:
            report = self._report
        return metrics(self._about, report)

    def state(self, after: str | None) -> bytes | None:
        """What the page shows; None where nothing came after the number that it shows."""
        with self._lock:
            if after == str(self._number):
                return None
            number, report = self._number, self._report
            times, values, notices = list(self._times), list(self._values), list(self._notices)
        return json.dumps(_state(self._about, number, report, times, values, notices), separators=(",", ":")).encode()


def _state(
    about: About,
    number: int,
    report: Report | None,
    times: list[int],
    values: list[tuple[float | None, ...]],
    notices: list[tuple[float, str]],
) -> dict[str, Any]:
    model = about.model
    history = dict(zip(model.columns, zip(*values))) if values else {}
    outputs = dict.fromkeys(target.label for target in about.targets) or dict.fromkeys(model.columns)
    labels = [name for name in model.columns if name in outputs]  # as people know them; then what is no column
    labels += [label for label in outputs if label not in labels]
    made: dict[str, Any] = {
        "number": number,
        "name": about.name,
        "model_hash": model.model_hash,
        "kind": model.kind,
        "period_text": period_text(about.period),
        "labels": labels,
        "units": dict(about.units),
        "window": model.window,
        "have": 0,
        "time": None,
        "history": {"times": [time / SECOND for time in times], "values": history},
        "promised": [{"label": label, "lead": lead, "mae": mae} for (label, lead), mae in about.promised.items()],
        "notices": notices,
        "forecast": None,
        "score": None,
        "chosen": None,
        "errors": [],
        "problems": [],
        "alarms": [],
        "states": {},
    }
    if report is None:
        return made
    rows = [*report.errors, *report.labels.values()]
    made |= {
        "time": report.time / SECOND,
        "have": min(report.have, report.window),
        "states": dict(report.states),
        "problems": list(report.problems),
        "alarms": list(report.alarms),
        "errors": [
            {"label": one.label, "lead": one.lead, "truths": one.truths, "mae": one.mae, "naive": one.naive,
             "promised": one.promised} for one in rows
        ],
    }  # fmt: skip
    forecast = report.forecast
    if forecast is not None:
        made["score"], made["chosen"] = forecast.score, forecast.chosen
        found = report.rows()
        made["forecast"] = {
            "times": [time / SECOND for time, _ in found],
            "leads": [(time - forecast.made) // report.period for time, _ in found],
            "values": {label: [row.get(label) for _, row in found] for label in labels},
        }
    return made


def _page() -> bytes:
    folder = Path(__file__).resolve().parent.parent / "web"
    page = (folder / "page.html").read_text(encoding="utf-8")
    for place, file in (("/*UPLOT_CSS*/", "uplot.css"), ("/*UPLOT_JS*/", "uplot.js")):
        page = page.replace(place, (folder / file).read_text(encoding="utf-8"))
    return page.encode()


class _Server(ThreadingHTTPServer):
    """Threads that end with the program, so many at once and no more."""

    daemon_threads = True
    sink: Sink

    def __init__(self, place: tuple[str, int]) -> None:
        import socket

        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    server_version, sys_version = "edge-tqs-forecastd", ""

    def do_GET(self) -> None:
        sink = self.server.sink
        if not sink.knows(self.headers.get("Host", "")):
            self._answer(403, "text/plain", b'this machine is not known by that name: add it to "names" of the page\n')
            return
        asked = urlsplit(self.path)
        if asked.path in ("/", "/index.html"):
            self._answer(200, "text/html; charset=utf-8", sink.page())
        elif asked.path == "/state.json":
            state = sink.state(parse_qs(asked.query).get("after", [None])[0])
            self._answer(200 if state is not None else 204, "application/json", state or b"")
        elif asked.path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4; charset=utf-8", sink.metrics().encode())
        else:
            self._answer(404, "text/plain", b"there is /, /state.json and /metrics\n")

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        self.send_header("Content-Security-Policy", policy + "; frame-ancestors 'none'; base-uri 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: Any) -> None:
        """Requests are not written down."""
