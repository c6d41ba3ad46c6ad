# SPDX-License-Identifier: Apache-2.0
"""Registers of a Modbus device, over TCP or a serial line (RTU), by pymodbus."""

from __future__ import annotations

import inspect
import logging
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forecastd.asking import Asking, every
from forecastd.resample import Reading
from forecastd.settings import key, one_of, text, whole
from forecastd.sources import Column, Context, SourceError
from forecastd.trouble import Trouble

_REGISTER = re.compile(r"(holding|input) (\d{1,5}) (int16|uint16|int32|uint32|float32)( swapped)?")
_KINDS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}


@dataclass(frozen=True)
class Settings:
    """host, tcp_port: of a device on the network; or port, baud, parity: of a serial line. unit: the device there.
    every: how often it is asked. timeout: seconds for an answer.

    `from` of a column is its register, numbered from 0: "holding 100 int16", "input 4 float32", and "input 4 float32
    swapped" where the word that counts less comes first.
    """

    host: str | None = key(text, '"host": "192.168.1.20"', None)
    tcp_port: int = key(whole(1, 65_535), '"tcp_port": 502', 502)
    port: str | None = key(text, '"port": "/dev/ttyUSB0"', None)
    baud: int = key(whole(300, 4_000_000), '"baud": 9600', 9600)
    parity: str = key(one_of("N", "E", "O"), '"parity": "N"', "N")
    unit: int = key(whole(0, 247), '"unit": 1', 1)
    every: float = key(every, '"every": "10s"', 10.0)
    timeout: int = key(whole(1, 60), '"timeout": 3', 3)


def check(settings: Settings) -> list[str]:
    """Mistakes of settings that are each right."""
    if (settings.host is None) == (settings.port is None):
        return ['one of "host" and "port" says where it is: write "host": "192.168.1.20", or "port": "/dev/ttyUSB0"']
    return []


class Source:
    """A device that does not answer is asked again at the next turn. Raises SourceError where pymodbus is missing, or a
    column names no register."""

    live = True

    def __init__(self, settings: Settings, context: Context) -> None:
        try:
            from pymodbus.client import ModbusSerialClient, ModbusTcpClient
            from pymodbus.exceptions import ModbusException
        except ImportError as error:
            raise SourceError(
                f"Modbus needs pymodbus 3: {error}. Try: sudo apt install python3-pymodbus "
                "python3-serial-asyncio, or pip install pymodbus"
            ) from error
        self._registers = [(column, *_register(column)) for column in context.columns]
        self.counters = {"no answer": 0, "unreadable": 0}
        self._fault: Any = (ModbusException, OSError)
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it tells each try; `trouble` tells the first
        self._trouble = Trouble("source modbus")
        self._device_at = f"{settings.host}:{settings.tcp_port}" if settings.port is None else settings.port
        if settings.host is not None:
            self._client: Any = ModbusTcpClient(settings.host, port=settings.tcp_port, timeout=settings.timeout)
        else:
            self._client = ModbusSerialClient(
                port=settings.port or "", baudrate=settings.baud, parity=settings.parity, timeout=settings.timeout
            )
        # Its name changed twice: slave, then device_id (3.10).
        known = inspect.signature(self._client.read_holding_registers).parameters
        self._device = {"device_id" if "device_id" in known else "slave": settings.unit}
        self._asking = Asking(settings.every, self._ask)

    def poll(self, seconds: float) -> Sequence[Reading]:
        return self._asking.poll(seconds)

    def _ask(self) -> dict[str, float]:
        values = {}
        try:
            if not self._client.connect():
                raise OSError("no connection")
            for column, table, address, layout, swapped in self._registers:
                read = self._client.read_holding_registers if table == "holding" else self._client.read_input_registers
                answer = read(address, count=struct.calcsize(layout) // 2, **self._device)
                if answer.isError():
                    self._unread(f"{column.source} is refused: {answer}")
                    continue
                if len(answer.registers) != struct.calcsize(layout) // 2:
                    self._unread(f"{column.source} is answered by {len(answer.registers)} registers")
                    continue
                words = answer.registers[::-1] if swapped else answer.registers
                (value,) = struct.unpack(layout, b"".join(word.to_bytes(2, "big") for word in words))
                if math.isfinite(value):
                    values[column.name] = column.value(float(value))
            self._trouble.over()
        except self._fault as error:
            self.counters["no answer"] += 1
            self._trouble.said(f"{self._device_at} does not answer: {error}")
            self._client.close()
        return values

    def _unread(self, words: str) -> None:
        self.counters["unreadable"] += 1
        self._trouble.once(f"{self._device_at}: {words}")

    def close(self) -> None:
        self._client.close()


def _register(column: Column) -> tuple[str, int, str, bool]:
    """(table, address, layout, whether its words are swapped)."""
    found = _REGISTER.fullmatch(column.source)
    if found is None or int(found[2]) > 65_535:
        raise SourceError(
            f"column {column.name} is read from {column.source}, which is no register: write "
            f'"{column.name}": {{"from": "holding 100 int16", "scale": 0.1}} under "columns"'
        )
    return found[1], int(found[2]), _KINDS[found[3]], bool(found[4])
