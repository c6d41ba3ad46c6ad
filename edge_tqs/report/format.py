"""report.json, validation.json and report.html: their names, their version, and how they are read.

The dataclasses of build_report.py and validation_report.py are the schema (docs/report.md explains every field). They
are written and read by field name; an unknown or missing key is refused, so that a report of another version is never
half understood.
"""

from __future__ import annotations

from typing import TypeVar

from edge_tqs import strict

#: Raised by one whenever a field changes its meaning.
FORMAT = 9

REPORT_JSON = "report.json"
VALIDATION_JSON = "validation.json"
#: Of several boards at once (`board_runs`).
VALIDATIONS_JSON = "validations.json"
REPORT_HTML = "report.html"

#: A measured figure; None (JSON null) where it is not finite or was not measured.
Figure = float | None
Series = tuple[Figure, ...]
T = TypeVar("T")


def load(kind: type[T], text: str, where: str) -> T:
    """A report of ``kind`` from its JSON; ``where`` names the file. Raises UsageError when it is of another schema."""
    hint = "Run `edge-tqs build` again."
    value = strict.parse_json(text, where, hint)
    strict.require_format(value, FORMAT, where, hint)
    return strict.read(kind, value, where, hint, complete=True)
