"""Files of Keras 2, against what Keras 2 itself predicts; layers of the user's own; damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_tqs.cli.main import cli
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.read.keras.files import custom_objects, file_hash, read_config
from edge_tqs.read.keras.mending import mended
from edge_tqs.read.keras.model import load, load_keras
from edge_tqs.read.keras.protobuf import bytes_fields
from edge_tqs.read.opening import open_model
from edge_tqs.system.tensorflow import quiet

TESTS = Path(__file__).parent
TF_KERAS = TESTS.parent / ".venv-tf-keras"
NAMES = ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "Conv1D", "DepthwiseConv1D", "Frozen", "Functional")
OWN = """
import keras
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
NUMBER = 3
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What save_with_keras_2.py wrote."""
    assert TF_KERAS.is_dir(), "tools/setup installs Keras 2"
    folder = tmp_path_factory.mktemp("keras2")
    env = os.environ | {"PYTHONPATH": str(TF_KERAS), "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(TESTS / "save_with_keras_2.py"), str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", "", ".keras"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_keras_2_predicts_what_keras_2_does(name: str, suffix: str, saved: Path) -> None:
    model = load_keras(saved / f"{name}{suffix}")
    with quiet():
        found = np.asarray(model(np.load(saved / "x.npy"), training=False))
    assert np.abs(found - np.load(saved / f"{name}.npy")).max() <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "GRU", "Conv1D"])
def test_files_of_keras_2_become_graphs(name: str, saved: Path) -> None:
    for suffix in (".h5", "", ".keras"):
        loaded = load(saved / f"{name}{suffix}")
        assert loaded.float_vs_keras_max_abs < 1e-5
        assert len(loaded.source_hash) == 64


def test_a_layer_is_refused_by_name_before_tensorflow_is_loaded(saved: Path) -> None:
    code = (
        "import sys, pathlib\nfrom edge_tqs.read.keras.model import load\n"
        "try:\n load(pathlib.Path(sys.argv[1]))\n"
        "except Exception as error: print(error.message)\n"
        "print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(saved / "Twice.h5")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "layer twice (mine>Twice)" in out
    assert out.endswith("False\n")


def test_a_registered_layer_is_named_and_read_as_the_converter_takes_it_apart(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_twice.py").write_text(OWN)
    path = saved / "Twice.h5"
    with pytest.raises(ModelError, match=r"layer twice \(mine>Twice\)") as caught:
        open_model(path)
    assert "--custom-objects" in caught.value.hint
    opened = open_model(path, custom=("own_twice:Twice",))
    assert opened.system.channels == 3
    loaded, graph = opened.need_graph()
    assert "Layer twice (mine>Twice) is read as TensorFlow's converter takes it apart." in loaded.notes
    assert loaded.source_hash == file_hash(path, ("own_twice:Twice",))
    assert set(graph.weights()) <= {variable.path for variable in load_keras(path, ("own_twice:Twice",)).variables}
    assert file_hash(path) != file_hash(path, ("own_twice:Twice",))
    for text, reason in (("own_twice", "not module:name"), ("own_twice:No", "No"), ("own_twice:NUMBER", "neither")):
        with pytest.raises(UsageError, match=reason):
            custom_objects([text])


def test_what_keras_3_computes_otherwise_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"layer hard \(LSTM\): recurrent_activation hard_sigmoid"):
        load(saved / "hard.h5")
    with pytest.raises(ModelError, match=r"layer r \(GRU\): time_major=True"):
        mended({"class_name": "GRU", "config": {"name": "r", "time_major": True}})
    code = {
        "class_name": "Lambda",
        "config": {"name": "f", "function": ["4wEA", None, None], "function_type": "lambda"},
    }
    with pytest.raises(ModelError, match=r"layer f \(Lambda\): it holds Python code"):
        mended({"class_name": "Sequential", "config": {"layers": [code]}})
    with pytest.raises(ModelError, match="Python lambda"):
        mended({"activation": {"class_name": "__lambda__", "config": {}}})
    assert mended({"class_name": "GRU", "config": {}})["config"] == {"reset_after": False}


def test_weights_alone_and_incomplete_saved_models_say_what_is_missing(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights alone"):
        load(saved / "weights.h5")
    for gone, reason in (
        ("keras_metadata.pb", "only a graph"),
        ("variables", "its weights are missing"),
        ("saved_model.pb", "no SavedModel"),
    ):
        copy = tmp_path / gone
        shutil.copytree(saved / "LSTM", copy)
        shutil.rmtree(copy / gone) if (copy / gone).is_dir() else (copy / gone).unlink()
        with pytest.raises(ModelError, match=reason):
            load(copy)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Conv1D.h5", "Conv1D.keras", "Conv1D/keras_metadata.pb"])
def test_a_truncated_file_gives_one_clear_error(name: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved / "Conv1D", folder / "Conv1D")
    content = (saved / name).read_bytes()
    path = folder / name
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(ModelError) as caught:
            load_keras(folder / Path(name).parts[0])
        assert "\n" not in caught.value.message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_truncated_variables_give_one_clear_error(name: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved / "Conv1D", folder)
    content = (saved / "Conv1D" / "variables" / name).read_bytes()
    for tenth in (0, 3, 6, 9):
        (folder / "variables" / name).write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(ModelError):
            load_keras(folder)


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\xff" * 11, b"\x09abc", b"\x0f"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number|wire"):
        bytes_fields(message, 1)


def test_fields_are_found_by_number() -> None:
    assert bytes_fields(b"\x08\x96\x01\x12\x02hi\x1a\x01x\x12\x00", 2) == [b"hi", b""]


def test_config_is_read_without_the_model(saved: Path) -> None:
    for suffix in (".h5", "", ".keras"):
        file = read_config(saved / f"LSTM{suffix}")
        assert file.legacy
        assert [layer["class_name"] for layer in file.config["config"]["layers"]][-2:] == ["LSTM", "Dense"]


def test_custom_objects_are_an_option_and_a_key_of_the_project(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_twice", raising=False)
    (tmp_path / "own_twice.py").write_text(OWN)
    shutil.copy(saved / "Twice.h5", tmp_path / "net.h5")
    small = ["--horizon", "2", "--draws", "2", "--no-cache"]
    option = ["--custom-objects", "own_twice:Twice"]
    done = CliRunner().invoke(cli, ["score", "net.h5", *small, *option])
    assert done.exit_code == 0, done.exception
    (tmp_path / "edge-tqs.toml").write_text('[model]\npath = "net.h5"\ncustom_objects = ["own_twice:Twice"]\n')
    done = CliRunner().invoke(cli, ["plan", *small, "--no-refine"])
    assert done.exit_code == 0, done.exception
