"""A Graph on disk, a zip of constants and a JSON header: `validate` has the float model without Keras."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, Output, Quant, Scaling, State, Tensor

FORMAT_VERSION = 3
#: Version 2 had neither steps nor outputs: one sample of all channels.
READABLE = (2, 3)
HEADER = "graph.json"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same graph gives the same bytes


def save_graph(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``; equal graphs give equal bytes."""
    names = [name for name, tensor in graph.tensors.items() if tensor.data is not None]
    header = {
        "format_version": FORMAT_VERSION,
        "name": graph.name,
        "tensors": [_describe(tensor) for tensor in graph.tensors.values()],
        "constants": names,
        "ops": [
            {"kind": op.kind, "inputs": op.inputs, "outputs": op.outputs, "attrs": dict(op.attrs)} for op in graph.ops
        ],
        "input": graph.input,
        "output": graph.output,
        "states": [asdict(state) for state in graph.states],
        "forecast": _describe_forecast(graph.forecast),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, ZIP_EPOCH), json.dumps(header, sort_keys=True))
        for index, name in enumerate(names):
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(graph.tensors[name].data), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{index}.npy", ZIP_EPOCH), buffer.getvalue())


def load_graph(path: Path) -> Graph:
    """Read what save_graph wrote. Raises ModelError when ``path`` is missing, damaged or of another version."""
    hint = "Run `edge-tqs build` again to write it anew."
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(HEADER))
            if header["format_version"] not in READABLE:
                raise ModelError(
                    f"{path} has format version {header['format_version']}, not {FORMAT_VERSION}", hint=hint
                )
            constants = {
                name: np.load(io.BytesIO(archive.read(f"{index}.npy")), allow_pickle=False)
                for index, name in enumerate(header["constants"])
            }
            return _graph(header, constants).check()
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist", hint=hint) from None
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is not a graph file: {error}", hint=hint) from error


def _describe(tensor: Tensor) -> dict[str, Any]:
    quant = tensor.quant
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "source": tensor.source,
        "group": tensor.group,
        "scale": None if quant is None else [float(s) for s in quant.scale],
        "zero_point": None if quant is None else quant.zero_point,
    }


def _describe_forecast(forecast: Forecast) -> dict[str, Any]:
    """Its fields; without ``whole`` where no rows are looked up, as files have it from before there was that."""
    fields = asdict(forecast)
    if not forecast.whole:
        del fields["whole"]
    return fields


def _graph(header: dict[str, Any], constants: dict[str, Any]) -> Graph:
    return Graph(
        name=header["name"],
        tensors={
            item["name"]: Tensor(
                item["name"],
                tuple(item["shape"]),
                item["dtype"],
                constants.get(item["name"]),
                None if item["scale"] is None else Quant(np.asarray(item["scale"], np.float32), item["zero_point"]),
                item["source"],
                item["group"],
            )
            for item in header["tensors"]
        },
        ops=tuple(Op(op["kind"], tuple(op["inputs"]), tuple(op["outputs"]), op["attrs"]) for op in header["ops"]),
        input=header["input"],
        output=header["output"],
        states=tuple(State(**state) for state in header["states"]),
        forecast=_forecast(header["forecast"]),
    )


def _forecast(given: dict[str, Any]) -> Forecast:
    """Files of an earlier version hold the first fields alone."""
    outputs = (Output(**output) for output in given.get("predicted", ()))
    return Forecast(
        given["window"],
        given["channels"],
        given["recurrence"],
        tuple(given["feedback"]),
        tuple(given["columns"]),
        _scaling(given["scaling"]),
        given.get("steps", 1),
        given.get("outputs", given["channels"]),
        tuple(given.get("held", ())),
        tuple(outputs),
        _scaling(given.get("output_scaling")),
        given.get("task", "forecast"),
        tuple((channel, count) for channel, count in given.get("whole", ())),
    )


def _scaling(given: dict[str, Any] | None) -> Scaling | None:
    return None if given is None else Scaling(tuple(given["mean"]), tuple(given["std"]))
