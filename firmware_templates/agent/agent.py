#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A forecaster on a Linux board: runs model.tflite, and serves it on a serial port.

As a server (the protocol is edge-tqs' PROTOCOL.md, version 3):

    python3 agent.py --port /dev/serial0

As a library: forecaster.py, beside this file.

Needs what forecaster.py needs, pyserial and cobs.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import struct
import sys
import time
import tty
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.dont_write_bytecode = True  # the folder stays as it was written

from forecaster import Forecaster, ForecasterError  # noqa: E402

PROTOCOL_VERSION = 3
MAX_PAYLOAD = 1024
UNKNOWN_SIZE = 0xFFFFFFFF
CLOCK_MONOTONIC_COUNTER = 3
NANOSECONDS = 10**9

HELLO, RESET, PUSH, FORECAST, STATUS = 0x01, 0x02, 0x03, 0x04, 0x05
HELLO_REPLY, ACK, STEP, DONE, STATUS_REPLY, NAK = 0x81, 0x82, 0x84, 0x85, 0x86, 0xFF
BAD_FRAME, UNKNOWN_TYPE, BAD_LENGTH, BAD_VERSION, NOT_READY, OUT_OF_ORDER = 1, 2, 3, 4, 5, 6


class AgentError(Exception):
    """The port cannot be opened."""


class Line:
    """A serial port or pseudo-terminal as frames. Holds at most one longest frame."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        longest = 8 + MAX_PAYLOAD
        self._limit = longest + longest // 254 + 1
        self._held = bytearray()
        self._overlong = False
        self.dropped = 0

    def disturbed(self) -> bool:
        """Whether a byte has arrived."""
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def send(self, kind: int, sequence: int, payload: bytes) -> None:
        from cobs import cobs

        body = struct.pack("<BBH", kind, sequence, len(payload)) + payload
        rest = cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"
        while rest:
            select.select([], [self._descriptor], [])
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                continue

    def requests(self) -> Iterator[tuple[int, int, bytes] | None]:
        """(type, sequence, payload) of each request; None for a frame that is damaged. Ends when the line does."""
        while True:
            select.select([self._descriptor], [], [])
            try:
                data = os.read(self._descriptor, 4096)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
            if not data:
                return
            *ends, rest = data.split(b"\0")
            for piece in ends:
                self._hold(piece)
                if self._held or self._overlong:
                    yield self._take()
            self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        if self._overlong or len(self._held) + len(piece) > self._limit:
            self._overlong = True
            self._held.clear()
        else:
            self._held += piece

    def _take(self) -> tuple[int, int, bytes] | None:
        from cobs import cobs

        held, overlong = bytes(self._held), self._overlong
        self._held.clear()
        self._overlong = False
        try:
            raw = b"" if overlong else cobs.decode(held)
        except cobs.DecodeError:
            raw = b""
        body, crc = raw[:-4], raw[-4:]
        sound = 8 <= len(raw) <= 8 + MAX_PAYLOAD and struct.unpack("<I", crc)[0] == zlib.crc32(body)
        if not sound or struct.unpack_from("<H", body, 2)[0] != len(body) - 4:
            self.dropped += 1
            return None
        return body[0], body[1], body[4:]


class Server:
    """The device's side of the protocol."""

    def __init__(self, forecaster: Forecaster, line: Line, board: str) -> None:
        self._forecaster = forecaster
        self._line = line
        self._board = board.encode("ascii")[:255]
        self._last: tuple[int, int] | None = None
        self._next = 0  # the step that a forecast in hand comes to next; 0 if there is none

    def serve(self) -> None:
        """Answer requests until the line ends."""
        answers = {
            HELLO: self._hello,
            RESET: self._reset,
            PUSH: self._push,
            FORECAST: self._forecast,
            STATUS: self._status,
        }
        for request in self._line.requests():
            if request is None:
                self._line.send(NAK, 0, bytes([BAD_FRAME]))
                continue
            kind, sequence, payload = request
            refusal = answers[kind](sequence, payload) if kind in answers else UNKNOWN_TYPE
            if refusal is not None:
                self._line.send(NAK, sequence, bytes([refusal]))

    def _hello(self, sequence: int, payload: bytes) -> int | None:
        if payload[:1] != bytes([PROTOCOL_VERSION]):
            return BAD_VERSION if payload else BAD_LENGTH
        if len(payload) != 1:
            return BAD_LENGTH
        self._last = None
        model = self._forecaster
        head = (PROTOCOL_VERSION, CLOCK_MONOTONIC_COUNTER, model.channels, model.window, MAX_PAYLOAD, NANOSECONDS)
        digest = bytes.fromhex(model.model_hash)
        block = (model.code_type.itemsize, model.outputs, model.steps, len(model.exogenous))
        reply = struct.pack("<BBHHHI32sBHHHB", *head, digest, *block, len(self._board)) + self._board
        self._line.send(HELLO_REPLY, sequence, reply)
        return None

    def _repeated(self, kind: int, sequence: int) -> bool:
        """Whether this request was the last one carried out; now it is."""
        repeated = self._last == (kind, sequence)
        self._last = (kind, sequence)
        return repeated

    def _acknowledge(self, sequence: int) -> None:
        self._line.send(ACK, sequence, struct.pack("<I", self._forecaster.pushed))

    def _reset(self, sequence: int, payload: bytes) -> int | None:
        if payload:
            return BAD_LENGTH
        if not self._repeated(RESET, sequence):
            self._forecaster.reset()
            self._next = 0
        self._acknowledge(sequence)
        return None

    def _push(self, sequence: int, payload: bytes) -> int | None:
        channels, code_type = self._forecaster.channels, self._forecaster.code_type
        if not payload or len(payload) != 1 + payload[0] * channels * code_type.itemsize:
            return BAD_LENGTH
        if not self._repeated(PUSH, sequence):
            for codes in np.frombuffer(payload, code_type, offset=1).reshape(payload[0], channels):
                self._forecaster.push_codes(codes)
            self._next = 0
        self._acknowledge(sequence)
        return None

    def _forecast(self, sequence: int, payload: bytes) -> int | None:
        model = self._forecaster
        if len(payload) < 4:
            return BAD_LENGTH
        first, steps = struct.unpack_from("<HH", payload)
        width = len(model.exogenous)
        if first + steps > 65536 or len(payload) != 4 + steps * width * model.code_type.itemsize:
            return BAD_LENGTH
        if not self._forecaster.ready:
            return NOT_READY
        if width and first not in (0, self._next):
            return OUT_OF_ORDER  # what was known of earlier steps is not kept
        self._last = (FORECAST, sequence)
        known = np.frombuffer(payload, model.code_type, offset=4).reshape(steps, width)
        begin, sent = (first if width else 0), 0
        if begin == 0:
            model.begin()
        self._next = begin
        for step in range(begin, first + steps if steps else begin):
            start = time.monotonic_ns()
            codes, states = model.next_codes(known[step - first] if width else ())
            self._next = step + 1
            ticks = (time.monotonic_ns() - start) & 0xFFFFFFFF
            if step >= first:
                head = struct.pack("<HII", step, ticks, zlib.crc32(states))
                self._line.send(STEP, sequence, head + codes.tobytes())
                sent += 1
            if self._line.disturbed():
                break  # the host asks for something else
        self._line.send(DONE, sequence, struct.pack("<H", sent))
        return None

    def _status(self, sequence: int, payload: bytes) -> int | None:
        if payload:
            return BAD_LENGTH
        self._last = (STATUS, sequence)
        memory = (UNKNOWN_SIZE,) * 3
        uptime = time.monotonic_ns() & 0xFFFFFFFF
        self._line.send(STATUS_REPLY, sequence, struct.pack("<IIIII", *memory, self._line.dropped & 0xFFFFFFFF, uptime))
        return None


def open_serial(path: str, baud: int) -> tuple[int, Any]:
    """The descriptor of a serial port that is set to raw bytes at ``baud``, and the object that keeps it open."""
    import serial

    try:
        port = serial.Serial(path, baud, exclusive=True)
    except (OSError, ValueError) as error:
        raise AgentError(f"cannot open {path}: {error}") from error
    return port.fileno(), port


def open_pty() -> tuple[int, Any]:
    """The descriptor of a new pseudo-terminal's near end; the far end is kept open, so that it survives its users."""
    near, far = os.openpty()
    tty.setraw(far)
    print(f"pty {os.ttyname(far)}", flush=True)
    return near, far


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, load, serve. Exit code 2 and one line on stderr when something is missing."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Serve model.tflite on a serial port.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial device, such as /dev/serial0")
    where.add_argument("--pty", action="store_true", help="a new pseudo-terminal; prints one line: pty /dev/pts/N")
    parser.add_argument("--baud", type=int, default=115200, help="rate of the serial device (default: 115200)")
    parser.add_argument("--model", type=Path, default=here / "model.tflite", help="default: beside this file")
    parser.add_argument("--board", default="linux", help="the name that HELLO is answered with (default: linux)")
    options = parser.parse_args(arguments)
    try:
        forecaster = Forecaster(options.model)
        descriptor, _kept_open = open_pty() if options.pty else open_serial(options.port, options.baud)
        Server(forecaster, Line(descriptor), f"{options.board}+{forecaster.runtime}").serve()
    except (AgentError, ForecasterError) as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("agent: the serial port is gone", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
