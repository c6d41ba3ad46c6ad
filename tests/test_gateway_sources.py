"""Where readings come from: a serial port (PTY), files as Linux shows sensors, a Modbus server, InfluxDB's lines."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gateways  # noqa: F401 - finds forecastd
import pytest
from forecastd.resample import Reading
from forecastd.settings import read
from forecastd.sources import KINDS, Column, Context, SourceError, module_of
from forecastd.sources.influx import parse
from hypothesis import example, given
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COLUMNS = (Column("flow", "T1", 0.5, 1.0), Column("load", "RH"))


def source(kind: str, columns: tuple[Column, ...] = COLUMNS, **table: Any) -> Any:
    mistakes: list[str] = []
    module = module_of(kind)
    settings = read(module.Settings, table, "source", mistakes)
    assert mistakes == []
    assert getattr(module, "check", lambda settings: [])(settings) == []
    return module.Source(settings, Context(columns, None))


def readings(made: Any, count: int) -> list[Reading]:
    found: list[Reading] = []
    until = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < until, found
        found += made.poll(0.2)
    return found


@pytest.fixture
def wire() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for end in (master, slave):
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"fields": ["RH", "other", "T1"]}, "70.5, 3, 21\r\n# a comment\n1,2\n, x, 22\n71,4,nan\n"),
        ({"fields": ["RH", "other", "T1"], "delimiter": ";"}, "70.5; 3; 21\nrubbish\n;;22\n71;;nan\n"),
        (
            {"format": "json"},
            '{"T1": 21, "RH": "70.5"}\n{"T1": 1%s}\n{"T1": 22, "RH": null}\n{"RH": 71}\n' % ("0" * 400),
        ),
    ],
)
def test_lines_of_a_serial_port(wire: tuple[int, str], table: dict[str, Any], said: str) -> None:
    made = source("serial", port=wire[1], baud=115_200, **table)
    assert made.poll(0) == []
    before = time.time_ns()
    os.write(wire[0], said.encode() + b"half of a li")
    found = readings(made, 3)
    assert [one.values for one in found] == [{"flow": 11.5, "load": 70.5}, {"flow": 12.0}, {"load": 71.0}]
    assert all(before <= one.time <= time.time_ns() for one in found)
    assert made.counters == {"unreadable": 1, "port lost": 0}
    made.close()


def test_a_serial_port_may_come_late_and_go_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forecastd.sources.serial._AGAIN_S", 0.0)
    link = tmp_path / "ttyUSB0"
    made = source("serial", port=str(link))
    assert made.poll(0.01) == ()
    for lost in range(2):
        master, slave = os.openpty()
        tty.setraw(slave)
        link.symlink_to(os.ttyname(slave))
        made.poll(0)
        os.write(master, b"20,50\n")
        assert readings(made, 1)[0].values == {"flow": 11.0, "load": 50.0}
        link.unlink()
        os.close(slave)
        os.close(master)
        while made.counters["port lost"] == lost:
            made.poll(0.01)


def test_files_as_linux_shows_sensors(tmp_path: Path) -> None:
    for device, value in (("hwmon3", "21500\n"), ("iio0", "0.25\n")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "input").write_text(value)
    columns = (Column("flow", f"{tmp_path}/hwmon*/input", 0.001), Column("load", f"{tmp_path}/iio0/input"))
    made = source("sysfs", columns, every="100ms")
    assert readings(made, 1)[0].values == {"flow": 21.5, "load": 0.25}
    (tmp_path / "hwmon3").rename(tmp_path / "hwmon4")  # as after another boot
    (tmp_path / "iio0" / "input").write_text("error")
    first, second = readings(made, 2)
    assert first.values == {"flow": 21.5}
    assert second.time - first.time > 90_000_000
    assert made.counters["unreadable"] >= 2
    with pytest.raises(SourceError, match=r"is no path: write .*hwmon"):
        source("sysfs", (Column("flow", "temp1"),))
    (tmp_path / "hwmon5").mkdir()
    (tmp_path / "hwmon5" / "input").write_text("1")
    with pytest.raises(SourceError, match="several files"):
        source("sysfs", columns)


@pytest.fixture
def modbus() -> Iterator[int]:
    """A device with numbers of each kind in its registers."""
    words = struct.unpack(">8H", struct.pack(">hHif", -215, 65_000, -100_000, 0.25) + struct.pack(">HH", 0, 16_000))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    loop = asyncio.new_event_loop()

    async def start() -> ModbusTcpServer:
        device = SimDevice(1, simdata=[SimData(0, values=list(words), datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        return server

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_registers_of_a_modbus_device(modbus: int, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("holding 0 int16", "holding 1 uint16", "input 2 int32", "input 4 float32", "holding 6 uint32 swapped")
    columns = tuple(Column(name, name, 0.1 if n == 0 else 1.0) for n, name in enumerate(names))
    made = source("modbus", columns, host="127.0.0.1", tcp_port=modbus, every="100ms")
    assert list(readings(made, 1)[0].values.values()) == [-21.5, 65_000, -100_000, 0.25, 16_000 << 16]
    made.close()
    away = source(
        "modbus", (*columns, Column("none", "holding 900 int16")), host="127.0.0.1", tcp_port=modbus, every="100ms"
    )
    assert "none" not in readings(away, 1)[0].values
    assert away.counters["unreadable"] == 1
    assert "holding 900 int16 is refused" in capfd.readouterr().err
    away.close()
    nobody = source("modbus", columns, host="127.0.0.1", tcp_port=1, timeout=1)
    assert nobody.poll(0.01) == ()
    assert nobody.counters["no answer"] == 1
    (told,) = capfd.readouterr().err.splitlines()
    assert "127.0.0.1:1 does not answer" in told
    nobody.close()


def test_registers_on_a_serial_line(wire: tuple[int, str], capfd: pytest.CaptureFixture[str]) -> None:
    """RTU: a device made by hand from the specification; it answers each register by its number, 7 by none at all."""

    def crc(data: bytes) -> bytes:
        left = 0xFFFF
        for one in data:
            left ^= one
            for _ in range(8):
                left = left >> 1 ^ (0xA001 if left & 1 else 0)
        return struct.pack("<H", left)

    def device() -> None:
        with suppress(OSError):  # the wire is cut at the end
            while True:
                answer(os.read(wire[0], 8))

    def answer(asked: bytes) -> None:
        unit, table, first, count = struct.unpack(">BBHH", asked[:6])
        assert crc(asked[:6]) == asked[6:]
        words = b"".join(struct.pack(">H", first + n) for n in range(count if first != 7 else 0))
        said = struct.pack(">BBB", unit, table, len(words)) + words
        os.write(wire[0], said + crc(said))

    threading.Thread(target=device, daemon=True).start()
    names = ("holding 100 int16", "input 4 uint32", "input 4 uint32 swapped", "holding 7 int16")
    made = source("modbus", tuple(Column(name, name) for name in names), port=wire[1], every="100ms", unit=9)
    (reading,) = readings(made, 1)
    assert list(reading.values.values()) == [100, 4 << 16 | 5, 5 << 16 | 4]
    assert made.counters == {"no answer": 0, "unreadable": 1}
    assert "holding 7 int16 is answered by 0 registers" in capfd.readouterr().err
    made.close()


@pytest.mark.parametrize("register", ["coil 1 int16", "holding 1", "holding 99999 int16", "T1"])
def test_what_is_no_register(register: str) -> None:
    with pytest.raises(SourceError, match=r'is no register: write .*"holding 100 int16"'):
        source("modbus", (Column("flow", register),), host="127.0.0.1")


def test_lines_of_telegraf(capfd: pytest.CaptureFixture[str]) -> None:
    columns = (Column("flow", "climate.temp", 2.0), Column("load", "meter.power"))
    made = source("influx", columns, listen="127.0.0.1:0", tags={"room": "north"})
    place = made._socket.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as telegraf:
        telegraf.sendto(
            b"climate,host=pi,room=north temp=10.5,humidity=60i 1700000000000000000\n"
            b"climate,room=south temp=99\n# a comment\nrubbish\nclimate,room=north temp=1 1700000000000000000000\n"
            b'meter,room=north state="on, yes",power=7u 1700000000500000000\n',
            place,
        )
        telegraf.sendto(b"climate,room=north temp=11 1700000001000000000", place)
        found = readings(made, 3)
    assert found == [
        Reading(1_700_000_000_000_000_000, {"flow": 21.0}),
        Reading(1_700_000_000_500_000_000, {"load": 7.0}),
        Reading(1_700_000_001_000_000_000, {"flow": 22.0}),
    ]
    assert made.counters == {"unreadable": 2}
    assert capfd.readouterr().err.count("\n") == 1
    made.close()
    with pytest.raises(SourceError, match='name another "listen"'):
        source("influx", columns, listen="192.0.2.1:8094")
    mistakes: list[str] = []
    read(module_of("influx").Settings, {"listen": "8094"}, "source", mistakes)  # which is no word of all networks
    assert 'write "listen": "127.0.0.1:8094"' in mistakes[0]


words = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\\\x00"), min_size=1, max_size=8)


@given(
    words,
    st.dictionaries(words, words, max_size=3),
    st.dictionaries(words, st.floats(-1e9, 1e9), min_size=1, max_size=3),
)
def test_a_line_is_read_as_it_was_written(name: str, tags: dict[str, str], fields: dict[str, float]) -> None:
    def escaped(text: str, separators: str = ", =") -> str:
        return "".join(f"\\{one}" if one in separators else one for one in text)

    if '"' in "".join(fields) or name.startswith("#"):
        return  # quotes in names of fields are what servers read in different ways
    head = escaped(name) + "".join(f",{escaped(tag)}={escaped(value)}" for tag, value in tags.items())
    line = f"{head} {','.join(f'{escaped(field)}={value!r}' for field, value in fields.items())} 12"
    assert parse(line) == (name, tags, fields, 12)


@given(st.text(max_size=60) | st.text('"\\ ,=a1', min_size=60, max_size=200))
@example("m a=" + '"' * 200 + "\\")
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        _, _, fields, _ = parse(line)
    except ValueError:
        return
    assert all(math.isfinite(value) for value in fields.values())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_described(kind: str) -> None:
    page = (Path(__file__).parents[1] / "docs/how-to/gateway.md").read_text()
    assert f"| `{kind}` |" in page
