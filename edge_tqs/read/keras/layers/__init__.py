"""Keras layers to graph operators, one file per kind of layer; never imports TensorFlow.

Adding a layer: one file with its reader, one row here.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.read.keras.layers import ops
from edge_tqs.read.keras.layers.activation import (
    read_activation,
    read_elu,
    read_leaky_relu,
    read_p_relu,
    read_relu,
    read_softmax,
)
from edge_tqs.read.keras.layers.attention import read_attention, read_multi_head_attention
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.conv import read_conv_1d, read_depthwise_conv_1d, read_separable_conv_1d
from edge_tqs.read.keras.layers.conv_transpose import read_conv_1d_transpose
from edge_tqs.read.keras.layers.dense import read_dense
from edge_tqs.read.keras.layers.embedding import check_embedding, read_embedding
from edge_tqs.read.keras.layers.gru import read_gru
from edge_tqs.read.keras.layers.image import as_sequence, read_conv_2d, read_depthwise_conv_2d, read_pooling_2d
from edge_tqs.read.keras.layers.lstm import read_lstm
from edge_tqs.read.keras.layers.merge import read_concatenate, read_merge
from edge_tqs.read.keras.layers.norm import (
    read_batch_normalization,
    read_layer_normalization,
    read_normalization,
    read_rescaling,
)
from edge_tqs.read.keras.layers.parts import parts_of
from edge_tqs.read.keras.layers.repeat import read_repeat_vector
from edge_tqs.read.keras.layers.shape import read_flatten, read_nothing, read_permute, read_reshape
from edge_tqs.read.keras.layers.simple_rnn import read_simple_rnn
from edge_tqs.read.keras.layers.window import (
    read_cropping_1d,
    read_global_average_pooling_1d,
    read_global_max_pooling_1d,
    read_pooling_1d,
    read_up_sampling_1d,
    read_zero_padding_1d,
)
from edge_tqs.read.keras.layers.wrappers import check_wrapper, read_bidirectional, read_rnn, read_time_distributed

__all__ = [
    "MERGING",
    "OF_IMAGES",
    "READERS",
    "RECURRENT",
    "UNBUILDABLE",
    "GraphBuilder",
    "KerasLayer",
    "Reader",
    "Weight",
    "as_sequence",
    "check_embedding",
    "check_wrapper",
    "is_over_time",
    "is_stateful",
    "parts_of",
    "spreads",
]

#: Adds a layer to the graph; raises ModelError, by ``layer.refuse``, for a setting that cannot be built.
Reader = Callable[[KerasLayer, GraphBuilder], None]

#: Keras class name -> its reader.
READERS: dict[str, Reader] = {
    "InputLayer": read_nothing,
    "Dense": read_dense,
    "Conv1D": read_conv_1d,
    "DepthwiseConv1D": read_depthwise_conv_1d,
    "SeparableConv1D": read_separable_conv_1d,
    "Conv1DTranspose": read_conv_1d_transpose,
    "Conv2D": read_conv_2d,
    "DepthwiseConv2D": read_depthwise_conv_2d,
    "Embedding": read_embedding,
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
    "AveragePooling2D": read_pooling_2d,
    "MaxPooling2D": read_pooling_2d,
    "GlobalAveragePooling2D": read_global_average_pooling_1d,  # over H * W samples
    "GlobalMaxPooling2D": read_global_max_pooling_1d,
    "BatchNormalization": read_batch_normalization,
    "LayerNormalization": read_layer_normalization,
    "Normalization": read_normalization,
    "Rescaling": read_rescaling,
    "Flatten": read_flatten,
    "Reshape": read_reshape,
    "Permute": read_permute,
    "Masking": read_nothing,  # of full windows; check_masking sees to it
    "Dropout": read_nothing,
    "SpatialDropout1D": read_nothing,
    "SpatialDropout2D": read_nothing,
    "AlphaDropout": read_nothing,
    "GaussianDropout": read_nothing,
    "GaussianNoise": read_nothing,
    "ActivityRegularization": read_nothing,
    "SimpleRNN": read_simple_rnn,
    "RNN": read_rnn,
    "Bidirectional": read_bidirectional,
    "TimeDistributed": read_time_distributed,
    "RepeatVector": read_repeat_vector,
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
        *("Add", "Subtract", "Multiply", "Concatenate", "Average", "Maximum", "Minimum"),
        *_ATTENTION,
        *ops.READERS,
    }
)

#: Layers of images (H, W, C), which they read as sequences (1, H * W, C).
OF_IMAGES = frozenset(
    {
        *("Conv2D", "DepthwiseConv2D", "AveragePooling2D", "MaxPooling2D"),
        *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Dense", "BatchNormalization", "Rescaling"),
        *("Flatten", "Reshape", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
        *("Activation", "ReLU", "LeakyReLU", "ELU", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    }
)

#: Layers with states: a model that has one becomes a step graph, unless it also has layers over time.
RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"})

#: Layers without a reader whose reason is worth saying: why, and what to do instead.
UNBUILDABLE: dict[str, tuple[str, str]] = {
    "ConvLSTM1D": (
        "its states are images, and no runtime has its convolutions of images over time",
        "Use Conv1D layers before an LSTM.",
    ),
    "Lambda": (
        "its code is in the file, and code of a file is not run",
        "Replace it, in the code that makes the model, by what it computes: x * 2 by keras.layers.Rescaling(2.0); "
        "x[:, -1:, :] by keras.layers.Cropping1D((W - 1, 0)), W being its samples, and x[:, -1, :] by that and "
        "keras.layers.Flatten(); expand_dims, squeeze and reshape by keras.layers.Reshape((...)) of the shape that it "
        "gives. Then new.set_weights(old.get_weights()), and save that.",
    ),
    "AdditiveAttention": (
        "it bends the sum of every query and every key, which is no sequence",
        "Use Attention or MultiHeadAttention.",
    ),
}

_OVER_TIME = frozenset(
    {"Conv1D", "Cropping1D", "ZeroPadding1D", "GlobalAveragePooling1D", "Flatten", "Reshape", "Permute"}
    | _ATTENTION
    | ops.OVER_TIME
    | {"DepthwiseConv1D", "SeparableConv1D", "AveragePooling1D", "MaxPooling1D", "GlobalMaxPooling1D", "UpSampling1D"}
    | {"Conv1DTranspose"}
)


def is_over_time(layer: KerasLayer) -> bool:
    """Whether a layer reads several samples of a sequence at once, which no step graph can."""
    if layer.of_samples and layer.kind not in ("Embedding", "ops.Cast"):
        return True
    if layer.kind == "Bidirectional" or (layer.kind in RECURRENT and len(layer.inputs) > 1):
        return True
    if layer.kind in RECURRENT and layer.config["go_backwards"]:
        return True
    if 4 in layer.ranks:
        return True
    if 3 not in layer.ranks:
        return False
    if ops.keeps_time(layer) or (ops.is_single(layer) and layer.kind in ("Flatten", "ops.GetItem")):
        return False
    by_axis = layer.kind in ("Concatenate", "ops.Softmax", "Softmax") and layer.config["axis"] in (1, -2)
    return layer.kind in _OVER_TIME or by_axis


def spreads(layer: KerasLayer) -> bool:
    """Whether a layer makes a sequence of a flat value: one that a step graph holds, but runs no other step over."""
    to_sequence = layer.kind == "Reshape" and len(layer.config["target_shape"]) > 1
    return layer.kind == "RepeatVector" or (to_sequence and 3 not in layer.ranks)


def is_stateful(layer: KerasLayer) -> bool:
    """Whether Keras carries the states of a recurrent layer on."""
    return bool(layer.config.get("stateful")) or any(is_stateful(part) for part in layer.parts)
