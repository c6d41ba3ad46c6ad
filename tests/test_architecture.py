"""DESIGN.md held: imports point down, steps never import each other, and nothing loads TensorFlow that need not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edge_tqs"

#: Types and plain services, each of which may import those before it. Every module may import all of them.
FOUNDATION = (
    "errors",
    "needs",
    "shapes",
    "graph",
    "taps",
    "rollout",
    "fixed_point",
    "integer",
    "sigmoid_table",
    "integer16",
    "operators",
    "interpret",
    "graph_file",
    "loaded",
    "templates",
    "boards",
    "booted_linux",
    "direct_boot",
    "frames",
    "wire",
    "serial_port",
    "series",
    "progress",
    "tensorflow_import",
    "output_bias",
    "positions",
    "streaming",
    "system",
    "blocks",
    "targets",
    "trace",
    "graph_system",
    "keras_ends",
    "keras_system",
    "litert",
    "tflite_file",
    "tflite_weights",
    "tflite_system",
    "seeds",
    "protobuf_fields",
    "keras_mending",
    "keras_files",
)

#: Modules that are a part of one step, split off for size.
PARTS = {
    "layers": "keras_model",
    "keras_nodes": "keras_model",
    "tflite_lower": "tflite_model",
    "tflite_raise": "tflite_model",
    "tflite_rollout": "runtimes",
    "tflite_moves": "tflite_import",
    "tflite_operators": "tflite_import",
    "tflite_views": "tflite_import",
    "c_calls": "emit_c",
    "c_dense": "emit_c",
    "c_fusion": "emit_c",
    "c_tables": "emit_c",
    "c_text": "emit_c",
    "c_tables16": "emit_c",
    "memory": "emit_c",
    "drift": "report",
    "report_json": "report",
    "stack_bound": "firmware",
    "report_page": "report",
    "report_board": "report",
    "board_runs": "report",
    "report_files": "report",
    "report_html": "report",
    "plot": "report",
    "png": "report",
    "plan_file": "plan",
    "gram_search": "refine",
    "divergence": "score",
    "calibration": "quantize",
    "device_line": "device",
    "device_rollout": "device",
    "device_baud": "device",
    "runners": "emulator",
}

#: The pipelines and what feeds and shows them: they compose the steps.
COMPOSERS = {
    "sizes",
    "evaluate",
    "build_dir",
    "opening",
    "flash_room",
    "prepare",
    "dry_run",
    "choose",
    "frontier",
    "inspection",
    "build",
    "checks",
    "measure",
    "board_figures",
    "validate",
    "validate_boards",
    "operator_probe",
    "diagnosis",
    "findings",
    "request",
    "summary",
    "doctor",
    "compare",
    "junit",
    "pytest_plugin",
    "cli_options",
    "cli",
    "__main__",
}

#: (importer, imported): the exceptions to "steps never import each other", and why.
EXCEPTIONS = {
    ("refine", "plan"): "a refinement starts from the a-priori plan and ends in a plan",
    ("project", "plan"): "a project holds a budget; its syntax is the plan's",
    ("runtimes", "simulate"): "a runtime is driven in the codes of the integer reference",
    ("runtimes", "tflite_model"): "a runtime is fed and answers in the layout of the flatbuffer",
    ("bundle", "tflite_model"): "a bundle says the hash of the flatbuffer it holds",
    ("emulator", "flash"): "an emulated board is flashed before it runs",
    ("emulator", "bundle"): "an emulated Linux board runs its bundle",
}

#: The only importers of TensorFlow and Keras, and they do it inside functions.
TENSORFLOW = {"keras_files", "keras_model", "keras_system", "layers", "trace", "tensorflow_import"}
HEAVY = {"tensorflow", "keras", "ai_edge_litert", "tflite_runtime", "tflite_micro", "scipy"}


def unit(path: Path) -> str:
    """A module's name, or the name of the package in edge_tqs (layers, flash) that it is in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def step(name: str) -> str:
    return PARTS.get(name, name)


def imports(tree: ast.AST) -> list[str]:
    """Dotted names; `from edge_tqs import x` counts as edge_tqs.x."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "edge_tqs":
                found += [f"edge_tqs.{alias.name}" for alias in node.names]
            elif node.module:
                found.append(node.module)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def project_imports(path: Path) -> set[str]:
    """The units of edge_tqs that a file imports, itself and the package's own names left out."""
    units = {unit(other) for other in PACKAGE.rglob("*.py")}
    found = {name.split(".")[1] for name in imports(parse(path)) if name.startswith("edge_tqs.")}
    return (found & units) - {unit(path)}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    name = unit(path)
    if name in COMPOSERS:
        return
    if name in FOUNDATION:
        allowed = set(FOUNDATION[: FOUNDATION.index(name)])
    else:
        reached = {other for importer, other in EXCEPTIONS if importer == step(name)}
        own = {part for part, owner in PARTS.items() if owner == step(name) or owner in reached}
        allowed = {*FOUNDATION, step(name), *own, *reached}
    wrong = project_imports(path) - allowed
    assert not wrong, f"{name} may not import {', '.join(sorted(wrong))}: compose them in build or validate"


def test_no_composer_is_imported_by_a_step_and_every_exception_is_used():
    used = {
        (step(unit(path)), step(other))
        for path in MODULES
        for other in project_imports(path)
        if unit(path) not in COMPOSERS
    }
    assert not {pair for pair in used if pair[1] in COMPOSERS and unit_exists(pair[0]) and pair[0] != "__init__"}
    assert {pair for pair in EXCEPTIONS if unit_exists(pair[0])} <= used


def unit_exists(name: str) -> bool:
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_packages_are_imported_inside_functions(path):
    tree = parse(path)
    everywhere = {name.split(".")[0] for name in imports(tree)}
    assert unit(path) in TENSORFLOW or not everywhere & {"tensorflow", "keras"}
    at_import = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    top = {name.split(".")[0] for name in imports(ast.Module(at_import, []))}
    assert not top & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_has_one_job(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def loaded_by(code: str) -> set[str]:
    """The heavy packages in sys.modules after ``code`` ran in a fresh Python."""
    shown = "\nimport sys\nprint(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + shown], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


def test_importing_every_module_loads_nothing_heavy():
    names = []
    for path in MODULES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert loaded_by("\n".join(f"import {name}" for name in names)) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["boards"],
        ["boards", "--json"],
        ["ports"],
        ["doctor", "--help"],
        ["flash", "--help"],
        ["validate", "--help"],
    ],
)
def test_commands_that_read_no_keras_model_load_nothing_heavy(arguments):
    run = (
        "import sys\nfrom edge_tqs.cli import main\n"
        f"sys.argv = ['edge-tqs', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code"
    )
    assert loaded_by(run) == set()


def test_the_check_itself_sees_imports_inside_functions():
    tree = ast.parse(
        "def f():\n    from edge_tqs import plan\n    import edge_tqs.score\n    from edge_tqs.graph import Op\n"
    )
    assert sorted(imports(tree)) == ["edge_tqs.graph", "edge_tqs.plan", "edge_tqs.score"]
