"""A real Chromium without a window, driven by its chromedriver (W3C WebDriver, https://www.w3.org/TR/webdriver2)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMEDRIVER = shutil.which("chromedriver")
#: Ubuntu has no package of it but a snap, which needs a running system; on Debian tools/setup installs it, and a test
#: without it fails.
_UBUNTU = "ID=ubuntu" in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
needs_browser = pytest.mark.skipif(CHROMEDRIVER is None and _UBUNTU, reason="no chromedriver: Ubuntu has no package")

#: What of a page does not fit: names of elements that are cut off, or that widen the page.
CLIPPED = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll("body, body *")].filter(one => {
  const box = one.getBoundingClientRect(), style = getComputedStyle(one);
  if (box.width === 0 || style.position === "fixed" || one.closest("svg") && one.tagName !== "svg") return false;
  if (one.closest(".uplot") && !one.classList.contains("uplot")) return false;
  const cut = style.overflowX !== "visible" || ["TABLE", "TD", "TH"].includes(one.tagName);
  return box.right > wide + 1 || box.left < -1 || cut && one.scrollWidth > one.clientWidth + 1;
}).map(one => one.tagName + "#" + one.id + "." + one.className);
"""


class Browser:
    """A window of one page."""

    def __init__(self, address: str, session: str) -> None:
        self._base = f"{address}/session/{session}"

    def ask(self, method: str, path: str, **said: Any) -> Any:
        return _ask(method, f"{self._base}/{path}", said if method == "POST" else None)

    def open(self, url: str) -> None:
        self.ask("POST", "url", url=url)

    def size(self, width: int, height: int = 1000) -> None:
        """Of the page, not of the window."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def dark(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", media="", features=[scheme])

    def printing(self) -> None:
        self.cdp("Emulation.setEmulatedMedia", media="print", features=[])

    def cdp(self, command: str, **said: Any) -> Any:
        return self.ask("POST", "goog/cdp/execute", cmd=command, params=said)

    def run(self, script: str) -> Any:
        return self.ask("POST", "execute/sync", script=script, args=[])

    def wait(self, script: str, seconds: float = 20) -> Any:
        """What the script returns, once that is something."""
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < until, (
                f"not within {seconds} s: {script}\n{self.run('return document.body.innerText')}"
            )
            time.sleep(0.05)
        return found

    def errors(self) -> list[str]:
        """What the page's console holds that is an error."""
        return [entry["message"] for entry in self.ask("POST", "se/log", type="browser") if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        height = int(self.run("return document.documentElement.scrollHeight"))
        self.size(int(self.run("return document.documentElement.clientWidth")), height)
        path.write_bytes(base64.b64decode(self.ask("GET", "screenshot")))


@contextmanager
def browser() -> Iterator[Browser]:
    assert CHROMEDRIVER is not None, "tools/setup installs chromium-driver"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    quiet = subprocess.DEVNULL
    with subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=quiet, stderr=quiet) as driver:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    _ask("GET", f"{address}/status", None)
                    break
                except OSError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            flags = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
            flags += ["--no-sandbox"] if os.geteuid() == 0 else []
            wanted = {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}
            made = _ask("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
            try:
                yield Browser(address, made["sessionId"])
            finally:  # the browser ends with it, and not with its driver
                _ask("DELETE", f"{address}/session/{made['sessionId']}", None)
        finally:
            driver.terminate()


def _ask(method: str, url: str, said: dict[str, Any] | None) -> Any:
    data = None if said is None else json.dumps(said).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()[:2000]) from error
