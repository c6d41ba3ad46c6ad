#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A forecaster on a Linux board: runs model.tflite, and serves it on a serial port.

As a server (the protocol is edge-tqs' PROTOCOL.md, version 3):

    python3 agent.py --port /dev/serial0

As a library, in physical units:

    from agent import Forecaster
    forecaster = Forecaster("model.tflite")
    for sample in samples:                 # each of len(forecaster.columns) values; at least forecaster.window of them
        forecaster.push(sample)
    forecast = forecaster.forecast(96)     # array (96, outputs)

A model with inputs that are known ahead takes them too: forecaster.forecast(96, ahead), ahead (96, exogenous).

Needs Python 3.9 or newer, numpy, and ai-edge-litert or tflite-runtime; the server also pyserial and cobs. model.json
lies beside model.tflite: it is the model's own metadata entry, which says how to roll it forward.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import select
import struct
import sys
import time
import tty
import zlib
from pathlib import Path

import numpy as np

PROTOCOL_VERSION = 3
MAX_PAYLOAD = 1024
UNKNOWN_SIZE = 0xFFFFFFFF
CLOCK_MONOTONIC_COUNTER = 3
NANOSECONDS = 10**9

HELLO, RESET, PUSH, FORECAST, STATUS = 0x01, 0x02, 0x03, 0x04, 0x05
HELLO_REPLY, ACK, STEP, DONE, STATUS_REPLY, NAK = 0x81, 0x82, 0x84, 0x85, 0x86, 0xFF
BAD_FRAME, UNKNOWN_TYPE, BAD_LENGTH, BAD_VERSION, NOT_READY, OUT_OF_ORDER = 1, 2, 3, 4, 5, 6


class AgentError(Exception):
    """The model, its description, a package or the port is missing or unusable."""


def load_interpreter(model: bytes):
    """(name of the runtime, its interpreter of the model), from whichever of the two packages is installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        runtime = "litert"
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise AgentError(f"no runtime: {error}. Try: python3 -m pip install ai-edge-litert") from error
        runtime = "tflite"
    try:
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise AgentError(f"{runtime} refuses the model: {error}") from error
    return runtime, interpreter


def hash_model(model: bytes, claimed: str) -> str:
    """SHA-256 of the model with the 64 digits of its own hash field, ``claimed``, set to zeros."""
    return hashlib.sha256(model.replace(claimed.encode("ascii"), b"0" * 64)).hexdigest()


class Forecaster:
    """Push samples, then roll a forecast forward; a forecast feeds on its own outputs and changes nothing.

    Args:
        model: model.tflite.
        description: model.json; beside the model unless given.

    window: samples that a forecast needs. channels: values in a sample. columns: their names. outputs: values in a
    predicted sample. steps: samples that one call of the model predicts. exogenous: the channels that are known ahead.
    """

    def __init__(self, model="model.tflite", description=None):
        path = Path(model)
        beside = Path(description) if description is not None else path.with_suffix(".json")
        try:
            content, about = path.read_bytes(), json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AgentError(f"cannot read {path} and {beside}: {error}") from error
        self.model_hash = about["model_hash"]
        if len(self.model_hash) != 64 or hash_model(content, self.model_hash) != self.model_hash:
            raise AgentError(f"{path} is damaged, or {beside} describes another model: copy both again")
        self.window, self.channels = about["window"], about["channels"]
        self.recurrence, self.feedback = about["recurrence"], list(about["feedback"])
        self.outputs, self.steps = about.get("outputs", self.channels), about.get("steps", 1)
        self.exogenous = [channel for channel, output in enumerate(self.feedback) if output is None]
        self._sources = [0 if output is None else output for output in self.feedback]
        self.columns = list(about.get("columns") or [])
        self.runtime, interpreter = load_interpreter(content)
        self._run = interpreter.get_signature_runner("serving_default")
        details = self._run.get_input_details()
        # The signature sorts its names; the graph's order of states, which the state hash needs, is that of its inputs.
        place = {tensor["index"]: number for number, tensor in enumerate(interpreter.get_input_details())}
        self._states = sorted(set(details) - {"x"}, key=lambda name: place[details[name]["index"]])
        self._scale, self._zero_point = details["x"]["quantization"]
        self.code_type = np.dtype(details["x"]["dtype"])
        if self.runtime == "tflite" and self.code_type == np.int16 and 4 in about.get("plan", {}).values():
            # It would compute convolutions of int16 samples with int4 weights wrongly, and report no error.
            raise AgentError(f"tflite-runtime computes {path} wrongly. Try: python3 -m pip install ai-edge-litert")
        self._zero_states = {
            name: np.full(details[name]["shape"], details[name]["quantization"][1], self.code_type)
            for name in self._states
        }
        # Output j is in the units of the channel that it becomes.
        source = [self.feedback.index(j) if j in self.feedback else j for j in range(self.outputs)]
        scaling = about.get("scaling") or {"mean": [0.0] * self.channels, "std": [1.0] * self.channels}
        self._mean, self._std = (np.asarray(scaling[key], np.float64) for key in ("mean", "std"))
        self._output_mean, self._output_std = self._mean[source], self._std[source]
        self.reset()

    def reset(self):
        """Forget all samples and states."""
        self.pushed = 0
        self._history = np.full((self.window, self.channels), self._zero_point, self.code_type)
        self._carried = dict(self._zero_states)
        self._said = np.full(self.steps * self.outputs, self._zero_point, self.code_type)
        self.begin()

    @property
    def ready(self):
        """Whether a whole window was pushed."""
        return self.pushed >= self.window

    def push(self, sample):
        """Append one sample, in physical units: ``channels`` numbers. NaN counts as the mean."""
        values = np.asarray(sample, np.float64).reshape(self.channels)
        self.push_codes(self._encode(values, list(range(self.channels))))

    def _encode(self, values, channels):
        """Physical units (..., n) of n channels to codes."""
        scaled = (values - self._mean[channels]) / self._std[channels] / self._scale
        codes = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + self._zero_point
        limits = np.iinfo(self.code_type)
        codes = np.clip(np.nan_to_num(codes, nan=self._zero_point), limits.min, limits.max)
        return codes.astype(self.code_type)

    def forecast(self, steps, ahead=None):
        """The next ``steps`` samples, in physical units: array (steps, outputs) in the order of the outputs.

        ahead: (steps, exogenous) values of the inputs that are known ahead, at the times that are predicted.
        """
        if not self.ready:
            raise AgentError(f"{self.pushed} samples were pushed, the model looks at {self.window}")
        known = np.zeros((steps, 0)) if ahead is None else np.asarray(ahead, np.float64)
        if known.shape != (steps, len(self.exogenous)):
            raise AgentError(f"{known.shape} values are known ahead, the model takes ({steps}, {len(self.exogenous)})")
        known = self._encode(known, self.exogenous)
        self.begin()
        codes = np.array([self.next_codes(row)[0] for row in known], np.float64).reshape(steps, self.outputs)
        return (codes - self._zero_point) * self._scale * self._output_std + self._output_mean

    def push_codes(self, codes):
        """Append one sample of codes, (channels,) of code_type."""
        if self.recurrence == "stateful":
            self._said, self._carried = self._step(codes, self._carried)
        else:
            self._history = np.concatenate([self._history[1:], codes[None]])
        self.pushed = min(self.pushed + 1, 0xFFFFFFFF)

    def begin(self):
        """Start a forecast on what was pushed, which a forecast never changes."""
        stateful = self.recurrence == "stateful"
        self._window = self._history
        self._block = self._said.reshape(self.steps, self.outputs)
        self._work = self._carried if stateful else self._zero_states
        self._given = 0  # steps of this forecast so far

    def next_codes(self, known=()):
        """The next step: (codes (outputs,), the states' bytes). known: codes of what is known ahead of its time."""
        place = self._given % self.steps
        stateful = self.recurrence == "stateful"
        if self._given:
            sample = self._latest[self._sources]
            sample[self.exogenous] = self._known
            if stateful:
                y, self._work = self._step(sample, self._work)
            else:
                self._window = np.concatenate([self._window[1:], sample[None]])
        if not stateful and place == 0:
            self._work = self._zero_states
            for x in [self._window] if self.recurrence == "none" else self._window:
                y, self._work = self._step(x, self._work)
        if place == 0 and not (stateful and self._given == 0):
            self._block = y.reshape(self.steps, self.outputs)
        self._latest, self._known = self._block[place], known
        self._given += 1
        return self._latest, self._state_bytes(self._work)

    def _step(self, x, states):
        outputs = self._run(x=x[None], **states)
        return outputs["y"][0], {name: outputs[name] for name in self._states}

    def _state_bytes(self, states):
        return b"".join(states[name].tobytes() for name in self._states)


class Line:
    """A serial port or pseudo-terminal as frames. Holds at most one longest frame."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        longest = 8 + MAX_PAYLOAD
        self._limit = longest + longest // 254 + 1
        self._held = bytearray()
        self._overlong = False
        self.dropped = 0

    def disturbed(self):
        """Whether a byte has arrived."""
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def send(self, kind, sequence, payload):
        from cobs import cobs

        body = struct.pack("<BBH", kind, sequence, len(payload)) + payload
        rest = cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"
        while rest:
            select.select([], [self._descriptor], [])
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                continue

    def requests(self):
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

    def _hold(self, piece):
        if self._overlong or len(self._held) + len(piece) > self._limit:
            self._overlong = True
            self._held.clear()
        else:
            self._held += piece

    def _take(self):
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

    def __init__(self, forecaster, line, board):
        self._forecaster = forecaster
        self._line = line
        self._board = board.encode("ascii")[:255]
        self._last = None
        self._next = 0  # the step that a forecast in hand comes to next; 0 if there is none

    def serve(self):
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

    def _hello(self, sequence, payload):
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

    def _repeated(self, kind, sequence):
        """Whether this request was the last one carried out; now it is."""
        repeated = self._last == (kind, sequence)
        self._last = (kind, sequence)
        return repeated

    def _acknowledge(self, sequence):
        self._line.send(ACK, sequence, struct.pack("<I", self._forecaster.pushed))

    def _reset(self, sequence, payload):
        if payload:
            return BAD_LENGTH
        if not self._repeated(RESET, sequence):
            self._forecaster.reset()
            self._next = 0
        self._acknowledge(sequence)
        return None

    def _push(self, sequence, payload):
        channels, code_type = self._forecaster.channels, self._forecaster.code_type
        if not payload or len(payload) != 1 + payload[0] * channels * code_type.itemsize:
            return BAD_LENGTH
        if not self._repeated(PUSH, sequence):
            for codes in np.frombuffer(payload, code_type, offset=1).reshape(payload[0], channels):
                self._forecaster.push_codes(codes)
            self._next = 0
        self._acknowledge(sequence)
        return None

    def _forecast(self, sequence, payload):
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

    def _status(self, sequence, payload):
        if payload:
            return BAD_LENGTH
        self._last = (STATUS, sequence)
        memory = (UNKNOWN_SIZE,) * 3
        uptime = time.monotonic_ns() & 0xFFFFFFFF
        self._line.send(STATUS_REPLY, sequence, struct.pack("<IIIII", *memory, self._line.dropped & 0xFFFFFFFF, uptime))
        return None


def open_serial(path, baud):
    """The descriptor of a serial port that is set to raw bytes at ``baud``, and the object that keeps it open."""
    import serial

    try:
        port = serial.Serial(path, baud, exclusive=True)
    except (OSError, ValueError) as error:
        raise AgentError(f"cannot open {path}: {error}") from error
    return port.fileno(), port


def open_pty():
    """The descriptor of a new pseudo-terminal's near end; the far end is kept open, so that it survives its users."""
    near, far = os.openpty()
    tty.setraw(far)
    print(f"pty {os.ttyname(far)}", flush=True)
    return near, far


def main(arguments=None):
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
    except AgentError as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("agent: the serial port is gone", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
