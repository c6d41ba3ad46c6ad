"""What reading a model file gives, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from edge_tqs.graph.graph import Graph


@dataclass(frozen=True)
class Masked:
    """The samples that a Masking layer of the model's input skips: those that are ``value`` in all ``channels``."""

    channels: tuple[int, ...]
    value: float


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was read.

    graph: float32, checked. float_vs_keras_max_abs: largest difference of a one-step forecast from Keras, or from
    LiteRT for a TensorFlow Lite file, in the model's units. source_hash: SHA-256 of the file, hex. parameters: how
    many trained values. layers: one line each, for printing. notes: sentences for the reader of a build. whole: the
    graph of the whole window before what no forecast depends on was left out, which streaming looks at; None where
    there is none. unrolled_by: the layer for which recurrent layers are unrolled over the window, "" where they are
    not. inputs: channels of each of the model's inputs. masked: samples that the model skips, and its graph does not.
    newest: (channel, N) of each channel whose newest N samples alone are read.
    """

    graph: Graph
    float_vs_keras_max_abs: float
    source_hash: str
    parameters: int
    layers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    whole: Graph | None = None
    unrolled_by: str = ""
    inputs: tuple[int, ...] = ()
    masked: tuple[Masked, ...] = ()
    newest: tuple[tuple[int, int], ...] = ()
