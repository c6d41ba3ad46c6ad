"""Keras layers to graph operators, one file per kind of layer; never imports TensorFlow.

Adding a layer: one file with its reader, one row here.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.layers.activation import read_activation, read_elu, read_leaky_relu, read_relu
from edge_tqs.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.layers.conv import read_conv_1d, read_depthwise_conv_1d, read_separable_conv_1d
from edge_tqs.layers.dense import read_dense
from edge_tqs.layers.gru import read_gru
from edge_tqs.layers.lstm import read_lstm
from edge_tqs.layers.merge import read_concatenate, read_merge
from edge_tqs.layers.norm import (
    read_batch_normalization,
    read_layer_normalization,
    read_normalization,
    read_rescaling,
)
from edge_tqs.layers.shape import read_flatten, read_nothing, read_permute, read_reshape
from edge_tqs.layers.window import (
    read_cropping_1d,
    read_global_average_pooling_1d,
    read_global_max_pooling_1d,
    read_pooling_1d,
    read_up_sampling_1d,
    read_zero_padding_1d,
)

__all__ = ["MERGING", "READERS", "RECURRENT", "GraphBuilder", "KerasLayer", "Reader", "Weight", "is_over_time"]

#: Adds a layer to the graph; raises ModelError, by ``layer.refuse``, for a setting that cannot be built.
Reader = Callable[[KerasLayer, GraphBuilder], None]

#: Keras class name -> its reader.
READERS: dict[str, Reader] = {
    "InputLayer": read_nothing,
    "Dense": read_dense,
    "Conv1D": read_conv_1d,
    "DepthwiseConv1D": read_depthwise_conv_1d,
    "SeparableConv1D": read_separable_conv_1d,
    "LSTM": read_lstm,
    "GRU": read_gru,
    "Activation": read_activation,
    "ReLU": read_relu,
    "LeakyReLU": read_leaky_relu,
    "ELU": read_elu,
    "Add": read_merge,
    "Subtract": read_merge,
    "Multiply": read_merge,
    "Average": read_merge,
    "Maximum": read_merge,
    "Minimum": read_merge,
    "Concatenate": read_concatenate,
    "Cropping1D": read_cropping_1d,
    "ZeroPadding1D": read_zero_padding_1d,
    "GlobalAveragePooling1D": read_global_average_pooling_1d,
    "AveragePooling1D": read_pooling_1d,
    "MaxPooling1D": read_pooling_1d,
    "GlobalMaxPooling1D": read_global_max_pooling_1d,
    "UpSampling1D": read_up_sampling_1d,
    "BatchNormalization": read_batch_normalization,
    "LayerNormalization": read_layer_normalization,
    "Normalization": read_normalization,
    "Rescaling": read_rescaling,
    "Flatten": read_flatten,
    "Reshape": read_reshape,
    "Permute": read_permute,
    "Dropout": read_nothing,
    "SpatialDropout1D": read_nothing,
    "AlphaDropout": read_nothing,
    "GaussianDropout": read_nothing,
    "GaussianNoise": read_nothing,
    "ActivityRegularization": read_nothing,
}

#: Layers of several inputs.
MERGING = frozenset({"Add", "Subtract", "Multiply", "Concatenate", "Average", "Maximum", "Minimum"})

#: Layers with states: a model that has one becomes a step graph, unless it also has layers over time.
RECURRENT = frozenset({"LSTM", "GRU"})

_OVER_TIME = frozenset(
    {"Conv1D", "Cropping1D", "ZeroPadding1D", "GlobalAveragePooling1D", "Flatten", "Reshape", "Permute"}
    | {"DepthwiseConv1D", "SeparableConv1D", "AveragePooling1D", "MaxPooling1D", "GlobalMaxPooling1D", "UpSampling1D"}
)


def is_over_time(layer: KerasLayer) -> bool:
    """Whether a layer reads several samples of a sequence at once, which no step graph can."""
    if 3 not in layer.ranks:
        return False
    return layer.kind in _OVER_TIME or (layer.kind == "Concatenate" and layer.config["axis"] in (1, -2))
