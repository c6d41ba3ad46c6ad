"""`make sanitize`: each portable kernel equals its reference on many cases, called through ctypes under ASan and UBSan.

The tests of the kernels run in a process into which the sanitizers are loaded, see c_library. Tables, inputs and
outputs are blocks of exact size, and the first byte beyond one ends the run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.templates import template_root

HERE = Path(__file__).parent
MODULES = ("test_c_kernels.py", "test_c_kernels16.py", "test_c_operators.py")
FULL = 100_000


@dataclass(frozen=True)
class Outcome:
    """passed: every comparison held and no sanitizer spoke. ran: kernel -> cases. output: what pytest and they said."""

    passed: bool
    ran: Mapping[str, int]
    output: str


def portable_kernels() -> list[str]:
    return sorted(path.stem for path in (template_root() / "kernels").glob("*.c"))


def run(cases: int, kernels: Path | None = None, only: str = "") -> Outcome:
    """``cases`` a kernel or more. kernels: other C files in their place; only: the tests whose names hold this."""
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        variables = {
            "LD_PRELOAD": library.strip(),
            "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16",  # Python keeps blocks until the process ends
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "EDGE_TQS_SANITIZED_CASES": str(cases),
            "EDGE_TQS_SANITIZED_REPORT": str(report),
            "EDGE_TQS_SANITIZED_KERNELS": str(kernels or template_root() / "kernels"),
        }
        command = [sys.executable, "-m", "pytest", "-x", "-s", "-p", "no:cacheprovider", f"--basetemp={folder}/tests"]
        done = subprocess.run(
            [*command, "-k", only, *(str(HERE / module) for module in MODULES)],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        ran = json.loads(report.read_text()) if report.exists() else {}
    return Outcome(done.returncode == 0, ran, done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sanitize")
    parser.add_argument("--cases", type=int, default=FULL, help="of each kernel")
    cases = parser.parse_args().cases
    outcome = run(cases)
    few = [kernel for kernel in portable_kernels() if outcome.ran.get(kernel, 0) < cases]
    if not outcome.passed or few:
        print(outcome.output, f"\nfewer than {cases:,} cases: {', '.join(few) or 'none'}")
        return 1
    for kernel, count in sorted(outcome.ran.items()):
        print(f"{kernel:20} {count:11,}")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{len(outcome.ran)} kernels, {cases:,} cases each or more, no finding; ", end="")
    print(f"{spent.ru_utime + spent.ru_stime:.0f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
