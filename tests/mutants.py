"""Mutate core modules a line at a time and hold their tests to it: `make mutants`.

    python tests/mutants.py                  all modules of [tool.mutmut] in pyproject.toml
    python tests/mutants.py "*.frames.*"     the mutants whose names fit

mutmut runs the tests that reach a mutant. A mutant that they all pass is a row of the table in docs/testing.md, which
says why no test can tell it apart. Exit 1 for one that is not in the table, and for a row whose mutant is found or
gone. What ran is kept in mutants/: remove it to begin anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "testing.md"
#: a test failed, or ran on for much longer than it takes
FOUND = ("killed", "timeout", "segfault")
ALIVE = ("survived", "no tests")
WORKERS = 2


def mutmut(*args: str) -> str:
    command = [sys.executable, "-m", "mutmut", *args]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def results() -> dict[str, str]:
    """Status by mutant, of those that were run."""
    lines = (line.strip().rsplit(": ", 1) for line in mutmut("results", "--all", "true").splitlines() if ": " in line)
    return {name: status for name, status in lines if "__mutmut_" in name and status != "not checked"}


def function_of(mutant: str) -> str:
    """memory.pack, of edge_tqs.emit_c.memory.x_pack__mutmut_3; a method with its class."""
    module, _, name = mutant.rpartition("__mutmut_")[0].rpartition(".")
    return ".".join([module.rpartition(".")[2], *re.sub(r"^x_?", "", name).strip("ǁ").split("ǁ")])


def row(mutant: str) -> str:
    """The cells of a mutant: its function, its line, and what became of it."""
    lines = [line for line in mutmut("show", mutant).splitlines() if re.match(r"[-+](?![-+]{2})", line)]
    changed = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return f"| {function_of(mutant)} | " + " | ".join(f"`{text}`".replace("|", "\\|") for text in changed)


def justified() -> list[str]:
    """The cells of the rows of the table, without the reason."""
    lines = TABLE.read_text(encoding="utf-8").partition("## Mutants")[2].splitlines()
    return [line.rsplit(" | ", 1)[0] for line in lines if re.match(r"\| \w+\.\w+(\.\w+)? \| `", line)]


def main(patterns: list[str]) -> int:
    """Run mutmut, print its figures by module, and compare what is alive with the table."""
    run = [sys.executable, "-m", "mutmut", "run", "--max-children", str(WORKERS), *patterns]
    if subprocess.run(run, cwd=ROOT, check=False).returncode != 0:
        return 2
    found = results()
    modules: dict[str, Counter[str]] = {}
    for name, status in found.items():
        modules.setdefault(function_of(name).partition(".")[0], Counter())[status] += 1
    for module, counts in modules.items():
        killed, alive = (sum(counts[status] for status in named) for named in (FOUND, ALIVE))
        unsure = counts.total() - killed - alive
        print(f"{module}: {counts.total()} mutants, {killed} found, {alive} alive, {unsure} unsure")
    rows, known = Counter(row(name) for name, status in found.items() if status in ALIVE), Counter(justified())
    new, gone = rows - known, known - rows if not patterns else Counter[str]()
    print("\n".join([f"{len(new)} not in the table of {TABLE.relative_to(ROOT)}", *sorted(new)]))
    print("\n".join([f"{len(gone)} of the table that are found, or gone", *sorted(gone)]))
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
