"""Several boards that were validated at once: their files, and validations.json, what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_tqs import strict
from edge_tqs.report.format import FORMAT, VALIDATIONS_JSON, load
from edge_tqs.report.validation_report import ValidationReport


@dataclass(frozen=True)
class BoardRun:
    """One of the boards: the port it is at, and its report, or why there is none (``error``, and what to try)."""

    port: str
    report: ValidationReport | None
    error: str | None = None
    hint: str | None = None

    @property
    def passed(self) -> bool:
        return self.report is not None and self.report.passed

    @property
    def why(self) -> str:
        """Why there is no report, at which port, and what to try; "" where there is one."""
        if self.error is None:
            return ""
        where = "" if self.error.startswith(self.port) else f"{self.port}: "
        return f"{where}{self.error} {self.hint or ''}".rstrip()


@dataclass(frozen=True)
class BoardRuns:
    """validations.json. ``boards``: in the order of their ports on the command line."""

    boards: tuple[BoardRun, ...]
    format: int = FORMAT

    @property
    def passed(self) -> bool:
        return all(run.passed for run in self.boards)

    def to_json(self) -> str:
        return strict.dump(self)


def load_runs(build: Path) -> BoardRuns | None:
    """Those of the last validation in ``build``, None where it was of one board. Raises UsageError."""
    path = build / VALIDATIONS_JSON
    if not path.is_file():
        return None
    return load(BoardRuns, path.read_text(encoding="utf-8"), str(path))


def numbered(name: str, number: int | None) -> str:
    """The file of one of several boards that are validated at once, ``validation-2.json``; ``name`` of a board
    alone."""
    stem, dot, kind = name.partition(".")
    return name if number is None else f"{stem}-{number}{dot}{kind}"
