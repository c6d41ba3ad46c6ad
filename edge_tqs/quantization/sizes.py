"""What each weight costs in the flatbuffer at each width, measured on real files."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Graph, Tensor
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.planning.roundings import Rounded
from edge_tqs.quantization.calibration import nominal_ranges
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.system.system import System

#: float32 and int64. Each channel of a weight has a scale, which its bias is written with too; zero points, all 0, are
#: written once for all weights of as many channels.
SCALE_BYTES, ZERO_POINT_BYTES = 4, 8
BYTES_A_BIAS: dict[Activations, int] = {"int8": 4, "int16": 8}
ALIGNMENT = 16
#: Of other writers, who write each tensor's zero points.
_OTHERS_CHANNEL = SCALE_BYTES + ZERO_POINT_BYTES


def weight_bytes(graph: Graph, activations: Activations = "int8") -> dict[str, dict[int, int]]:
    """Bytes of each weight of a float ``graph``: source -> {8: bytes, 4: bytes}.

    At 8 bits: the codes, each tensor padded to 16 bytes, and what per-channel quantisation adds, bias included; zero
    points that several weights share are the first one's. At 4 bits: that plus the difference in file size when this
    weight alone goes from int8 to int4, so that the RESHAPE and CONV_2D which an int4 layer is lowered to count. Two
    int4 layers of one input share a RESHAPE: a plan's file can be smaller than this sum, never larger. Beside int16
    ``activations`` biases have 8 bytes, and an int4 layer is one operator as an int8 one is.
    """
    ranges = nominal_ranges(graph)
    all_int8 = dict.fromkeys(graph.weights(), 8)

    def file_size(widths: dict[str, int]) -> int:
        given = {"source_hash": "", "plan": widths, "generator": ""}
        return len(tflite_model.write(quantize(graph, widths, ranges, activations=activations), given))

    reference = file_size(all_int8)
    costs: dict[str, dict[int, int]] = {}
    zero_points: set[int] = set()
    for source in graph.weights():
        int8 = _int8_bytes(graph, source, BYTES_A_BIAS[activations], zero_points)
        costs[source] = {8: int8, 4: int8 + file_size(all_int8 | {source: 4}) - reference}
    return costs


def one_scale_bytes(
    graph: Graph, costs: Mapping[str, Mapping[int, int]], activations: Activations = "int8"
) -> dict[str, dict[int, int]]:
    """The same with one scale for each weight, and so for its bias: ``costs``, which `weight_bytes` gave, and the
    difference in file size when this weight alone has one. A weight of one row has no other."""
    ranges = nominal_ranges(graph)
    plain = dict.fromkeys(graph.weights(), 8)
    given = {"source_hash": "", "plan": plain, "generator": ""}

    def file_size(widths: dict[str, int], rounded: dict[str, Rounded]) -> int:
        made = quantize(graph, widths, ranges, activations=activations, rounded=rounded)
        return len(tflite_model.write(made, {**given, "plan": widths}))

    reference = file_size(plain, {})
    found: dict[str, dict[int, int]] = {}
    for source, tensors in graph.weights().items():
        found[source] = {}
        for width in (8, 4):
            rounded = {tensor.name: _of_one_scale(tensor, width) for tensor in tensors if tensor.shape[0] > 1}
            more = file_size(plain | {source: width}, rounded) - reference
            found[source][width] = costs[source][8] + more if rounded else costs[source][width]
    return found


def _of_one_scale(tensor: Tensor, width: int) -> Rounded:
    assert tensor.data is not None
    codes, scale = quantize_weight(tensor.data.reshape(1, -1), width)
    return Rounded(codes.reshape(tensor.shape), scale)


def estimated_bytes(system: System) -> dict[str, dict[int, int]]:
    """The same for a model that no flatbuffer is written of: codes padded to 16 bytes, and each channel's metadata.

    An int4 layer has the operators that an int8 one has in such a model, so nothing is added for them.
    """
    costs: dict[str, dict[int, int]] = {}
    for source, parts in system.weights.items():
        channels = sum(part.channels for part in parts) * (2 * _OTHERS_CHANNEL + BYTES_A_BIAS["int8"])
        costs[source] = {
            width: channels + sum(-(-part.data.size * width // (8 * ALIGNMENT)) * ALIGNMENT for part in parts)
            for width in (8, 4)
        }
    return costs


def _int8_bytes(graph: Graph, source: str, bias_bytes: int, zero_points: set[int]) -> int:
    """Of each tensor once, however many operators read it, as the steps of an unrolled layer do.

    ``zero_points``: the numbers of channels whose zero points are counted already; this weight's are added.
    """
    tensors = {tensor.name: tensor for tensor in graph.weights()[source]}
    channels = {tensor.shape[0] for tensor in tensors.values()} - zero_points
    zero_points |= channels
    biases = {
        op.inputs[2] for op in graph.ops if op.signature.is_weighted and op.inputs[1] in tensors and len(op.inputs) == 3
    }
    return (
        sum(-(-weight.size // ALIGNMENT) * ALIGNMENT + SCALE_BYTES * weight.shape[0] for weight in tensors.values())
        + ZERO_POINT_BYTES * sum(channels)
        + sum(bias_bytes * graph.tensors[bias].size for bias in biases)
    )
