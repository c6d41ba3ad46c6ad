"""A bundle of a flatbuffer that says itself what it is."""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards import bundle
from edge_tqs.boards.board import Board
from edge_tqs.flatbuffer import model as tflite_model


def write_bundle(folder: Path, model: bytes, program: Path | None, board: Board) -> tuple[Path, ...]:
    graph, metadata = tflite_model.read(model)
    return bundle.write_bundle(folder, model, program, board, name=graph.name, metadata=metadata)
