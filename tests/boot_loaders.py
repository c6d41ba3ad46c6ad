"""The serial boot loaders in the ROMs of two parts, behind a PTY, as far as flash tools use them.

They are written from the vendors' documents: ST AN3155 (USART protocol) and Espressif's "Serial Protocol" page of
esptool. The tools that talk to them are the real ones.
"""

from __future__ import annotations

import hashlib
import os
import pty
import struct
import termios
import threading
import tty
from abc import ABC, abstractmethod
from functools import reduce
from operator import xor

ACK, NACK = b"\x79", b"\x1f"


class Rom(ABC):
    """A port, and a thread that answers what comes in. ``flash``: the part's, erased. ``writes``: writes seen."""

    origin = 0

    def __init__(self, size: int) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave, self.port = slave, os.ttyname(slave)
        self.flash = bytearray(b"\xff" * size)
        self.writes = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Rom:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._slave)
        os.close(self._master)
        self._thread.join(5)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += os.read(self._master, count - len(data))
        return data

    def write(self, data: bytes) -> None:
        os.write(self._master, data)

    def _serve(self) -> None:
        try:
            while True:
                self.serve()
        except (OSError, termios.error, ValueError):
            return  # the port was closed

    @abstractmethod
    def serve(self) -> None:
        """Answer one request."""


class Stm32Rom(Rom):
    """An STM32F1: device id and page erase of a medium-density part."""

    origin = 0x08000000

    def __init__(self, device_id: int = 0x410, *, worn: bool = False) -> None:
        self.device_id, self.worn = device_id, worn
        super().__init__(64 << 10)

    def serve(self) -> None:
        command = self.read(1)[0]
        if command == 0x7F:
            self.write(ACK)
            return
        if self.read(1)[0] != command ^ 0xFF:
            self.write(NACK)
            return
        answers = {
            0x00: b"\x0b\x22" + bytes([0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x43, 0x63, 0x73, 0x82, 0x92]),
            0x01: b"\x22\x00\x00",
            0x02: b"\x01" + struct.pack(">H", self.device_id),
        }
        if command in answers:
            self.write(ACK + answers[command] + ACK)
        elif command in (0x11, 0x31, 0x21):
            self.write(ACK)
            address = struct.unpack(">I", self.read(5)[:4])[0]
            at = address - self.origin
            self.write(ACK if 0 <= at < len(self.flash) else NACK)
            if command == 0x11:
                count = self.read(2)[0] + 1
                self.write(ACK + bytes(self.flash[at : at + count]))
            elif command == 0x31:
                count = self.read(1)[0] + 1
                data, checksum = self.read(count), self.read(1)[0]
                assert reduce(xor, data, count - 1) == checksum
                self.flash[at : at + count] = data
                if self.worn:
                    self.flash[at] ^= 1
                self.writes += 1
                self.write(ACK)
        elif command == 0x43:
            self.write(ACK)
            count = self.read(1)[0]
            if count == 0xFF:
                self.read(1)
                pages = list(range(64))
            else:
                pages = list(self.read(count + 2)[:-1])
            for page in pages:
                self.flash[page << 10 : (page + 1) << 10] = b"\xff" * 1024
            self.write(ACK)
        else:
            self.write(NACK)


class EspRom(Rom):
    """An ESP32-C3 (chip id 5), or another chip id. Packets are framed by SLIP."""

    def __init__(self, chip_id: int = 5, *, worn: bool = False) -> None:
        self.chip_id, self.worn = chip_id, worn
        self._registers = {0x40001000: 0x1B31506F}
        self._begin = (0, 0, 0, 0)
        super().__init__(4 << 20)

    def serve(self) -> None:
        while self.read(1) != b"\xc0":
            pass
        packet = b""
        while (byte := self.read(1)) != b"\xc0":
            packet += byte
        packet = packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        if len(packet) >= 8 and packet[0] == 0:
            kind, size, checksum = struct.unpack_from("<xBHI", packet)
            self._answer(kind, size, checksum, packet[8:])

    def _reply(self, command: int, value: int = 0, data: bytes = b"", status: bytes = bytes(4)) -> None:
        body = struct.pack("<BBHI", 1, command, len(data + status), value) + data + status
        self.write(b"\xc0" + body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")

    def _answer(self, command: int, _: int, checksum: int, data: bytes) -> None:
        words = struct.unpack_from(f"<{len(data) // 4}I", data)
        if command == 0x08:
            for _ in range(8):
                self._reply(command)
        elif command == 0x0A:
            self._reply(command, self._registers.get(words[0], 0))
        elif command == 0x09:
            self._registers[words[0]] = words[1]
            if words[0] == 0x60002000:  # SPI1's command register: the flash says what it is
                self._registers |= {0x60002000: 0, 0x60002058: 0x1640EF}
            self._reply(command)
        elif command == 0x14:
            self._reply(command, 0, struct.pack("<I8BII", 0, *[0] * 8, self.chip_id, 0))
        elif command == 0x02:
            self._begin = words[:4]
            self._reply(command)
        elif command == 0x03:
            size, number, (_, _, block, offset) = words[0], words[1], self._begin
            piece = data[16 : 16 + size]
            right = reduce(xor, piece, 0xEF) == checksum & 0xFF
            if right:
                at = offset + number * block
                self.flash[at : at + size] = piece
                self.flash[at] ^= int(self.worn)
                self.writes += 1
            self._reply(command, status=bytes(4) if right else b"\x01\x07\0\0")
        elif command == 0x13:
            at, size = words[:2]
            self._reply(command, 0, hashlib.md5(self.flash[at : at + size]).hexdigest().encode())
        else:
            self._reply(command)
