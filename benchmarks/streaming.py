"""Instructions of a rollout step, streamed and windowed, against the length of the window, on the emulated Cortex-M4.

    python benchmarks/streaming.py [--models MODEL.keras ...]

A TCN of three causal layers (receptive field 15) and an LSTM of 16 units, 2 channels, random weights, are built for
qemu-mps2-an386 both ways and validated there, bit for bit; the counts are of QEMU's -icount. Further models are
streamed with a window of their receptive field.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.api.request import Recurrence
from edge_tqs.boards.board import load_board
from edge_tqs.building.build import build
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.request import ModelRequest
from edge_tqs.errors import ModelError
from edge_tqs.read.keras.model import load
from edge_tqs.system.tensorflow import import_tensorflow, quiet
from edge_tqs.validation.validate import ValidateRequest, validate

BOARD = "qemu-mps2-an386"
WINDOWS = (16, 32, 64, 128)
CHANNELS, HORIZON, ROLLOUTS = 2, 4, 2


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def tcn(keras: Any, window: int) -> Any:
    layers = keras.layers
    x = y = keras.Input((window, CHANNELS))
    for dilation in (1, 2, 4):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=dilation, activation="relu")(y)
    y = layers.Flatten()(layers.Cropping1D((window - 1, 0))(y))
    return keras.Model(x, layers.Dense(CHANNELS)(y))


def lstm(keras: Any, window: int) -> Any:
    return keras.Sequential([keras.Input((window, CHANNELS)), keras.layers.LSTM(16), keras.layers.Dense(CHANNELS)])


def counted(path: Path, recurrence: Recurrence, window: int | None, folder: Path) -> tuple[int, int]:
    """(instructions per step, RAM in bytes) of the model on the board. The build and the board agree in every bit."""
    request = ModelRequest(path, recurrence=recurrence, window=window, horizon=HORIZON, draws=2)
    build(request, PlanRequest(bits=8), load_board(BOARD), folder, silent)
    result = validate(ValidateRequest(folder, rollouts=ROLLOUTS, horizon=HORIZON), silent)
    assert result.bit_exact, path
    assert result.latency.instructions is not None
    return int(result.latency.instructions), int(result.memory.ram or 0)


def table(folder: Path) -> None:
    keras = import_tensorflow().keras
    print("| model | form | " + " | ".join(f"W = {window}" for window in WINDOWS) + " | RAM at W = 128 |")
    print("|---" * (len(WINDOWS) + 3) + "|")
    for name, make in (("TCN 3 x 16", tcn), ("LSTM 16", lstm)):
        forms: tuple[tuple[str, Recurrence], ...] = (("windowed", "auto"), ("streamed", "stateful"))
        for form, recurrence in forms:
            row, ram = [], 0
            for window in WINDOWS:
                path = folder / f"{name.split()[0]}_{window}.keras"
                if not path.exists():
                    model = make(keras, window)
                    rng = np.random.default_rng(1)
                    with quiet():
                        model.set_weights([rng.normal(0, 0.3, w.shape).astype("f") for w in model.get_weights()])
                        model.save(path)
                count, ram = counted(path, recurrence, None, folder / f"{path.stem}_{form}")
                row.append(f"{count:,}")
            print(f"| {name} | {form} | {' | '.join(row)} | {ram:,} |", flush=True)


def further(path: Path, folder: Path) -> None:
    """A model of the user's: windowed, and streamed with as long a window as its receptive field asks for."""
    window = None
    try:
        load(path, recurrence="stateful")
    except ModelError as error:
        wanted = re.search(r"window = (\d+)", error.hint or "")
        if wanted is None:
            print(f"{path.name}: not streamed: {error.message}")
            return
        window = int(wanted[1])
    whole, whole_ram = counted(path, "auto", None, folder / f"{path.stem}_windowed")
    step, ram = counted(path, "stateful", window, folder / f"{path.stem}_streamed")
    said = "its own window" if window is None else f"a window of {window}, which its receptive field needs"
    print(f"{path.name}: windowed {whole:,} instructions per step, {whole_ram:,} bytes of RAM; ", end="")
    print(f"streamed with {said}: {step:,} ({whole / step:.1f} times fewer), {ram:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", type=Path, default=[])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table(Path(folder))
        for path in args.models:
            further(path, Path(folder))


if __name__ == "__main__":
    main()
