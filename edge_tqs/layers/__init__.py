"""Keras layers to graph operators, one file per kind of layer; never imports TensorFlow.

Adding a layer: one file with its reader, one row here.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.layers import ops
from edge_tqs.layers.activation import (
    read_activation,
    read_elu,
    read_leaky_relu,
    read_p_relu,
    read_relu,
    read_softmax,
)
from edge_tqs.layers.attention import read_attention, read_multi_head_attention
from edge_tqs.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.layers.conv import read_conv_1d
from edge_tqs.layers.dense import read_dense
from edge_tqs.layers.gru import read_gru
from edge_tqs.layers.lstm import read_lstm
from edge_tqs.layers.merge import read_concatenate, read_merge
from edge_tqs.layers.shape import read_flatten, read_nothing, read_permute, read_reshape
from edge_tqs.layers.window import read_cropping_1d, read_global_average_pooling_1d, read_zero_padding_1d

__all__ = [
    "MERGING",
    "READERS",
    "REASONS",
    "RECURRENT",
    "GraphBuilder",
    "KerasLayer",
    "Reader",
    "Weight",
    "is_over_time",
]

#: Adds a layer to the graph; raises ModelError, by ``layer.refuse``, for a setting that cannot be built.
Reader = Callable[[KerasLayer, GraphBuilder], None]

#: Keras class name -> its reader.
READERS: dict[str, Reader] = {
    "InputLayer": read_nothing,
    "Dense": read_dense,
    "Conv1D": read_conv_1d,
    "LSTM": read_lstm,
    "GRU": read_gru,
    "Activation": read_activation,
    "ReLU": read_relu,
    "LeakyReLU": read_leaky_relu,
    "ELU": read_elu,
    "PReLU": read_p_relu,
    "Softmax": read_softmax,
    "Add": read_merge,
    "Subtract": read_merge,
    "Multiply": read_merge,
    "Concatenate": read_concatenate,
    "Cropping1D": read_cropping_1d,
    "ZeroPadding1D": read_zero_padding_1d,
    "GlobalAveragePooling1D": read_global_average_pooling_1d,
    "Flatten": read_flatten,
    "Reshape": read_reshape,
    "Permute": read_permute,
    "Dropout": read_nothing,
    "SpatialDropout1D": read_nothing,
    "AlphaDropout": read_nothing,
    "GaussianDropout": read_nothing,
    "GaussianNoise": read_nothing,
    "ActivityRegularization": read_nothing,
    "MultiHeadAttention": read_multi_head_attention,
    "GroupQueryAttention": read_multi_head_attention,  # as files call it, and then its class
    "GroupedQueryAttention": read_multi_head_attention,
    "Attention": read_attention,
    **ops.READERS,
}

_ATTENTION = frozenset({"MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention", "Attention"})

#: Layers of several inputs.
MERGING = frozenset(
    {
        *("Add", "Subtract", "Multiply", "Concatenate"),
        *_ATTENTION,
        *ops.READERS,
    }
)

#: Why some layers cannot be built, where there is more to say than that nobody has.
REASONS = {
    "Embedding": "it looks rows up by values of the data; add Embedding(W, C)(ops.arange(W)) for positions instead",
    "AdditiveAttention": "it bends the sum of every query and every key, which is no sequence; use Attention instead",
}

#: Layers with states: a model that has one becomes a step graph, unless it also has layers over time.
RECURRENT = frozenset({"LSTM", "GRU"})

_OVER_TIME = frozenset(
    {"Conv1D", "Cropping1D", "ZeroPadding1D", "GlobalAveragePooling1D", "Flatten", "Reshape", "Permute"}
    | _ATTENTION
    | ops.OVER_TIME
)


def is_over_time(layer: KerasLayer) -> bool:
    """Whether a layer reads several samples of a sequence at once, which no step graph can."""
    if 3 not in layer.ranks:
        return False
    return layer.kind in _OVER_TIME or (layer.kind == "Concatenate" and layer.config["axis"] in (1, -2))
