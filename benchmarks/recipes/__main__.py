"""Train the recipes, build and validate each, convert each with TFLite's converter, and write docs/recipes.md.

    python -m benchmarks.recipes                  all of them, about half an hour on two cores
    python -m benchmarks.recipes --only LSTM      those with LSTM in their names; prints, and writes no page

Projects and records are in build/recipes. A record is kept with the hash of the code that measured it: an interrupted
run goes on there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from benchmarks.recipes import elsewhere, keras_examples, page, tutorial
from benchmarks.recipes.measure import measure
from benchmarks.recipes.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "recipes"
FAMILIES = (tutorial, keras_examples, elsewhere)
#: Modules that a figure depends on, beside the recipe itself and all of edge_tqs.
MEASURING = ("flatbuffer", "measure", "project", "recipe", "series", "tflite")


def code_hash(recipe: Recipe) -> str:
    """Of what a record depends on: those sources, the recipe's fields, and its model as Keras writes it."""
    import keras

    here = Path(__file__).parent
    files = [*sorted((ROOT / "edge_tqs").rglob("*.py")), *(here / f"{name}.py" for name in MEASURING)]
    keras.backend.clear_session()  # numbers in names of layers start anew
    said = f"{replace(recipe, model=None)!r}{recipe.model().to_json()}"  # type: ignore[arg-type]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + said.encode()).hexdigest()[:12]


def kept(recipe: Recipe, seed: int, code: str) -> dict[str, Any]:
    """The record of a recipe: the one on disk where the same code has made it with the same seed, else a new one."""
    folder = BUILD / re.sub(r"[^A-Za-z0-9]+", "-", recipe.name)
    file = folder / "record.json"
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if (found.get("code"), found.get("seed")) == (code, seed):
            return found
    started = time.monotonic()
    made = {"code": code, "seed": seed, "date": f"{datetime.now(UTC):%Y-%m-%d}", **measure(recipe, seed, folder)}
    file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{recipe.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=(), metavar="WORD", help="recipes with one of these in the name")
    parser.add_argument("--seed", type=int, default=0, help="of training and series")
    args = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    records = [
        kept(recipe, args.seed, code_hash(recipe))
        for family in FAMILIES
        for recipe in family.RECIPES
        if not args.only or any(word in recipe.name for word in args.only)
    ]
    text = page.page(records, max(record["date"] for record in records), args.seed)
    if args.only:
        print(text.partition("## From the folder")[2])
    else:
        (ROOT / "docs" / "recipes.md").write_text(text, encoding="utf-8")
        print(page.summary(records))


if __name__ == "__main__":
    main()
