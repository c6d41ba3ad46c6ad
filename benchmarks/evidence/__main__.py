"""Train the zoo, measure every method on it, and write docs/evidence.md with its plots, and docs/evidence-kinds.md.

    python -m benchmarks.evidence            over an hour on one core
    python -m benchmarks.evidence --kinds    only the kinds that are no closed loop: a quarter of an hour
    python -m benchmarks.evidence --quick    a few models, no growth, written to build/evidence/quick

What is done is kept in build/evidence: trained models, and one JSON a model as soon as it is measured, in a folder that
is named after the code that measures. An interrupted run goes on there; delete build/evidence/models to train anew.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.evidence import choose, evaluate, growth, page, peers, zoo
from benchmarks.evidence.data import BUILD, ROOT
from benchmarks.evidence.kinds import evaluate as kinds_evaluate
from benchmarks.evidence.kinds import page as kinds_page
from benchmarks.evidence.kinds import zoo as kinds_zoo
from benchmarks.evidence.records import CODE, KINDS_CODE, code_hash, kept

#: Training seeds of each pair that settings are chosen on.
CHOOSING_SEEDS = 1
#: Of a quick run, hardly trained: architectures of closed loops, and other kinds, of the choosing half. All are fast,
#: and none of their series is downloaded.
QUICK = ("mlp",)
QUICK_KINDS = (("classes", "residual-mlp"), ("reconstruction", "autoencoder"))
QUICK_STEPS = 60


def choosing_of(member: zoo.Member) -> dict[str, Any]:
    return choose.measure(zoo.trained(member), evaluate.WINDOWS)


def judging_of(member: zoo.Member, settings: choose.Settings, *, peer: bool) -> dict[str, Any]:
    return evaluate.measure(zoo.trained(member), settings, peer=peer)


def choosing(members: list[zoo.Member], root: Path) -> list[dict[str, Any]]:
    return [kept(root / "choosing" / f"{m.name}.json", partial(choosing_of, m)) for m in members]


def judging(members: list[zoo.Member], settings: choose.Settings, root: Path, *, peer: bool) -> list[dict[str, Any]]:
    folder = root / f"judging-{settings.draws}-{settings.seeds}{'' if peer else '-without-peer'}"
    return [kept(folder / f"{m.name}.json", partial(judging_of, m, settings, peer=peer)) for m in members]


def kinds(members: list[kinds_zoo.Member], settings: choose.Settings, root: Path) -> list[dict[str, Any]]:
    def measured(member: kinds_zoo.Member) -> dict[str, Any]:
        return kinds_evaluate.measure(kinds_zoo.trained(member), settings)

    folder = root / f"kinds-{settings.draws}-{settings.seeds}"
    return [kept(folder / f"{m.name}.json", partial(measured, m)) for m in members]


def one_thread() -> None:
    """As the figures in seconds are of one core, and results must not depend on how sums are split."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def closed_loops(target: Path, root: Path, *, quick: bool, peer: bool) -> choose.Settings:
    """Write evidence.md and its plots to ``target``; the settings that were chosen."""
    if peer:
        peers.install_peer()
    choosers = [member for member in zoo.members(chooses=True) if member.training_seed < CHOOSING_SEEDS]
    judged = zoo.members(chooses=False)
    if quick:
        choosers, judged = (
            [replace(m, steps=QUICK_STEPS) for m in half if m.architecture in QUICK and m.training_seed == 0]
            for half in (choosers, judged)
        )
    settings, (_, candidates) = choose.Settings(), choose.choose(choosing(choosers, root))
    records = judging(judged, settings, root, peer=peer)
    grown = {} if quick else kept(root / "growth.json", growth.measure)
    for file, text in page.files(records, asdict(settings), candidates, grown).items():
        (target / file).write_text(text, encoding="utf-8")
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few models with one training seed each")
    parser.add_argument("--kinds", action="store_true", help="only kinds of forecast that are no closed loop")
    parser.add_argument("--without-peer", action="store_true", help="leave out ai-edge-quantizer, which is downloaded")
    args = parser.parse_args()
    one_thread()
    target = BUILD / "quick" if args.quick else ROOT / "docs"
    target.mkdir(parents=True, exist_ok=True)
    results = BUILD / ("quick" if args.quick else "full")
    settings = choose.Settings()
    if not args.kinds:
        root = results / code_hash(CODE)
        settings = closed_loops(target, root, quick=args.quick, peer=not args.without_peer)
        print(target / "evidence.md")
    members = kinds_zoo.members(chooses=args.quick)
    if args.quick:
        members = [replace(m, steps=QUICK_STEPS) for m in members if (m.kind, m.architecture) in QUICK_KINDS]
    records = kinds(members, settings, results / code_hash(KINDS_CODE))
    (target / "evidence-kinds.md").write_text(kinds_page.text(records, asdict(settings)), encoding="utf-8")
    print(target / "evidence-kinds.md")


if __name__ == "__main__":
    main()
