"""What LSTM and GRU have in common: the options that a step graph cannot express."""

from __future__ import annotations

from edge_tqs.layers.activation import describe_activation
from edge_tqs.layers.builder import KerasLayer


def check_gates(layer: KerasLayer) -> None:
    """Raise ModelError for activations other than Keras' defaults."""
    for option, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if layer.config.get(option) != wanted:
            found = describe_activation(layer.config.get(option))
            raise layer.refuse(f"{option} {found} is not supported", hint=f"Train it with {option}='{wanted}'.")


def check_recurrent(layer: KerasLayer) -> None:
    """Raise ModelError for what cannot be built as one step (x, states) -> (y, next states)."""
    check_gates(layer)
    config = layer.config
    for option in ("go_backwards", "return_state"):
        if config[option]:
            raise layer.refuse(f"{option}=True is not supported", hint=f"Train it with {option}=False.")
    if config["return_sequences"] and layer.last_recurrent:
        raise layer.refuse(
            "return_sequences=True on the last recurrent layer is not supported: a forecaster predicts one sample",
            hint="Set return_sequences=False on the last recurrent layer.",
        )
