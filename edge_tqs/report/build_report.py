"""report.json: what a build says of the model, its weights, the host's figures and the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_tqs import strict
from edge_tqs.graph.graph import Centre, Target
from edge_tqs.report.choice_report import ChoiceReport
from edge_tqs.report.format import FORMAT, REPORT_JSON, Figure, load
from edge_tqs.report.host_report import HostReport
from edge_tqs.report.modelled_time import ModelledTime

Kind = Literal["closed loop", "direct", "reconstruction", "classes"]


@dataclass(frozen=True)
class ModelInfo:
    """The forecaster. ``hash`` is the model hash in hexadecimal (docs/format.md); ``parameters`` counts all of them;
    ``activations`` is the type of its codes; of mixed ones ``int16_activations`` names the tensors of model.tflite that
    are int16, one of each set that shares a scale.

    ``kind``: how it is rolled out; of all but a closed loop each step evaluates the model on measured samples.
    ``outputs``: values in a predicted sample, ``steps`` samples an evaluation. ``exogenous``: input channels, from 0,
    that are known ahead. ``held``: those that keep their value. ``target``, ``centre``: as in passes/level.py.
    ``streamed``: built as one step with delay lines.
    """

    name: str
    hash: str
    window: int
    channels: int
    columns: tuple[str, ...]
    recurrence: Literal["none", "windowed", "stateful"]
    parameters: int
    activations: Literal["int8", "int16", "mixed"] = "int8"
    outputs: int = 0
    steps: int = 1
    exogenous: tuple[int, ...] = ()
    target: Target = "level"
    centre: Centre = "none"
    streamed: bool = False
    kind: Kind = "closed loop"
    held: tuple[int, ...] = ()
    int16_activations: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorReport:
    """One planned weight: its Keras name, shape as in Keras, width in bits, bytes in the flatbuffer, and TQS. scales:
    what one is for, each "channel" or the whole "tensor"."""

    name: str
    shape: tuple[int, ...]
    width: int
    bytes: int
    tqs: Figure
    scales: str = "channel"


@dataclass(frozen=True)
class ByteReport:
    """Bytes of the weights with their metadata: in float32, all-int8, all-int4, as planned; the budget (None where
    the widths were given); and the size of model.tflite as a whole."""

    float32: int
    int8: int
    int4: int
    mixed: int
    budget: int | None
    tflite: int


@dataclass(frozen=True)
class ImageReport:
    """Sizes of the firmware image in bytes: sections; what is kept for the stack, and its deepest, one interrupt
    included, on ``stack_path`` (None and () for a Linux program); the largest frame of one function."""

    text: int
    rodata: int
    data: int
    bss: int
    stack: int | None
    stack_bound: int | None
    stack_path: tuple[str, ...]
    largest_frame: int
    largest_frame_function: str


@dataclass(frozen=True)
class BuildReport:
    """report.json. ``image`` is None where nothing was compiled; ``warnings`` are sentences for the reader;
    ``data`` says how the series was read; ``choice`` why it was built with these widths and activations;
    ``modelled`` is None where no timing of the board is known."""

    model: ModelInfo
    board: str
    tensors: tuple[TensorReport, ...]
    bytes: ByteReport
    host: HostReport
    image: ImageReport | None
    warnings: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    choice: ChoiceReport | None = None
    modelled: ModelledTime | None = None
    format: int = FORMAT

    def to_json(self) -> str:
        return strict.dump(self)

    @staticmethod
    def from_json(text: str, where: str = REPORT_JSON) -> BuildReport:
        return load(BuildReport, text, where)
