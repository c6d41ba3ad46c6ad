"""Boards of a lab that labgrid shares out: a place is acquired, its serial port used, and the place given back.

By the program labgrid-client, which knows the lab's coordinator by LG_COORDINATOR
(https://labgrid.readthedocs.io/en/latest/man/client.html).
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_tqs.errors import DeviceError, ToolError

#: Of a port: labgrid://PLACE.
SCHEME = "labgrid://"
_CLIENT = "labgrid-client"
_SECONDS = 60
_ACQUIRED = re.compile(r"^Acquired resource '[^']*' \(.*\):\n((?:  .*\n?)+)", re.MULTILINE)
_SCHEMES = {"raw": "socket", "rfc2217": "rfc2217"}


@contextmanager
def port_of_place(place: str) -> Iterator[str]:
    """The URL of the serial port of ``place``, which is acquired for so long.

    Raises ToolError without labgrid-client; DeviceError where the place is not there, somebody else has it, or it has
    not exactly one serial port.
    """
    _client(place, "acquire")
    try:
        yield _serial_port(place, _client(place, "show"))
    finally:
        _client(place, "release")


def _client(place: str, command: str) -> str:
    if shutil.which(_CLIENT) is None:
        raise ToolError(f"{SCHEME}{place} needs {_CLIENT}", hint="pip install labgrid, and set LG_COORDINATOR.")
    try:
        done = subprocess.run(
            [_CLIENT, "-p", place, command], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{_CLIENT} {command} takes more than {_SECONDS} s", hint="Is LG_COORDINATOR right?"
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise DeviceError(
            f"labgrid does not {command} {place}: {said[-1]}", hint=f"Look at it: `{_CLIENT} -p {place} show`."
        )
    return done.stdout


def _serial_port(place: str, shown: str) -> str:
    """The URL, from what `show` prints of the resources that were acquired: a dictionary of Python each."""
    found = []
    for text in _ACQUIRED.findall(shown):
        try:
            resource: Any = ast.literal_eval(text.strip())
            params = resource["params"]
            if resource["cls"] == "NetworkSerialPort" and resource["avail"]:
                scheme = _SCHEMES[params.get("protocol") or "rfc2217"]
                host = (params.get("extra") or {}).get("proxy") if params["host"] is None else params["host"]
                found.append(f"{scheme}://{host}:{int(params['port'])}")
        except (ValueError, SyntaxError, KeyError, TypeError) as error:
            raise DeviceError(f"{_CLIENT} shows {place} in a way that is not known: {error}") from error
    if len(found) != 1:
        raise DeviceError(
            f"place {place} has {len(found)} serial ports, not one",
            hint=f"Match one NetworkSerialPort or USBSerialPort: `{_CLIENT} -p {place} add-match ...`.",
        )
    return found[0]
