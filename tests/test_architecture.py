"""The plan of DESIGN.md held: imports point down, and nothing loads TensorFlow that need not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edge_tqs"
GROUND = ("errors", "needs", "progress", "strict", "templates", "text_table")
#: A file may import the ground, its own package, and the packages before its own.
ORDER: tuple[str, ...] = (
    "graph",
    "operators",
    "passes",
    "system",
    "flatbuffer",
    "read",
    "planning",
    "quantization",
    "emit_c",
    "device",
)
ORDER += ("boards", "report", "project", "building", "exporting", "validation", "delivery", "api", "cli")
#: The package itself and `python -m edge_tqs` speak for the whole.
WHOLE = ("__init__", "__main__")
HEAVY = {"tensorflow", "keras", "ai_edge_litert", "tflite_runtime", "tflite_micro", "scipy"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.AST) -> list[str]:
    """Dotted names, inside functions too; `from edge_tqs import x` counts as edge_tqs.x."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"edge_tqs.{a.name}" for a in node.names] if node.module == "edge_tqs" else [node.module or ""]
    return found


def test_imports_point_down():
    wrong = []
    for path in MODULES:
        unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert unit in (*GROUND, *ORDER, *WHOLE), f"{path}: a package that ORDER does not name"
        below = {"__version__", unit, *GROUND, *(ORDER[: ORDER.index(unit)] if unit in ORDER else ())}
        used = {name.split(".")[1] for name in imports(ast.parse(path.read_text())) if name.startswith("edge_tqs.")}
        if unit not in WHOLE:
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(used - below)]
    assert not wrong


def test_a_room_has_at_most_24_files():
    rooms = {path for path in PACKAGE.rglob("*") if path.is_dir() and "__pycache__" not in path.parts}
    counts = {str(room): sum(f.is_file() for f in room.iterdir()) for room in rooms}
    assert not {room: count for room, count in counts.items() if count > 24}


def loaded_by(code: str) -> set[str]:
    """The heavy packages in sys.modules after ``code`` ran in a fresh Python."""
    shown = "\nimport sys\nprint(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + shown], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


def test_importing_every_module_loads_nothing_heavy():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.stem != "__main__"]
    assert loaded_by("\n".join(f"import {name.removesuffix('.__init__')}" for name in names)) == set()


@pytest.mark.parametrize("arguments", ["--help", "boards", "ports", "flash --help", "validate --help", "deploy --help"])
def test_commands_that_read_no_keras_model_load_nothing_heavy(arguments):
    run = (
        "import sys\nfrom edge_tqs.cli.main import main\n"
        f"sys.argv = ['edge-tqs', *{arguments.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code"
    )
    assert loaded_by(run) == set()


def test_the_check_itself_sees_imports_inside_functions():
    tree = ast.parse("def f():\n    from edge_tqs import a\n    import edge_tqs.b\n    from edge_tqs.c import Op\n")
    assert sorted(imports(tree)) == ["edge_tqs.a", "edge_tqs.b", "edge_tqs.c"]
