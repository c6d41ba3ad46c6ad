"""Compiles the shipped C on the host and calls it through ctypes.

tests/sanitize.py sets the variables EDGE_TQS_SANITIZED_* for the tests of the kernels: then every library is built with
sanitizers, each test draws as many cases as are asked for, and what each kernel ran is written down.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge_tqs.emit_c.emit import emit
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization import simulate
from edge_tqs.templates import template_root

WARNINGS = [
    *("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes"),
    *("-Wdouble-promotion", "-Werror"),
]
#: undefined behaviour ends the process with SIGILL; needs no runtime library, so it works under ctypes
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
HASH = bytes(range(32)).hex()

#: how many cases each kernel runs under the sanitizers; 0: no sanitizers, and what the tests say
CASES = int(os.environ.get("EDGE_TQS_SANITIZED_CASES", "0"))
#: where the C files of the kernels are
KERNELS = Path(os.environ.get("EDGE_TQS_SANITIZED_KERNELS", template_root() / "kernels"))
BUILDS = {"sanitized": ["-O1", *SANITIZERS]} if CASES else {"plain": ["-O2"], "trapping": ["-O1", *TRAPS]}
#: inputs a layer, of kernels that compute sums
BATCH = 50 if CASES else 5
#: A case of these is a code; of all others, a call.
ELEMENTWISE = re.compile("tqs_(add|sum|mul|lut|leaky_relu|requant|sigmoid|curve)_s")
GUARD = 85

_ran: Counter[str] = Counter()
if CASES:
    os.environ.pop("LD_PRELOAD")  # the compiler needs no sanitizers
    atexit.register(lambda: Path(os.environ["EDGE_TQS_SANITIZED_REPORT"]).write_text(json.dumps(_ran)))


def include_flags(*folders: Path) -> list[str]:
    root = template_root()
    return [f"-I{folder}" for folder in (*folders, root / "core", root / "kernels")]


def compile_c(sources: Sequence[Path], output: Path, flags: Sequence[str], compiler: str = "gcc") -> Path:
    """Compile with all warnings as errors; the compiler's messages end up in the assertion."""
    command = [compiler, *WARNINGS, *flags, *map(str, sources), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


def kernel_library(names: Sequence[str], folder: Path, flags: Sequence[str]) -> ctypes.CDLL:
    sources = [KERNELS / f"{name}.c" for name in names]
    return ctypes.CDLL(str(compile_c(sources, folder / "kernels.so", ["-shared", "-fPIC", *flags, *include_flags()])))


def layers(few: int, cases: int) -> range:
    """One turn a random layer: ``few``, or as many as a sanitised run wants, each of so many ``cases``."""
    return range(-(-CASES // cases) if CASES else few)


def call(kernel: Callable[..., None], layer: ctypes.Structure, *inputs: np.ndarray, size: int) -> np.ndarray:
    """Run ``kernel`` into a new array of ``size`` codes.

    Behind it lies a guard; under the sanitizers there is none, and each input is a buffer of its own, so that the first
    byte beyond any of them ends the process.
    """
    guard = 0 if CASES else 8
    inputs = tuple(np.array(x, order="C") for x in inputs)
    made = re.fullmatch(r"tqs_\w+_s8_s(\d+)", kernel.__name__)  # of codes of another type
    y = np.full(size + guard, GUARD, f"int{made[1]}" if made else inputs[0].dtype)
    kernel(ctypes.byref(layer), *(values.ctypes.data_as(ctypes.c_void_p) for values in (*inputs, y)))
    assert (y[size:] == GUARD).all(), "the kernel wrote past its output"
    count(kernel, size)
    return y[:size]


def calls(kernel: Callable[..., None], layer: ctypes.Structure, *inputs: np.ndarray, size: int) -> np.ndarray:
    """(n, size): as call, for each of the n that the ``inputs`` hold."""
    return np.stack([call(kernel, layer, *each, size=size) for each in zip(*inputs, strict=True)])


def count(kernel: Callable[..., None], size: int) -> None:
    """Note that ``kernel`` computed ``size`` codes in a call."""
    _ran[kernel.__name__] += size if ELEMENTWISE.match(kernel.__name__) else 1


@functools.cache
def _objects() -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


@functools.cache
def kernel_object(source: Path, flags: tuple[str, ...]) -> Path:
    """The object of a kernel, which knows nothing of a model: compiled once a process."""
    output = _objects() / f"{len(list(_objects().iterdir()))}.o"
    return compile_c([source], output, ["-c", "-fPIC", *flags, *include_flags()])


def model_sources(graph: Graph, folder: Path, name: str = "test model") -> list[Path]:
    """Emit model.c and model.h into ``folder``; all C files of the model."""
    generated = emit(graph, HASH, name)
    for file, text in generated.files.items():
        (folder / file).write_text(text, encoding="ascii")
    root = template_root()
    fixed = ("core/tqs_model.c", "core/tqs_model_float.c", *generated.kernels)
    return [folder / "model.c", *(root / file for file in fixed)]


class Forecaster:
    """The emitted model as a shared library: one instance of tqs_model_t."""

    def __init__(self, graph: Graph, folder: Path, flags: Sequence[str] = ("-O2",)) -> None:
        self.graph = graph
        self.channels = graph.forecast.channels
        # The size of tqs_model_t is C's business: a function of the test's own tells it.
        (folder / "size.c").write_text(
            '#include "tqs_model.h"\nuint32_t model_size(void);\nuint32_t model_size(void)\n'
            "{\n    return (uint32_t)sizeof(tqs_model_t);\n}\n"
        )
        kernels = template_root() / "kernels"
        parts = [
            kernel_object(source, tuple(flags)) if kernels in source.parents else source
            for source in (*model_sources(graph, folder), folder / "size.c")
        ]
        self.path = compile_c(parts, folder / "model.so", ["-shared", "-fPIC", *flags, *include_flags(folder)])
        self.library = ctypes.CDLL(str(self.path))
        self.library.tqs_encode.argtypes = [ctypes.c_float, ctypes.c_uint32]
        self.code_type = simulate.code_type(graph)
        code = {1: ctypes.c_int8, 2: ctypes.c_int16}[self.code_type.itemsize]
        self.library.tqs_encode.restype = code
        self.library.tqs_decode.argtypes = [code, ctypes.c_uint32]
        self.library.tqs_decode.restype = ctypes.c_float
        self.library.tqs_forecast_state.restype = ctypes.c_void_p
        self.library.tqs_ready.restype = ctypes.c_bool
        self.library.tqs_pushed.restype = ctypes.c_uint32
        self.model = ctypes.create_string_buffer(self.library.model_size())
        self.reset()

    def another(self) -> Forecaster:
        """A second instance in the same library."""
        twin = object.__new__(Forecaster)
        twin.__dict__.update(self.__dict__)
        twin.model = ctypes.create_string_buffer(len(self.model))
        twin.reset()
        return twin

    def reset(self) -> None:
        self.library.tqs_reset(self.model)

    def push_codes(self, samples: np.ndarray) -> None:
        for sample in np.ascontiguousarray(samples, self.code_type):
            self.library.tqs_push_q(self.model, sample.ctypes.data_as(ctypes.c_void_p))

    def push(self, samples: np.ndarray) -> None:
        for sample in np.ascontiguousarray(samples, np.float32):
            self.library.tqs_push(self.model, sample.ctypes.data_as(ctypes.c_void_p))

    def begin(self) -> None:
        self.library.tqs_forecast_begin(self.model)

    def next(self) -> np.ndarray:
        y = np.zeros(self.channels, self.code_type)
        self.library.tqs_forecast_next(self.model, y.ctypes.data_as(ctypes.c_void_p))
        return y

    def states(self) -> bytes:
        size = ctypes.c_uint32()
        address = self.library.tqs_forecast_state(self.model, ctypes.byref(size))
        return ctypes.string_at(address, size.value) if size.value else b""

    def forecast_codes(self, horizon: int) -> tuple[np.ndarray, list[bytes]]:
        """(horizon, F) codes and the state bytes after each step."""
        self.begin()
        outputs, states = [], []
        for _ in range(horizon):
            outputs.append(self.next())
            states.append(self.states())
        return np.stack(outputs), states

    def forecast(self, horizon: int) -> np.ndarray:
        out = np.zeros((horizon, self.channels), np.float32)
        self.library.tqs_forecast(self.model, horizon, out.ctypes.data_as(ctypes.c_void_p))
        return out
