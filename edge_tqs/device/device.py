"""A board at the end of a serial port: who it is, what it forecasts, how much memory it used.

The rules (stop and wait, sequence numbers, retries, times) are those of firmware_templates/PROTOCOL.md. device_rollout
adds what survives a board that restarts in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_tqs.device.link import Link, Times
from edge_tqs.device.messages import (
    Ack,
    Baud,
    ForecastRequest,
    Frame,
    Hello,
    HelloReply,
    Message,
    MessageType,
    Nak,
    NakCode,
    Push,
    Reset,
    Status,
    StatusReply,
    StepReply,
    WireError,
)
from edge_tqs.device.serial_port import SerialPort, open_port
from edge_tqs.errors import (
    DeviceError,
    GoneError,
    RestartedError,
    SilentError,
    TqsError,
    UnknownRequestError,
    UsageError,
)
from edge_tqs.graph.graph import CODE_TYPES

__all__ = [
    "Device",
    "GoneError",
    "RestartedError",
    "SilentError",
    "Times",
    "UnknownRequestError",
    "as_arrays",
    "ignore",
    "open_port",
]

Codes = npt.NDArray[Any]
OnStep = Callable[[StepReply], None] | None
#: (outputs (T, F) codes, ticks (T,) uint32, state hashes (T,) uint32)
Steps = tuple[Codes, npt.NDArray[np.uint32], npt.NDArray[np.uint32]]

#: Bytes of a code, as HELLO_REPLY says them, to its numpy type.
CODE_TYPE_BY_SIZE = {code_type.itemsize: code_type for code_type in CODE_TYPES.values()}

#: Requests sent in vain because each arrived damaged, before the line counts as unusable.
MOST_DAMAGED = 10
#: At a raised rate: requests without an answer until it is given up.
RAISED_ATTEMPTS = 2


class Device:
    """A board at an open port. Closes the port at the end of a ``with`` block.

    Every method raises SilentError when the board stays silent, RestartedError when it forgot its samples, GoneError
    when its port goes away, and DeviceError when it refuses or breaks the protocol. ``hello`` is called when first
    needed. ``reopen`` waits for a port that went away, and opens it again; None where none comes back.
    """

    def __init__(
        self, port: SerialPort, times: Times | None = None, reopen: Callable[[], SerialPort] | None = None
    ) -> None:
        self.link = Link(port)
        self._reopen = reopen
        self._times = times or Times()
        self._sequence = 0
        self._pushed: int | None = None
        self._info: HelloReply | None = None
        #: hears what was mended on the way: "retry" (asked again), "damaged" (a request arrived so), "slowdown" (a
        #: raised rate was given up); see run_rollout
        self.on_event: Callable[[str], None] = ignore
        #: sees every good frame that comes, those too that answer nothing
        self.observer: Callable[[Frame], None] = ignore

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port; a board at a raised rate is sent back to the one that others look for it at."""
        if self.link.raised:
            with suppress(TqsError):  # no answer is waited for: a board that does not hear it goes back by itself
                self.link.write(b"\0" + Baud(self.link.first_baud).frame(self._next_sequence()))
        self.link.port.close()

    @property
    def name(self) -> str:
        """The port's."""
        return self.link.name

    @property
    def baud(self) -> int | None:
        """The rate of the wire in bits a second; None where it has none (pseudo-terminals, sockets)."""
        return self.link.port.baudrate if self.link.has_rate else None

    @property
    def info(self) -> HelloReply:
        """The last answer to HELLO."""
        return self._info or self.hello()

    def reconnect(self) -> bool:
        """Wait for the port that went away, and open it again. False where there is no way to."""
        if self._reopen is None:
            return False
        self.link.port.close()
        self.link = Link(self._reopen())
        return True

    def hello(self, timeout: float | None = None) -> HelloReply:
        """Ask who is there, every 250 ms for ``timeout`` seconds: a UART or PTY may swallow the first bytes."""
        timeout = self._times.hello if timeout is None else timeout
        sequence = self._next_sequence()
        end = time.monotonic() + timeout
        while (now := time.monotonic()) < end:
            self.link.write(b"\0" + Hello().frame(sequence))
            frame = self._answer(sequence, MessageType.HELLO_REPLY, min(end, now + self._times.hello_repeat))
            if frame is not None and frame.type == MessageType.HELLO_REPLY:
                with self._named():
                    self._info = HelloReply.parse(frame.payload)
                self._pushed = None
                return self._info
        received = self.link.received
        raise self._silent(f"{received.silence()} for {timeout:g} s at {self._baud}", received.silence_hint())

    def require_model(self, expected_hash: str) -> HelloReply:
        """The board's HELLO_REPLY; DeviceError when it runs another model than ``expected_hash`` (64 hex digits)."""
        info = self.info
        if info.model_hash != expected_hash.lower():
            raise DeviceError(
                f"{self.name}: the board runs model {info.model_hash[:8]}…, this build is {expected_hash[:8].lower()}…",
                hint="Flash it with `edge-tqs flash BUILD`.",
            )
        return info

    def reset(self) -> None:
        """Make the board forget all samples and states."""
        self._count_pushed(self.acknowledge(Reset()), 0)

    def push(self, samples: Codes) -> None:
        """Append ``samples`` (n, F), oldest first, to the board's history."""
        info = self.info
        wanted = CODE_TYPE_BY_SIZE[info.code_size]
        if samples.dtype != wanted or samples.ndim != 2 or samples.shape[1] != info.channels:
            raise UsageError(
                f"{self.name}: samples are {samples.dtype} {samples.shape}; the board takes {wanted} "
                f"(n, {info.channels})"
            )
        most = min(0xFF, (info.max_payload - 1) // info.sample_size)
        for start in range(0, len(samples), most):
            chunk = samples[start : start + most]
            expected = None if self._pushed is None else self._pushed + len(chunk)
            self._count_pushed(self.acknowledge(Push(len(chunk), chunk.tobytes())), expected)

    def forecast(self, steps: int, on_step: OnStep = None, ahead: Codes | None = None, at_once: int = 0xFFFF) -> Steps:
        """Roll forward by ``steps`` from the pushed history, which stays as it is.

        Args:
            steps: 1 to 65535.
            on_step: Called for each step as it arrives, in order, each once.
            ahead: (steps, exogenous) codes of what is known ahead, where the model has such inputs.
            at_once: The most steps that a request asks for.

        A step that is lost on the way is asked for again, from there on.
        """
        if not 1 <= steps <= 0xFFFF:
            raise UsageError(f"a forecast has 1 to 65535 steps, not {steps}")
        info = self.info
        given = (0, 0) if ahead is None else ahead.shape
        if given != ((steps, info.exogenous) if info.exogenous else (0, 0)):
            driven = info.exogenous == info.channels
            raise UsageError(
                f"{self.name}: the model takes {info.exogenous} values "
                f"{'measured at' if driven else 'known ahead of'} each of {steps} steps, not {given}"
            )
        if ahead is not None:
            return self._forecast_ahead(steps, on_step, ahead, at_once)
        received: list[StepReply] = []
        failures, spent = 0, 0.0
        while len(received) < steps:
            before, start = len(received), time.monotonic()
            # To resume, the board first computes again, in silence, what it has sent already.
            patience = self._times.step + 2 * spent
            for step in self._stream(ForecastRequest(before, min(steps - before, at_once)), info.output_size, patience):
                received.append(step)
                if on_step is not None:
                    on_step(step)
            if len(received) > before:
                failures, spent = 0, spent + time.monotonic() - start
            else:
                failures = self._failed(before, failures, patience)
            if len(received) < min(steps, before + at_once):
                self._retry()
        return as_arrays(received, info)

    def _forecast_ahead(self, steps: int, on_step: OnStep, ahead: Codes, at_once: int) -> Steps:
        """The same, sending what is known ahead piece by piece.

        The board keeps none of it, so after a step that is lost on the way the forecast begins anew; of what comes
        again only the rest counts.
        """
        info = self.info
        most = min(steps, at_once, (info.max_payload - 4) // info.ahead_size)
        received: list[StepReply] = []
        failures, at = 0, 0
        while at < steps:
            piece = ahead[at : at + most].astype(CODE_TYPE_BY_SIZE[info.code_size])
            before = at
            request = ForecastRequest(at, len(piece), piece.tobytes())
            for step in self._stream(request, info.output_size, self._times.step):
                at = step.step + 1
                if step.step == len(received):
                    received.append(step)
                    failures = 0
                    if on_step is not None:
                        on_step(step)
            if at == before + len(piece):
                continue
            at, failures = 0, self._failed(len(received), failures, self._times.step)
            self._retry()
        return as_arrays(received, info)

    def _failed(self, step: int, failures: int, patience: float) -> int:
        """Count one more request that brought no new step; SilentError at the last."""
        if failures + 1 == self._attempts:
            raise self._silent(
                f"no step {step} of the forecast came, asked for {failures + 1} times, {patience:g} s each",
                "Is the board still powered, and the model so slow? If it is, give --step-timeout.",
            )
        return failures + 1

    @property
    def _attempts(self) -> int:
        most = self._times.attempts
        return min(most, RAISED_ATTEMPTS) if self.link.raised else most

    def _retry(self) -> None:
        """Something is asked for again. SilentError where at a raised rate that happens too often."""
        self.on_event("retry")
        if self.link.is_storm() and self.link.raised:
            raise self._silent(
                f"too many requests had to be repeated at {self._baud}",
                "Lower uart.max_baud in the board file, or give --max-baud.",
            )

    def _silent(self, message: str, hint: str) -> SilentError:
        """The error of a board that is not heard. A raised rate may be why: the next request goes out at the first one,
        where a board that has restarted listens, and to which one that did not goes back (PROTOCOL.md)."""
        if self.link.raised:
            message += f"; {self._baud} are given up for {self.link.first_baud}"
            self.link.set_baud(self.link.first_baud)
            self.on_event("slowdown")
        return SilentError(f"{self.name}: {message}", hint=hint)

    def status(self) -> StatusReply:
        """Memory, dropped frames and uptime, as the board counts them."""
        with self._named():
            return StatusReply.parse(self._request(Status(), MessageType.STATUS_REPLY).payload)

    @property
    def _baud(self) -> str:
        return f"{self.link.port.baudrate} baud"

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % 0xFF + 1
        return self._sequence

    def acknowledge(self, message: Message) -> Ack:
        """Have a request carried out that ACK answers."""
        with self._named():
            return Ack.parse(self._request(message, MessageType.ACK).payload)

    def ask_once(self, message: Message, answer: MessageType) -> Frame | None:
        """The answer to a request that is not repeated; None where none came in time, or it arrived damaged."""
        sequence = self._next_sequence()
        self.link.write(b"\0" + message.frame(sequence))
        frame = self._answer(sequence, answer, time.monotonic() + self._times.answer)
        return frame if frame is not None and frame.type == answer else None

    def _count_pushed(self, ack: Ack, expected: int | None) -> None:
        """The board counts too: where the counts part, it has restarted in between."""
        self._pushed = ack.pushed
        if expected is not None and ack.pushed != min(expected, 0xFFFFFFFF):
            raise RestartedError(
                f"{self.name}: the board holds {ack.pushed} samples of {expected} that it acknowledged: it restarted",
                hint="Look at its power supply; a watchdog or a fault also restarts a board.",
            )

    def _request(self, message: Message, answer: MessageType) -> Frame:
        """Stop and wait: send, take the answer of the same sequence, repeat when none comes."""
        sequence = self._next_sequence()
        sent = message.frame(sequence)
        silences = damaged = 0
        while silences < self._attempts and damaged < MOST_DAMAGED:
            if silences + damaged:
                self._retry()
            self.link.write(sent)
            frame = self._answer(sequence, answer, time.monotonic() + self._times.answer)
            if frame is None:
                silences += 1
            elif frame.type == answer:
                return frame
            else:
                damaged += 1
        if damaged == MOST_DAMAGED:
            raise self._silent(
                f"{message.TYPE.name} arrived damaged {damaged} times at {self._baud}",
                "Lower the baud rate, or look at the cable, the ground and the board's clock.",
            )
        raise self._silent(
            f"no answer to {message.TYPE.name}, sent {silences + damaged} times, {self._times.answer:g} s each",
            "Did the board lose power or restart? Try again; reset it by hand if it stays silent.",
        )

    def _answer(self, sequence: int, answer: MessageType, end: float) -> Frame | None:
        """The answer, a NAK BAD_FRAME (say it again), or None at ``end``; other refusals raise; the rest is stale."""
        while (frame := self._next_frame(end)) is not None:
            if self._is_damaged_nak(frame, sequence) or (frame.type == answer and frame.sequence == sequence):
                return frame
        return None

    def _is_damaged_nak(self, frame: Frame, sequence: int) -> bool:
        """Whether ``frame`` says that a request arrived damaged. Raises when it refuses the one of ``sequence``."""
        if frame.type != MessageType.NAK or frame.sequence not in (0, sequence):
            return False
        with self._named():
            nak = Nak.parse(frame.payload)
        if nak.code == NakCode.BAD_FRAME or (nak.code == NakCode.OUT_OF_ORDER and frame.sequence == sequence):
            self.on_event("damaged")
            return True
        if frame.sequence == 0:
            return False
        if nak.code == NakCode.NOT_READY and self._info is not None:
            if self._pushed is None or self._pushed < self._info.window:
                raise UsageError(
                    f"{self.name}: the board has too few samples for a forecast; it needs {self._info.window}",
                    hint="Push a whole window first.",
                )
            raise RestartedError(
                f"{self.name}: the board lost the samples it had acknowledged: it restarted",
                hint="Look at its power supply; a watchdog or a fault also restarts a board.",
            )
        unknown = nak.code == NakCode.UNKNOWN_TYPE
        raise (UnknownRequestError if unknown else DeviceError)(
            f"{self.name}: the board refused the request: {nak.reason}",
            hint="Its firmware is of another edge-tqs: build and flash it again.",
        )

    def _stream(self, request: ForecastRequest, sample_size: int, patience: float) -> Iterator[StepReply]:
        """The steps in order, from ``request.first``; ends early at a gap, a damaged request or a silence."""
        sequence = self._next_sequence()
        self.link.write(request.frame(sequence))
        due, last = request.first, request.first + request.steps - 1
        end = time.monotonic() + patience
        while due <= last and (frame := self._next_frame(end)) is not None:
            if self._is_damaged_nak(frame, sequence):
                return
            if frame.sequence != sequence:
                continue
            if frame.type == MessageType.DONE:
                return
            if frame.type == MessageType.STEP:
                with self._named():
                    step = StepReply.parse(frame.payload, sample_size)
                if step.step > due:
                    return
                if step.step == due:
                    yield step
                    due, end = due + 1, time.monotonic() + self._times.step

    def _next_frame(self, end: float) -> Frame | None:
        """The next good frame, or None when it is past ``end``."""
        frame = self.link.next_frame(end)
        if frame is not None:
            self.observer(frame)
        return frame

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Messages that do not fit their form become errors that say on which port."""
        try:
            yield
        except WireError as error:
            hint = error.hint or "Its firmware is of another edge-tqs: build and flash it again."
            raise DeviceError(f"{self.name}: {error.message}", hint=hint) from error


def ignore(event: object) -> None:
    """Nobody listens."""


def as_arrays(steps: list[StepReply], info: HelloReply) -> Steps:
    """The steps of a forecast, in order, as arrays."""
    codes = np.frombuffer(b"".join(step.codes for step in steps), CODE_TYPE_BY_SIZE[info.code_size])
    outputs = codes.reshape(len(steps), info.outputs)
    ticks = np.array([step.ticks for step in steps], np.uint32)
    return outputs, ticks, np.array([step.state_hash for step in steps], np.uint32)
