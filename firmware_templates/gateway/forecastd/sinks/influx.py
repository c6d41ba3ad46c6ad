# SPDX-License-Identifier: Apache-2.0
"""InfluxDB 1 (or VictoriaMetrics) by /write, and InfluxDB 2 by /api/v2/write: line protocol over HTTP, in a thread."""

from __future__ import annotations

import base64
import http.client
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecastd.clock import SECOND
from forecastd.report import Report
from forecastd.settings import key, text, whole
from forecastd.sinks import About, SinkError
from forecastd.trouble import Trouble

#: Reports of a request; seconds for an answer, and until the next try at most.
_BATCH, _TIMEOUT_S, _AGAIN_S = 200, 10.0, 30.0


@dataclass(frozen=True)
class Settings:
    """url: of the server. database: of InfluxDB 1, with user and password_file where it asks for one; or organisation,
    bucket and token_file: of InfluxDB 2. A file holds the secret alone. waiting: reports that wait while it is away;
    then the oldest are lost."""

    url: str = key(text, '"url": "http://192.168.1.10:8086"')
    database: str | None = key(text, '"database": "greenhouse"', None)
    user: str | None = key(text, '"user": "NAME"', None)
    password_file: str | None = key(text, '"password_file": "/etc/edge-tqs/influx"', None)
    organisation: str | None = key(text, '"organisation": "home"', None)
    bucket: str | None = key(text, '"bucket": "greenhouse"', None)
    token_file: str | None = key(text, '"token_file": "/etc/edge-tqs/influx"', None)
    waiting: int = key(whole(1, 1_000_000), '"waiting": 10000', 10_000)


def check(settings: Settings) -> list[str]:
    """Mistakes of settings that are each right."""
    found = []
    if not _is_address(settings.url):
        found.append(f'"url" is "{settings.url}": write "url": "http://192.168.1.10:8086"')
    elif "@" in settings.url:
        found.append('"url" holds a user or a password, which would be told: write "user" and "password_file"')
    if (settings.database is None) == (settings.bucket is None):
        found.append('one of "database" (InfluxDB 1) and "bucket" (InfluxDB 2) says where it goes: write one of them')
    if settings.bucket is not None and (settings.organisation is None or settings.token_file is None):
        found.append('a "bucket" needs "organisation" and "token_file" too')
    return found


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


class _Staying(urllib.request.HTTPRedirectHandler):
    """What is sent elsewhere would be a question without the lines, that elsewhere gets the secret with."""

    def redirect_request(self, *told: Any) -> None:
        return None


class Sink:
    """Never waits for the server. Raises SinkError where a secret cannot be read."""

    def __init__(self, settings: Settings, about: About) -> None:
        self.counters = {"lost": 0, "refused": 0}
        self._about = about
        self._request_of = self._addressed(settings)
        self._trouble, self._place = Trouble("sink influx"), f"InfluxDB at {settings.url}"
        self._opener = urllib.request.build_opener(_Staying)
        self._waiting: deque[str] = deque()
        self._most = settings.waiting
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._send, name="influx", daemon=True)
        self._thread.start()

    def _addressed(self, settings: Settings) -> tuple[str, dict[str, str]]:
        """(address, headers) of each request."""
        base, headers = settings.url.rstrip("/"), {"Content-Type": "text/plain; charset=utf-8"}
        if settings.bucket is not None:
            asked = {"org": settings.organisation or "", "bucket": settings.bucket, "precision": "ns"}
            headers["Authorization"] = f"Token {_secret(settings.token_file)}"
            return f"{base}/api/v2/write?{urllib.parse.urlencode(asked)}", headers
        if settings.user is not None:
            pair = f"{settings.user}:{_secret(settings.password_file)}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        return f"{base}/write?{urllib.parse.urlencode({'db': settings.database or '', 'precision': 'ns'})}", headers

    def publish(self, report: Report) -> None:
        with self._news:
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self.counters["lost"] += 1
            self._waiting.append(lines(self._about, report))
            self._news.notify()

    def _send(self) -> None:
        pause = 1.0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if not batch:
                return  # closed, and nothing waits
            if self._sent(batch):
                pause = 1.0
                continue
            with self._news:
                room = self._most - len(self._waiting)
                self.counters["lost"] += max(0, len(batch) - room)
                self._waiting.extendleft(reversed(batch[len(batch) - min(room, len(batch)) :]))
                if self._closed:
                    return
                self._news.wait_for(lambda: self._closed, pause)
            pause = min(2 * pause, _AGAIN_S)

    def _sent(self, batch: list[str]) -> bool:
        address, headers = self._request_of
        request = urllib.request.Request(address, "\n".join(batch).encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S):
                self._trouble.over()
                return True
        except urllib.error.HTTPError as error:
            words = _answer(error)
            if error.code in (301, 302, 303, 307, 308):
                self._trouble.said(f'{self._place} is elsewhere: write "url" as {error.headers.get("Location")} has it')
                return False
            if error.code in (401, 403, 404, 429) or error.code >= 500:
                self._trouble.said(f"{self._place} says {error.code} {words}; reports wait")
                return False  # it may be set right while it runs: a database that is made, a password
            self._trouble.said(f"{self._place} refuses what it was sent, which is lost: {error.code} {words}")
            self.counters["refused"] += len(batch)
            return True
        except (OSError, ValueError, http.client.HTTPException) as error:
            said = error.reason if isinstance(error, urllib.error.URLError) else error
            self._trouble.said(
                f"{self._place} does not answer: {str(said).strip() or type(error).__name__}; reports wait"
            )
            return False

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(1.0)


def _answer(error: urllib.error.HTTPError) -> str:
    """The first line of what a server says of itself."""
    try:
        text = error.read(300).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    error.close()
    (line, *_) = text.strip().splitlines() or [error.reason]
    return "".join(letter for letter in line if letter.isprintable())


def _secret(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SinkError(f"the secret cannot be read: {error}") from error


def lines(about: About, report: Report) -> str:
    """A report in line protocol: the sample, the forecast at the times that it is for, errors and states."""
    made = []
    tags = f",model={_name(about.name)}"
    fields = ",".join(f"{_name(name)}={value!r}" for name, value in report.sample.items())
    if fields:
        made.append(f"edge_tqs_sample{tags} {fields} {report.time}")
    states = ",".join(f"{_name(name)}={_text(state)}" for name, state in report.states.items())
    wrong = len(report.problems) + len(report.alarms)
    made.append(f"edge_tqs_state{tags} {states + ',' if states else ''}problems={wrong}i {report.time}")
    if report.forecast is not None:
        for time, row in report.rows():
            lead = (time - report.forecast.made) // report.period
            values = ",".join(f"{_name(label)}={value!r}" for label, value in row.items())
            made.append(f"edge_tqs_forecast{tags},lead={lead} {values},made={report.forecast.made // SECOND}i {time}")
        if report.forecast.score is not None:
            made.append(f"edge_tqs_anomaly{tags} score={report.forecast.score!r} {report.time}")
    for error in (*report.errors, *report.labels.values()):
        known = {"mae": error.mae, "naive": error.naive, "promised": error.promised}
        values = ",".join(f"{name}={value!r}" for name, value in known.items() if value is not None)
        of = f"output={_name(error.label)},lead={error.lead or 'all'}"
        made.append(f"edge_tqs_error{tags},{of} {values} {report.time}")
    return "\n".join(made)


def _name(text: str) -> str:
    """A key, or the value of a tag."""
    safe = text.replace("\\", "/").replace("\n", " ")
    return safe.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
