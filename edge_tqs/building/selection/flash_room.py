"""Images that are linked to be measured, and what a board's flash leaves for the weights of a model by them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.building.choose import PlanRequest
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Graph
from edge_tqs.progress import Progress
from edge_tqs.quantization.calibration import nominal_ranges
from edge_tqs.quantization.quantize import Activations, quantize

#: A memory that holds any image, to measure one that may not fit its board.
ROOMY_BYTES = 1 << 28
#: The kernels' tables are padded to multiples of this in rows and in inputs, at most.
BLOCK = 4
ANY_HASH = "00" * 32


def code_room(graph: Graph, board: Board, activations: Activations = "int8") -> int:
    """Bytes that the codes of all weights of a float ``graph`` may take together; 0 where nothing is left.

    The firmware is compiled with all weights int8, and with two mixes, which link the kernels of both widths. What the
    largest takes beside its codes, and the padding that another mix may have, is what a plan's takes at most.

    Raises UsageError for a board without flash of a known size, or whose RAM the model does not fit; ToolError without
    its compiler.
    """
    if board.flash is None:
        raise UsageError(
            f"{board.name} is no microcontroller: its weights lie in no flash of a known size",
            hint="Give a budget in bytes: --budget 24KB.",
        )
    weights = graph.weights()
    first = next(iter(weights))
    wide, narrow = dict.fromkeys(weights, 8), dict.fromkeys(weights, 4)
    open_ended = replace(board, flash=replace(board.flash, size_bytes=ROOMY_BYTES))
    beside = max(
        _beside(graph, widths, open_ended, activations) for widths in (wide, narrow | {first: 8}, wide | {first: 4})
    )
    return max(0, board.flash.size_bytes - beside - _padding(graph))


def fitted(
    request: PlanRequest, graph: Graph, board: Board, activations: Activations, progress: Progress
) -> PlanRequest:
    """``request``, with what the board's flash leaves for the codes of the weights where that is asked for."""
    if not request.fit_flash:
        return request
    progress("measuring the firmware", 0, 1)
    return replace(request, code_bytes=code_room(graph, board, activations))


def with_scales(request: PlanRequest, board: Board | None) -> PlanRequest:
    """``request``, each channel with a scale where nothing is to be saved, or where the image counts: that has a
    multiplier for each channel, shared or not."""
    saves = not request.free or request.tolerance is not None
    in_file = board is None or board.flash is None
    return request if saves and in_file else replace(request, one_scale=False)


def roomy(board: Board) -> Board:
    """A board like ``board`` whose flash and RAM hold any image."""
    flash, ram = (memory and replace(memory, size_bytes=ROOMY_BYTES) for memory in (board.flash, board.ram))
    return replace(board, flash=flash, ram=ram)


def link(graph: Graph, board: Board, model_hash: str) -> Image:
    """The image of an integer ``graph``, linked in a temporary folder: its files are gone. Raises as compile_firmware.

    It has the sizes of a build's, which is compiled from the same sources with the same flags.
    """
    with linked(graph, board, model_hash) as (_, image):
        return image


@contextlib.contextmanager
def linked(graph: Graph, board: Board, model_hash: str) -> Iterator[tuple[Path, Image]]:
    """The same, with the folder while it is there."""
    with tempfile.TemporaryDirectory() as folder:
        generated = emit(graph, model_hash, graph.name, board.core)
        yield Path(folder), compile_firmware(assemble(board, generated.files, generated.kernels, Path(folder)))


def _beside(graph: Graph, widths: Mapping[str, int], board: Board, activations: Activations) -> int:
    """Bytes of flash that the image takes beside the codes of its weights."""
    ranges = nominal_ranges(graph)
    integer = quantize(graph, widths, ranges, activations=activations)
    image = link(integer, board, ANY_HASH)
    codes = sum(tensor.size * widths[source] // 8 for source, parts in graph.weights().items() for tensor in parts)
    return image.flash_bytes - codes


def _padding(graph: Graph) -> int:
    """Bytes that padding adds to int8 weights, at most."""
    total = 0
    for tensor in (tensor for parts in graph.weights().values() for tensor in parts):
        rows, inputs = tensor.shape[0], tensor.size // tensor.shape[0]
        total += -(-rows // BLOCK) * BLOCK * (-(-inputs // BLOCK) * BLOCK) - tensor.size
    return total
