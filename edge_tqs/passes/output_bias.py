"""The bias of the output layer: the one place where a constant error of the forecast can be taken away for free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Graph


def output_bias(graph: Graph) -> str | None:
    """The bias tensor (F,) that is added to the forecast itself.

    None where there is none: the output is a state, or passes an activation or another operator, the layer has no
    bias, or the bias is read elsewhere too.
    """
    for op in graph.ops:
        if graph.output in op.outputs:
            if op.kind != "fully_connected" or op.attrs["activation"] != "none" or len(op.inputs) < 3:
                return None
            readers = sum(op.inputs[2] in other.inputs for other in graph.ops)
            return op.inputs[2] if readers == 1 else None
    return None


def shift_output(graph: Graph, shift: Sequence[float]) -> Graph:
    """``graph`` (float) with ``shift``, one value a channel in the model's units, added to its output bias.

    An empty shift changes nothing. Raises ModelError where the graph has no such bias or another number of channels.
    """
    if not shift:
        return graph
    name = output_bias(graph)
    bias = None if name is None else graph.tensors[name]
    if bias is None or bias.data is None or bias.shape != (len(shift),):
        raise ModelError(
            f"{graph.name}: a bias correction of {len(shift)} values fits no output bias of this model",
            hint="Set bias_correction to [] in the plan, or write the plan anew with `edge-tqs plan`.",
        )
    data = (bias.data + np.asarray(shift, np.float64)).astype(np.float32)
    return graph.with_tensors({bias.name: replace(bias, data=data)})
