"""`import edge_tqs`: what it offers, what it costs, and that it is what the commands run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tflite_models
from threadpoolctl import threadpool_info

import edge_tqs
from edge_tqs.api.threads import single_threaded
from edge_tqs.building.folder.directory import load
from edge_tqs.planning.divergence import single_threaded_workers
from edge_tqs.progress import Progress

ROOT = Path(__file__).parent.parent
VARIABLE = "OPENBLAS_NUM_THREADS"


def python(code: str, folder: Path = ROOT) -> str:
    """What a fresh Python without the tests' environment prints."""
    place = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, env=place
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_and_sets_nothing():
    code = (
        "import os, sys\nbefore = dict(os.environ)\nimport edge_tqs\n"
        "assert set(edge_tqs.__all__) <= set(dir(edge_tqs))\n"
        "heavy = {'numpy', 'click', 'tensorflow', 'keras', 'ai_edge_litert', 'serial'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "for name in edge_tqs.__all__:\n    assert getattr(edge_tqs, name) is not None\n"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert dict(os.environ) == before\n"
    )
    python(code)


def test_every_name_is_where_the_type_checker_finds_it():
    """The lazy table and the imports under TYPE_CHECKING name the same objects."""
    text = Path(edge_tqs.__file__).read_text()
    checked = {
        name.strip(): module
        for module, names in re.findall(r"^    from edge_tqs\.(\S+) import (.+)$", text, re.MULTILINE)
        for name in names.split(",")
    }
    assert checked == edge_tqs._PLACE_OF
    assert set(edge_tqs.__all__) - {"__version__"} - set(checked) == {
        name for name, value in vars(edge_tqs).items() if isinstance(value, type) and issubclass(value, Exception)
    }


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = edge_tqs.quantise  # type: ignore[attr-defined]
    from edge_tqs import boards  # a package is found beside the names

    assert isinstance(boards, ModuleType)


def test_the_command_sets_its_variable_before_numpy_is_imported():
    """Importing the command does not, running it does, and a value of the user's stays."""
    code = (
        "import os, sys\nimport edge_tqs.cli.main as command\n"
        f"assert '{VARIABLE}' not in os.environ and 'numpy' not in sys.modules\n"
        "{before}sys.argv = ['edge-tqs', 'boards']\n"
        "try:\n    command.main()\nexcept SystemExit as left:\n    assert not left.code\n"
        f"print(os.environ['{VARIABLE}'])"
    )
    assert python(code.format(before="")).splitlines()[-1] == "1"
    assert python(code.format(before=f"os.environ['{VARIABLE}'] = '3'\n")).splitlines()[-1] == "3"


@pytest.mark.parametrize("before", [None, "3"])
def test_worker_processes_have_one_thread_and_the_parent_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, before: str | None
):
    monkeypatch.delenv(VARIABLE) if before is None else monkeypatch.setenv(VARIABLE, before)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with single_threaded_workers():
            found = pool.submit(os.getenv, VARIABLE)
        assert found.result() == "1"
    assert os.environ.get(VARIABLE) == before


def test_products_have_one_thread_inside_and_what_they_had_outside():
    code = (
        "import numpy as np\nfrom threadpoolctl import threadpool_info\n"
        "from edge_tqs.api.threads import single_threaded\n"
        "count = lambda: [found['num_threads'] for found in threadpool_info() if found['user_api'] == 'blas']\n"
        "before = count()\nprint(single_threaded(count)(), count() == before)"
    )
    assert python(code).strip() == "[1] True"
    assert single_threaded(threadpool_info).__name__ == "threadpool_info"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "mlp.tflite"
    path.write_bytes(tflite_models.convert(tflite_models.build("mlp")))
    return path


def test_the_command_and_the_functions_write_the_same_bytes(
    run: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path
):
    quick = ("--horizon", "6", "--draws", "2", "--no-cache")
    code, out, err = run(
        "build", model, "--board", "host", "--mean-bits", "6", *quick, "--out", tmp_path / "a", "--json"
    )
    assert code == 0, err
    scored = edge_tqs.score(edge_tqs.open_model(model, horizon=6), draws=2, cache=False)
    built = edge_tqs.build(scored, board="host", mean_bits=6, out=tmp_path / "b")
    assert json.loads(out) == json.loads(built.report.to_json())
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert Path("firmware/model.c") in names
    compiled = [name for name in names if "build" in name.parts or name.name == "build.log"]  # these name their folder
    differing = [name for name in names if (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()]
    assert set(differing) <= set(compiled)


def test_each_step_goes_on_from_the_one_before(model: Path, tmp_path: Path):
    stages = []
    progress: Progress = lambda stage, done, total: stages.append(stage)  # noqa: E731
    opened = edge_tqs.open_model(model, horizon=6, progress=progress)
    assert (opened.window, opened.channels, opened.outputs, opened.steps, opened.refusal) == (
        tflite_models.WINDOW,
        3,
        3,
        1,
        None,
    )
    scored = edge_tqs.score(opened, draws=2, progress=progress)
    planned = edge_tqs.plan(scored, bits=4, progress=progress)
    quantized = edge_tqs.quantize(planned, progress=progress)
    assert set(planned.plan.widths().values()) == {4}
    assert replace(quantized.plan, activations=None) == planned.plan  # what it is built beside comes with building
    assert stages.count("reading the model") == 1
    built = edge_tqs.build(quantized, board="host", out=tmp_path / "built", progress=progress)
    assert stages.count("quantising") == 1
    assert built.report.model.hash == quantized.model_hash == load(built.path).model_hash
    result = edge_tqs.validate(built, rollouts=1, horizon=4)
    assert (result.passed, result.steps) == (True, 4)
    assert edge_tqs.compare(built, str(built.path), limits={"accuracy": 0, "ram": 2.5}).passed
    for found in (opened, scored, planned, quantized, built):
        assert len(repr(found)) < 200, "a notebook prints it"


def test_activations_are_changed_after_scoring(model: Path):
    scored = edge_tqs.score(edge_tqs.open_model(model, horizon=6), draws=2)
    wide = edge_tqs.quantize(scored, activations="int16", bits=8)
    direct = edge_tqs.quantize(
        edge_tqs.score(edge_tqs.open_model(model, horizon=6, activations="int16"), draws=2), bits=8
    )
    assert wide.flatbuffer == direct.flatbuffer
    assert wide.plan == direct.plan
    assert wide.flatbuffer != edge_tqs.quantize(scored, bits=8).flatbuffer


def test_ranges_are_measured_on_data_or_where_that_is_asked_for(model: Path, tmp_path: Path):
    csv = tmp_path / "series.csv"
    rows = np.random.default_rng(1).normal(size=(400, 3))
    csv.write_text("\n".join(["a,b,c", *(",".join(map(str, row)) for row in rows)]) + "\n")

    def tried(**said: Any) -> int:
        made = edge_tqs.open_model(model, horizon=2, scaling="none" if "data" in said else None, **said)
        scored = edge_tqs.score(made, draws=2)
        return edge_tqs.quantize(scored, bits=8).narrowed.tried

    assert tried(data=csv) == tried(ranges="measured") > 0
    assert tried(data=csv, ranges="minmax") == tried() == tried(ranges="measured", activations="int16") == 0


def test_data_and_scaling_are_keywords(model: Path, tmp_path: Path):
    channels = edge_tqs.open_model(model).channels
    names = [f"c{i}" for i in range(channels)]
    rows = np.random.default_rng(0).normal(3, 2, (200, channels))
    lines = [",".join(["other", *names]), *(",".join(map(str, [9, *row])) for row in rows)]
    csv = tmp_path / "series.csv"
    csv.write_text("\n".join(lines) + "\n")
    raw = edge_tqs.open_model(str(model), data=csv, columns=names, scaling="none")
    assert (raw.request.columns, raw.request.scaling) == (tuple(names), None)
    scaled = edge_tqs.open_model(model, data=str(csv), columns=names, scaling="standard")
    assert scaled.request.scaling is not None
    np.testing.assert_allclose(scaled.request.scaling.mean, rows[:160].mean(axis=0), rtol=1e-5)
    given = edge_tqs.Scaling((1.0,) * channels, (2.0,) * channels)
    assert edge_tqs.open_model(model, data=csv, columns=names, scaling=given).request.scaling == given


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: edge_tqs.plan(model, budget=100, bits=8), "exclude each other"),
        (lambda model: edge_tqs.plan(model, budget="flash"), "needs a board"),
        (lambda model: edge_tqs.plan(model, pins={"x": 7}), "7 bits"),
        (lambda model: edge_tqs.quantize(edge_tqs.plan(model, refine=False), bits=8), "planned already"),
        (lambda model: edge_tqs.build(edge_tqs.quantize(model, bits=8), board="host", bits=4), "plan settled"),
        (lambda model: edge_tqs.build(model, board="hots"), "no board is named"),
        (lambda model: edge_tqs.validate(model.parent, port=[]), "no port"),
        (lambda model: edge_tqs.compare(model, model, limits={"speed": 1}), "--limit speed"),
        (lambda model: edge_tqs.open_model(model, columns=["a"]), "no data"),
    ],
)
def test_wrong_use_is_told(call: Callable[[Path], object], words: str, model: Path):
    with pytest.raises(edge_tqs.UsageError, match=words) as caught:
        call(model)
    assert caught.value.hint


def test_the_example_of_the_docs_runs(tmp_path: Path):
    """On the shipped example, whose project's settings count."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (code, _) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    out = python(code, tmp_path)
    assert out.splitlines()[-1].endswith("bytes, 48 steps bit-exact: True")
    assert len(out.splitlines()) == 5
    assert (tmp_path / "build" / "python" / "report.html").is_file()


@pytest.mark.parametrize(
    ("shape", "name", "error", "says"),
    [
        ((2, 4, 3), "m.tflite", edge_tqs.UsageError, "shape (2, 4, 3), and a window is (1, W, F)"),
        ((1, 4, 3), "m.onnx", edge_tqs.UsageError, "m.onnx is not named as what is written"),
        ((1, 4, 3), "m.tflite", edge_tqs.ToolError, "litert-torch is not installed"),
    ],
)
def test_a_module_of_pytorch_needs_a_window_a_name_and_the_converter(
    shape: tuple[int, ...], name: str, error: type[edge_tqs.TqsError], says: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Converted for real by benchmarks/pytorch, for which gigabytes are downloaded."""
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(error, match=re.escape(says)) as caught:
        edge_tqs.from_torch(None, np.zeros(shape), tmp_path / name)
    assert caught.value.hint
