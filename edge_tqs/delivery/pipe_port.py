"""A program's standard input and output as the port of a board."""

from __future__ import annotations

import os
import select
import subprocess

from edge_tqs.device.serial_port import POLL_SECONDS

END_SECONDS = 2.0


class PipePort:
    """As every pyserial port that a `Device` takes; a read waits for POLL_SECONDS at most. Closing ends the program.

    name: for messages. baudrate says nothing: no wire has it.
    """

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.baudrate = 0
        self._process, self._name = process, name
        self._write, self._read = process.stdin.fileno(), process.stdout.fileno()
        self._held = b""

    @property
    def port(self) -> str:
        return f"ssh://{self._name}"

    @property
    def in_waiting(self) -> int:
        return len(self._held)

    def read(self, size: int = 1, /) -> bytes:
        if not self._held and select.select([self._read], [], [], POLL_SECONDS)[0]:
            self._held = os.read(self._read, 65536)
            if not self._held:
                raise OSError(self._said())
        data, self._held = self._held[:size], self._held[size:]
        return data

    def write(self, data: bytes, /) -> int:
        sent = 0
        while sent < len(data):
            try:
                sent += os.write(self._write, data[sent:])
            except BrokenPipeError as error:
                raise OSError(self._said()) from error
        return sent

    def close(self) -> None:
        process = self._process
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def fileno(self) -> int:
        return self._read

    def _said(self) -> str:
        """Why the program ended, in its words."""
        process = self._process
        assert process.stderr is not None
        lines = process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {process.wait()}"
