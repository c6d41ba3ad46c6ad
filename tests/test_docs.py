"""The docs do what they say: commands are run, links lead somewhere, figures that can change are those of the project.

A block of commands is a fence of `sh`. One that cannot run here has, on the line before, `<!-- not run: WHY -->`; its
options are checked all the same. A fence with a title is a file, which later blocks of the page find. A fence of `text`
after a block shows what it prints: each of its lines begins with the first word of a printed one, in order, and has its
figures, up to dots.
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from test_architecture import GROUND, ORDER

from benchmarks.kernels_table import written
from edge_tqs.boards.board import list_boards
from edge_tqs.cli.main import cli

ROOT = Path(__file__).parent.parent
RUN_PAGES = ["README.md", *(f"docs/tutorial/{p.name}" for p in sorted((ROOT / "docs/tutorial").glob("*.md")))]
TOPS = ("docs/**", "examples/*", "benchmarks/*", "firmware_templates", ".")
PAGES = [str(path.relative_to(ROOT)) for top in TOPS for path in sorted(ROOT.glob(f"{top}/*.md"))]
#: What may keep a block from being run, by its first words.
REASONS = ("needs a real board", "needs root", "needs a board file of your own", "sets up the machine")
#: First words of lines whose figures depend on the machine: its libraries, its compiler.
OF_A_MACHINE = ("float", "runtimes", "latency", "memory")
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>.+) -->\n)?^(?P<indent> *)```(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
RUNNING = ("sh", "bash", "console", "shell")
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Block:
    """A fence. why: the reason that it is not run, "" where it is; title: the file that it is."""

    kind: str
    text: str
    why: str = ""
    title: str = ""

    @property
    def commands(self) -> list[str]:
        """Its lines, less comments and empty ones; a line that ends with a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.split("   #")[0].strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks(text: str) -> list[Block]:
    return [Block(f["kind"], f["text"], f["why"] or "", f["title"] or "") for f in FENCE.finditer(text)]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory, keras: Any) -> Path:
    """A folder with what pages take for granted: a model of a window of 16 samples of a sensor, fitted to a CSV."""
    folder = tmp_path_factory.mktemp("quick")
    time = np.arange(800)
    series = 40 + 5 * np.sin(time / 2) + 0.3 * np.random.default_rng(0).normal(size=800)
    lines = [f"{np.datetime64('2024-03-01T00') + hour},{value:.4f}" for hour, value in zip(time, series, strict=True)]
    (folder / "measurements.csv").write_text("\n".join(["timestamp,temperature", *lines]) + "\n")
    keras.utils.set_random_seed(1)
    hidden, made = keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((16, 1)), keras.layers.Flatten(), hidden, made])
    scaled = (series - series[:640].mean()) / series[:640].std()
    windows = np.stack([scaled[start : start + 16] for start in range(600)])
    inner = np.tanh(windows @ hidden.get_weights()[0])
    solved = np.linalg.lstsq(np.c_[inner, np.ones(600)], scaled[16:616], rcond=None)[0]
    made.set_weights([solved[:-1, None], solved[-1:]])
    model.save(folder / "model.keras")
    return folder


def project(quick: Path, folder: Path, name: str) -> None:
    """In ``folder`` what the page ``name`` begins with."""
    if name == "docs/tutorial/emulator.md":  # a checkout
        shutil.copytree(ROOT / "examples/greenhouse", folder / "examples/greenhouse", ignore=lambda *_: ["build"])
    elif name != "docs/tutorial/own-model.md":
        for file in ("model.keras", "measurements.csv"):
            (folder / file).write_bytes((quick / file).read_bytes())


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.parametrize("name", RUN_PAGES)
def test_the_commands_of_a_page_run(
    name: str, quick: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(quick, tmp_path, name)
    monkeypatch.chdir(tmp_path)
    found = blocks(page(name))
    if not any("edge-tqs init" in block.text for block in found) and (tmp_path / "model.keras").exists():
        assert run("init", "model.keras", "--data", "measurements.csv")[0] == 0
    printed: list[str] = []
    ran = 0
    for block in found:
        if block.title:
            Path(block.title).write_text(block.text)
        elif block.kind == "text":
            seen = iter(line for line in printed if line.strip())
            for line in block.text.splitlines():
                same = next((found for found in seen if found.split()[0] == line.split()[0]), None)
                assert same is not None, (line, printed)
                assert line.split()[0] in OF_A_MACHINE or agrees(line, same), (line, same)
        elif block.kind in RUNNING and not block.why:
            printed = [line for command in block.commands for line in ran_here(command, run, monkeypatch)]
            ran += len(block.commands)
    assert ran or all(block.why for block in found if block.kind in RUNNING)


def ran_here(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that ``command`` prints: edge-tqs and cd in this process, any other in a shell."""
    words = shlex.split(command)
    if words[0] == "cd":
        monkeypatch.chdir(words[1])
        return []
    if words[0] == "edge-tqs":
        code, out, err = run(*words[1:])
        assert code == 0, (command, out, err)
        return out.splitlines()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.splitlines()


def agrees(shown: str, seen: str) -> bool:
    """Whether ``seen`` begins with the figures of ``shown``, up to its dots; a hundredth off on other machines."""
    number = re.compile(r"(?<![\w/])-?\d[\d,]*\.?\d*(?:e-\d+)?")
    wanted, found = (
        [float(n.replace(",", "")) for n in number.findall(text)] for text in (shown.partition("...")[0], seen)
    )
    return len(found) >= len(wanted) and all(abs(a - b) <= 0.01 * abs(a) for a, b in zip(wanted, found, strict=False))


def test_figures_are_compared() -> None:
    assert agrees("plan  3 weights int8: 7,752 of 9,440 ...", "plan  3 weights int8: 7,752 of 9,440 bytes (5)")
    assert not agrees("plan  3 weights int8: 7,752 of 9,440 ...", "plan  3 weights int8: 7,652 of 9,440 bytes (5)")
    assert not agrees("error  RMSE 0.16, MSE 0.27", "error  RMSE 0.16")


def test_the_readme_has_the_figures_of_the_tutorial() -> None:
    """Which are those of a build: the tutorial's commands run above, on the same example."""
    text, readme = page("docs/tutorial/emulator.md"), " ".join(page("README.md").split())

    def figures(line: str) -> tuple[str, ...]:
        found = re.search(f"^{line}", text, re.MULTILINE)
        assert found is not None, line
        return found.groups()

    built, int4, float32 = figures(r"plan .*: (\S+) bytes \(int4 (\S+), int8 \S+, float32 (\S+)\)")
    assert f"{float32} bytes of float, {int4} at int4 | {built} bytes, all int8, by default; " in readme
    far4, far = figures(r"divergence .*: int8 \S+, int4 (\S+), mixed (\S+)")
    assert f"RMSE from float {float(far):.3f}, where all int4 has {float(far4):.3f} " in readme
    last, before = figures(r"deploy\? .* error is (\d+)% .* value and (\d+)% ")
    assert f"error {last} % below that of the last value repeated, {before} % below that of the day before" in readme
    errors = figures(r"  air_temp +all +RMSE +data's unit +(\S+) +\S+ +\S+ +(\S+) .* to \S+ +(\S+) +(\S+) +\S+$")
    exact, built, last, before = (f"{float(value):.3g}" for value in errors)
    assert f"RMSE is {built}, that of the float model {exact}, of the day before {before}, of the last value" in readme
    described = f"float {exact}, the build {built}, the values of 48 samples before {before}, the last one {last}."
    assert described in page("docs/forecast.svg")


def test_the_demo_is_what_the_tutorial_runs_by_hand() -> None:
    recipe = subprocess.run(["make", "-n", "demo"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    made = re.findall(r"/edge-tqs (.*)", recipe)
    assert len(made) == 2
    shown = [
        line for block in blocks(page("docs/tutorial/emulator.md")) if block.kind == "sh" for line in block.commands
    ]
    assert [f"edge-tqs {words}" for words in made] == [line for line in shown if line.startswith("edge-tqs")]


@pytest.mark.parametrize("name", PAGES)
def test_blocks_that_are_not_run_say_why_and_commands_have_the_options_that_they_show(name: str) -> None:
    for block in blocks(page(name)):
        assert not block.why or block.why.startswith(REASONS), f"{block.why!r} is none of {REASONS}"
        shown = block.commands if block.kind in RUNNING else []
        for command in shown:
            for words in map(shlex.split, re.findall(r"\bedge-tqs .*", command.rstrip(")"))):
                parse(words[1:])
    for command in re.findall(r"^    (edge-tqs .*)$", prose(name), re.MULTILINE):  # an indented block
        parse(shlex.split(command.split("   #")[0])[1:])


def parse(words: list[str]) -> None:
    """Raises click's UsageError where no command has such a name, option or value."""
    subcommand = cli.commands[words[0]]
    subcommand.parse_args(click.Context(subcommand, info_name=words[0]), words[1:])


@pytest.mark.parametrize("words", ["build --bord host", "build", "validate", "plan --bits 5"])
def test_a_command_that_does_not_exist_is_seen(words: str) -> None:
    with pytest.raises(click.UsageError):
        parse(words.split())


def test_a_mark_is_read_and_files_are_known() -> None:
    text = '<!-- not run: needs root -->\n```sh\nsudo a   # why\n```\n\n```python title="a.py"\nb\n```\n'
    marked, file, last = blocks(text + "```sh\nc \\\n d\n```\n")
    assert (marked.why, marked.commands) == ("needs root", ["sudo a"])
    assert (file.title, file.text) == ("a.py", "b\n")
    assert (last.why, [command.split() for command in last.commands]) == ("", [["c", "d"]])


# --- links and names ------------------------------------------------------------------------------------------------


def prose(name: str) -> str:
    return FENCE.sub("", page(name))


def anchors(file: Path) -> set[str]:
    """The anchors of headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)) for title in titles)
    return {title.strip().lower().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    here = ROOT / name
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(name)):
        path, _, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])  # which tells of older trees
def test_files_and_modules_that_a_page_names_exist(name: str) -> None:
    made = {block.title for block in blocks(page(name))} | {"blocks.py", "model.c", "model.h", "board.h"}
    tops = ("edge_tqs", "firmware_templates", "tests", "benchmarks", "examples", "tools")
    known = {path.name.removesuffix(".in") for top in tops for path in (ROOT / top).rglob("*.*")}
    for quoted in re.findall(r"`([^`\n]+)`", prose(name)):
        for path in re.findall(r"(?<![\w./*-])[\w./-]+\.(?:py|c|h|cjs|sh|toml)(?!\w)", quoted):
            exists = any((top / path).exists() for top in (ROOT, ROOT / "firmware_templates", (ROOT / name).parent))
            assert exists or path.removeprefix("./") in known | made or re.search("NAME|my-|^build/", path), path
        for dotted in re.findall(r"(?<![\w/.-])edge_tqs(?:\.[A-Za-z_]\w*)+(?=$|[^\w(]|\()", quoted):
            if not quoted.startswith(("[", '"')):
                pkgutil.resolve_name(dotted)


def test_the_readme_counts_the_boards_that_run_in_an_emulator() -> None:
    boards = list_boards()
    emulated = sum(board.proven == "emulated" for board in boards)
    assert f"| {emulated} of {len(boards)} run " in page("README.md")


def test_the_design_has_a_row_for_each_package_in_their_order() -> None:
    rows = page("DESIGN.md").split("## Packages")[1].split("| package |")[1].split("\n\n")[0].splitlines()[2:]
    assert tuple(row.split("|")[1].strip() for row in rows) == ORDER
    ground = re.search(r"the ground \(([^)]*)\)", page("DESIGN.md"))
    assert ground is not None
    assert tuple(ground[1].replace("\n", " ").split(", ")) == GROUND


def test_the_tables_of_the_kernels_are_those_that_were_counted():
    page, counts = (ROOT / "docs/kernels.md").read_text(), json.loads((ROOT / "benchmarks/kernels.json").read_text())
    assert written(page, counts) == page, "run python -m benchmarks.kernels_table"
    counts["conv-3x16x16"]["a76"]["int8"]["instructions"] += 1
    assert written(page, counts) != page
