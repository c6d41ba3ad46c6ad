"""The firmware's frame parser and server with a small model, compiled with sanitizers around the driver server.c."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from c_library import SANITIZERS, compile_c, include_flags, model_sources
from graphs import Builder, dense_layer

from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.templates import template_root

HERE = Path(__file__).parent
CORPUS = HERE / "corpus" / "server"
#: closed: predicts all its inputs. ahead: predicts one of two, and is told the other with each request.
FORECASTS = {
    "closed": Forecast(2, 2, "none", (0, 1)),
    "ahead": Forecast(2, 2, "none", (0, None), outputs=1),
}
MAX_PAYLOAD = 300  # beyond 254, so that blocks of COBS fill up
#: in a struct, the array's own size counts, not the padding and the members behind it
STRICT = [*SANITIZERS, "-fsanitize=bounds-strict"]


def model(name: str) -> Graph:
    """A small integer graph whose samples go round as ``FORECASTS`` says."""
    rng, forecast = np.random.default_rng(0), FORECASTS[name]
    b = Builder(rng)
    x = b.tensor("x", (1, forecast.window, forecast.channels))
    y = b.op("reshape", (x,), "flat", forecast.window * forecast.channels)
    y = dense_layer(b, "head", y, forecast.outputs, "none")
    graph = Graph(name, b.tensors, tuple(b.ops), x, y, (), forecast).check()
    seeds = rng.normal(size=(4, forecast.seed_length(8), forecast.channels)).astype(np.float32)
    return quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, seeds, 8))


def build(name: str, folder: Path, planted: tuple[str, str, str] | None = None) -> Path:
    """The driver around the server with the model ``name``.

    planted: a C file of the core, a piece of it that occurs once, and what stands there instead: a defect that the
    inputs must find.
    """
    (folder / "board.h").write_text(f'#define TQS_MAX_PAYLOAD {MAX_PAYLOAD}u\n#define TQS_BOARD_NAME "fuzz"\n')
    core = [template_root() / "core" / f"tqs_{part}.c" for part in ("wire", "server", "crc32")]
    if planted is not None:
        file, piece, instead = planted
        place = next(index for index, path in enumerate(core) if path.name == file)
        text = core[place].read_text(encoding="ascii")
        assert text.count(piece) == 1, piece
        core[place] = folder / file
        core[place].write_text(text.replace(piece, instead), encoding="ascii")
    sources = [HERE / "server.c", *core, *model_sources(model(name), folder)]
    return compile_c(sources, folder / "server", ["-O1", *STRICT, *include_flags(folder)])


def run(program: Path, seed: int, count: int) -> subprocess.CompletedProcess[str]:
    """The corpus, then ``count`` inputs drawn from ``seed``; returncode 0 if there was no finding."""
    command = [str(program), str(seed), str(count), *map(str, sorted(CORPUS.iterdir()))]
    ends = {f"{name}_OPTIONS": "abort_on_error=1" for name in ("ASAN", "UBSAN")}  # so that server.c names the input
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ends)
