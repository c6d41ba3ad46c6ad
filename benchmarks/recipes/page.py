"""docs/recipes.md from the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("recipes.md.in")
#: Ours over TFLite's error, at most.
LIMIT = 1.10

Record = dict[str, Any]


def page(records: Sequence[Record], date: str, seed: int) -> str:
    """The text of the page. date: of the run."""
    text = TEMPLATE.read_text(encoding="utf-8")
    loops = [record for record in records if record["ours_rollout"] or record["tflite_rollout"]]
    classes = [record for record in records if record["classes"]]
    filled = {
        "@DATE@": date,
        "@SEED@": str(seed),
        "@SUMMARY@": summary(records),
        "@BUILDS@": table(
            ("recipe", "parameters", "line of edge-tqs.toml", "bytes", "steps bit-exact"), map(_built, records)
        ),
        "@ERRORS@": table(("recipe", "float against truth", "edge-tqs", "TFLite", "ratio"), map(_errors, records)),
        "@LOOPS@": table(("recipe", "edge-tqs", "TFLite", "ratio"), map(_loops, loops)),
        "@CLASSES@": table(("recipe", "float's accuracy", "edge-tqs agrees", "TFLite agrees"), map(_classes, classes)),
        "@CONVERTER@": "\n".join(f"- {r['name']}: {r['tflite_how']}" for r in records if not r["tflite_bytes"])
        or "None.",
        "@BEYOND@": "\n".join(map(_beyond, filter(beyond, records))) or "None.",
    }
    for mark, value in filled.items():
        text = text.replace(mark, value)
    return text


def summary(records: Sequence[Record]) -> str:
    """How many were built with a line at most and bit-exact, and within LIMIT of the converter."""
    exact = [record for record in records if record["bit_exact"] and len(record["lines"]) <= 1]
    both = [record for record in records if ratio(record["ours"], record["tflite"]) is not None]
    within = [record for record in both if not beyond(record)]
    return (
        f"{len(exact)} of {len(records)} recipes build with at most one line and validate bit-exact. TFLite converts "
        f"{sum(bool(record['tflite_bytes']) for record in records)} of {len(records)}; of {len(both)} that both have, "
        f"edge-tqs' error is at most {LIMIT:.2f} times the converter's in {len(within)}, rollouts included."
    )


def ratios(record: Record) -> list[float]:
    """Of one evaluation and, where there are, of rollouts."""
    pairs = ((record[f"ours{what}"], record[f"tflite{what}"]) for what in ("", "_rollout"))
    return [found for pair in pairs if (found := ratio(*pair)) is not None]


def beyond(record: Record) -> bool:
    """Whether a ratio is above LIMIT."""
    return any(value > LIMIT for value in ratios(record))


def _beyond(record: Record) -> str:
    one, *rollouts = ratios(record)
    return f"- {record['name']}: {one:.2f}" + "".join(f", in closed loop {value:.2f}" for value in rollouts)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Of two errors; None where one is missing."""
    if ours is None or theirs is None:
        return None
    return ours / theirs if theirs else (1.0 if ours == 0 else float("inf"))


def table(head: Sequence[str], rows: Any) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _built(record: Record) -> list[str]:
    if record["refused"]:
        return [record["name"], f"{record['parameters']:,}", _lines(record), "refused", "no"]
    return [
        record["name"],
        f"{record['parameters']:,}",
        _lines(record),
        f"{record['bytes']:,}",
        f"{record['board_steps']} of {record['board_steps']}" if record["bit_exact"] else "no",
    ]


def _lines(record: Record) -> str:
    return "<br>".join(f"`{line}`" for line in record["lines"]) or "none"


def _errors(record: Record) -> list[str]:
    truth = "" if record["classes"] else f"{record['float_vs_truth']:.3f}"
    return [record["name"], truth, *_pair(record["ours"], record["tflite"])]


def _loops(record: Record) -> list[str]:
    return [record["name"], *_pair(record["ours_rollout"], record["tflite_rollout"])]


def _pair(ours: float | None, theirs: float | None) -> list[str]:
    found = ratio(ours, theirs)
    figures = ["" if value is None else f"{value:.4f}" for value in (ours, theirs)]
    return [*figures, "" if found is None else f"{found:.2f}"]


def _classes(record: Record) -> list[str]:
    shares = (record["float_vs_truth"], record.get("ours_agreement"), record.get("tflite_agreement"))
    return [record["name"], *("" if share is None else f"{share:.1%}" for share in shares)]
