"""Files of other frameworks, and .tflite files under other names, are answered with the way in."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edge_tqs.errors import ModelError

_FROM_TORCH = (
    "Convert it where PyTorch is (pip install litert-torch), with your window W and channels F: "
    "litert_torch.convert(module.eval(), (torch.zeros(1, W, F),)).export('model.tflite'). Then give model.tflite."
)
_FROM_ONNX = (
    "Convert it where ONNX is (pip install onnx2tf): onnx2tf -i {file} -kat INPUT, INPUT the name of its input. Then "
    "give saved_model/*_float32.tflite. A model from PyTorch is better converted by litert-torch."
)
#: Of pickles: PyTorch's before 1.6, scikit-learn's, joblib's.
_PICKLE = b"\x80"
_TFLITE = b"TFL3"


def refuse_foreign(path: Path) -> None:
    """Raise ModelError for a file of PyTorch or ONNX, a pickle, or a .tflite file under another name.

    A file that cannot be read, or is none of these, is left to the reader of Keras files.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    except (OSError, zipfile.BadZipFile, ValueError):
        return
    suffix, ends = path.suffix.lower(), {name.rpartition("/")[2] for name in names}
    if "config.json" in names:  # of Keras
        return
    if head[4:8] == _TFLITE:
        raise ModelError(f"{path} holds a .tflite model", hint=f"Give it that name: {path.stem}.tflite")
    if "data.pkl" in ends or "serialized_exported_program.json" in ends or "archive_format" in ends:
        raise ModelError(f"{path} is a file of PyTorch", hint=_FROM_TORCH)
    if suffix in (".pt", ".pth", ".pt2", ".ckpt", ".safetensors"):
        raise ModelError(f"{path} is by its name a file of PyTorch", hint=_FROM_TORCH)
    if suffix == ".onnx":
        raise ModelError(f"{path} is by its name an ONNX model", hint=_FROM_ONNX.format(file=path.name))
    if head[:1] == _PICKLE and suffix in (".pkl", ".pickle", ".joblib"):
        raise ModelError(
            f"{path} is a pickle, which would run code when it is read",
            hint="Save a Keras model with model.save('model.keras'), or convert the model to a float .tflite file.",
        )
