"""What was measured, on disk: one JSON a model, in a folder named after the code that measured it."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.data import HERE, ROOT

#: The modules that figures depend on: a change of one makes old records worthless.
CODE = {
    HERE: (
        "architectures",
        "choose",
        "data",
        "evaluate",
        "growth",
        "judge",
        "methods",
        "peer_program",
        "peers",
        "project",
        "rivals",
        "whole",
        "zoo",
    ),
    ROOT / "edge_tqs": (
        "operators/arithmetic/int8",
        "planning/divergence",
        "planning/file",
        "planning/gram_search",
        "planning/plan",
        "planning/refine",
        "planning/roundings",
        "planning/score",
        "quantization/sizes",
        "read/keras/system",
        "system/seeds",
        "system/system",
        "system/tensorflow_rollout",
    ),
}
#: As CODE, for kinds that are no closed loop.
KINDS_CODE = {
    HERE: ("architectures", "data", "judge", "methods", "rivals", "statistics"),
    HERE / "kinds": ("architectures", "evaluate", "problem", "truth", "zoo"),
    ROOT / "edge_tqs": (*CODE[ROOT / "edge_tqs"], "read/keras/model", "system/of_graph", "system/reading"),
}


def code_hash(code: Mapping[Path, Sequence[str]] = CODE) -> str:
    """Of the sources of ``code``."""
    found = hashlib.sha256()
    for folder, names in code.items():
        for name in names:
            found.update((folder / f"{name}.py").read_bytes())
    return found.hexdigest()[:12]


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``file`` holds, or else what ``make`` gives, written there."""
    if not file.exists():
        started = time.monotonic()
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(made) + "\n", encoding="utf-8")
        partial.replace(file)
        print(f"{file.stem}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
