"""Configs of Keras 2 as Keras 3 takes them: what it no longer has is left out where it means nothing, else refused."""

from __future__ import annotations

from typing import Any

from edge_tqs.errors import ModelError

_RECURRENT = {"time_major": (False,)}
_UNGROUPED = {"groups": (1,)}
#: Options that Keras 3 lacks: class -> option -> the values that change nothing.
_GONE: dict[str, dict[str, tuple[Any, ...]]] = {
    "RNN": _RECURRENT,
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "DepthwiseConv1D": _UNGROUPED,
    "DepthwiseConv2D": _UNGROUPED,
    "SeparableConv1D": _UNGROUPED,
    "SeparableConv2D": _UNGROUPED,
    "Conv1DTranspose": _UNGROUPED,
    "BatchNormalization": {"renorm": (False,), "fused": (None, True, False), "virtual_batch_size": (None,)},
}
#: Layers inside a layer's config.
_WRAPPED = ("layer", "backward_layer")
_ACTIVATIONS = ("activation", "recurrent_activation")


def mended(item: Any) -> Any:
    """``item``, a config of Keras 2 or a part of one, for Keras 3.

    Raises ModelError, by the layer's name, for an option that means something Keras 3 does not compute.
    """
    if isinstance(item, list):
        return [mended(value) for value in item]
    if not isinstance(item, dict):
        return item
    kind = item.get("class_name")
    if kind == "__lambda__":
        raise ModelError(
            "holds a Python lambda, which is not run out of a file",
            hint="Write it as a function, and register that with --custom-objects module:name.",
        )
    if kind == "__tuple__":
        return mended(item["items"])
    if kind in ("Policy", "DTypePolicy") and set(item.get("config", {})) == {"name"}:
        return item["config"]["name"]
    fixed = {key: mended(value) for key, value in item.items() if key != "shared_object_id"}
    if isinstance(kind, str) and isinstance(fixed.get("config"), dict):
        fixed["config"] = _config(kind, fixed["config"])
        if kind == "Model":  # Functional, as TensorFlow 2.0 to 2.2 called it
            fixed["class_name"] = "Functional"
            if fixed.get("registered_name") == kind:
                fixed["registered_name"] = "Functional"
        if fixed["class_name"] == "Functional" and "module" in fixed:
            fixed["module"] = "keras.src.models.functional"  # as Keras 3 itself writes
    if kind == "Sequential":
        fixed["config"] = _sequential(fixed["config"])
    return fixed


def _config(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    where = f"layer {config.get('name', '?')} ({kind})"
    fixed = dict(config)
    for option, harmless in _GONE.get(kind, {}).items():
        if option in fixed and fixed.pop(option) not in harmless:
            raise ModelError(
                f"{where}: {option}={config[option]!r} is of Keras 2 and does not exist in Keras 3",
                hint=f"Build the model with {option}={harmless[0]!r}.",
            )
    if kind == "Lambda" and not (fixed.get("function_type") == "function" and isinstance(fixed.get("function"), str)):
        raise ModelError(
            f"{where}: it holds Python code, which is not run out of a file",
            hint="Write it as a layer of your own, and register that with --custom-objects module:name.",
        )
    for option in _ACTIVATIONS:
        value = fixed.get(option)
        if (value.get("config") if isinstance(value, dict) else value) == "hard_sigmoid":
            raise ModelError(
                f"{where}: {option} hard_sigmoid is clip(0.2 x + 0.5) in Keras 2, and x / 6 + 0.5 in Keras 3",
                hint="Train the model with sigmoid, or convert it to a float .tflite file and give that.",
            )
    for option in _WRAPPED:
        inner = fixed.get(option)
        if isinstance(inner, dict) and "module" not in inner and ">" not in str(inner.get("class_name")):
            fixed[option] = inner | {"module": "keras.layers", "registered_name": None}  # Keras 3 asks for it here
    if kind == "GRU":
        fixed.setdefault("reset_after", False)  # what Keras computed before there was a choice
    if kind == "InputLayer":
        if fixed.pop("ragged", False) or fixed.get("sparse"):
            raise ModelError(f"{where}: its input is ragged or sparse", hint="Give it dense windows, (batch, W, F).")
        if "batch_input_shape" in fixed:
            fixed["batch_shape"] = fixed.pop("batch_input_shape")
    if kind == "BatchNormalization" and isinstance(fixed.get("axis"), list) and len(fixed["axis"]) == 1:
        fixed["axis"] = fixed["axis"][0]
    return fixed


def _sequential(config: Any) -> dict[str, Any]:
    """A Sequential's config that begins with an InputLayer wherever the shape of the input is known.

    Raises TypeError or LookupError for what is no config.
    """
    layers = config if isinstance(config, list) else config["layers"]  # a bare list before Keras 2.2.3
    fixed = {"layers": layers} if isinstance(config, list) else dict(config)
    built = fixed.pop("build_input_shape", None)
    shape = layers[0]["config"].get("batch_input_shape", built) if layers else None
    if layers and layers[0]["class_name"] != "InputLayer" and shape is not None:
        fixed["layers"] = [{"class_name": "InputLayer", "config": {"name": "input", "batch_shape": shape}}, *layers]
    for layer in layers:
        layer["config"].pop("batch_input_shape", None)
    return fixed
