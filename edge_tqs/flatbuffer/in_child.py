"""The first run of anybody's .tflite, in a process of its own: LiteRT ends with SIGSEGV on some damaged files.

The process is kept for the next file: to start it takes ten times as long as to run a forecaster.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import struct
import subprocess
import sys
import threading

from edge_tqs.errors import ModelError

#: Seconds for a file, and bytes of memory for the process.
_SECONDS, _MEMORY = 120.0, 8 << 30

_PROGRAM = """
import os, resource, struct, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
said = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
while head := sys.stdin.buffer.read(8):
    try:
        made = Interpreter(model_content=sys.stdin.buffer.read(struct.unpack("<Q", head)[0]), num_threads=1)
        detail = made.get_input_details()[0]
        for batch in (1, 2):
            made.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
            made.allocate_tensors()
            made.set_tensor(detail["index"], np.zeros([batch, *detail["shape"][1:]], detail["dtype"]))
            made.invoke()
            made.get_tensor(made.get_output_details()[0]["index"])
    except MemoryError:
        os.write(said, b"m")
    except Exception:
        os.write(said, b"e")  # whoever runs it hears why
    else:
        os.write(said, b"k")
"""


class _Child:
    """The process; one file at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def answer(self, model: bytes) -> str:
        """What is said of a file: "k" or "e" as it ran or was refused in words, "m" for too much memory, "t" for too
        much time; or the name of the signal that ended the process."""
        with self._lock:
            fresh = not self._mine()
            said = self._asked(model)
            # What a file before has damaged may end it at the next one: a new process tells.
            return said if len(said) == 1 or fresh else self._asked(model)

    def _asked(self, model: bytes) -> str:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(struct.pack("<Q", len(model)) + model)
            process.stdin.flush()
            if not select.select([process.stdout], [], [], _SECONDS)[0]:
                self.stop()
                return "t"
            said = os.read(process.stdout.fileno(), 1)
        except BrokenPipeError:
            said = b""
        if said:
            return said.decode()
        code = process.wait()
        self.stop()
        return signal.Signals(-code).name if code < 0 else "e"

    def _mine(self) -> bool:
        """Whether there is one; a fork has its parent's pipes."""
        return self._process is not None and self._owner == os.getpid()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self._mine():
            command = [sys.executable, "-P", "-c", _PROGRAM, str(_MEMORY)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._owner = os.getpid()
        return self._process

    def stop(self) -> None:
        """End the process, if it is this one's."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


_child = _Child()
atexit.register(_child.stop)


def check_runs(model: bytes) -> None:
    """Raise ModelError for a file on which LiteRT ends its process, or takes more time or memory than a forecaster may.
    What it refuses in words is nothing to say here. Needs ai-edge-litert."""
    said = _child.answer(model)
    again = "The file is damaged, or no forecaster: convert the model again."
    if said == "t":
        raise ModelError(f"takes LiteRT more than {_SECONDS:g} s for a forecast", hint=again)
    if said == "m":
        raise ModelError(f"needs more than {_MEMORY >> 30} GiB in LiteRT", hint=again)
    if len(said) > 1:
        raise ModelError(f"ends LiteRT with {said}", hint=again)
