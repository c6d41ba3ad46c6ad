# SPDX-License-Identifier: Apache-2.0
"""What is kept over a restart, in SQLite: samples, the engine's memory, forecasts that wait, errors.

One transaction a sample, with a write-ahead log and each commit on the disk: a process or a power supply that ends at
any moment leaves the state after one sample or after the one before. Rows are bounded. What a store cannot hold (a full
disk) is counted and the forecasts go on.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from contextlib import suppress
from dataclasses import dataclass

from forecastd.card import Judged, Pending
from forecastd.resample import Sample

_TABLES = """
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sample (time INTEGER PRIMARY KEY, data BLOB, measured BLOB);
CREATE TABLE IF NOT EXISTS forecast (time INTEGER PRIMARY KEY, data BLOB, base BLOB);
CREATE TABLE IF NOT EXISTS error (time INTEGER PRIMARY KEY, data BLOB);
"""


class StoreError(Exception):
    """The file cannot be opened."""


@dataclass(frozen=True)
class Kept:
    """What an earlier run left. closed: the time of its last sample or gap. have: samples of the window then, and
    ``samples`` the last of these; ``engine``: its memory."""

    closed: int | None
    have: int
    samples: tuple[Sample, ...]
    engine: bytes | None
    pending: tuple[Pending, ...]
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class Change:
    """What one sample or gap adds. back: forget what is of this time or later."""

    closed: int
    have: int
    engine: bytes | None
    sample: Sample | None = None
    pending: Pending | None = None
    judged: Judged | None = None
    back: bool = False


class Store:
    """``path``: the file, or ":memory:". series: what samples are of; judged: what forecasts and errors are of: a store
    of other ones begins anew. samples, reach, rolling: rows that are kept, in samples of ``period``.

    Raises StoreError.
    """

    def __init__(
        self, path: str, series: str, judged: str, *, period: int, samples: int, reach: int, rolling: int
    ) -> None:
        self.counters = {"not stored": 0}
        self.notices: list[str] = []
        self._bounds = {"sample": samples * period, "forecast": (reach + 1) * period, "error": rolling * period}
        try:
            try:
                self._open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) or path == ":memory:":
                    raise
                for ending in ("", "-wal", "-shm"):
                    if os.path.exists(path + ending):
                        os.replace(path + ending, f"{path}.damaged{ending}")
                self.notices.append(f"{path} was damaged ({error}) and is now {path}.damaged: the card begins anew")
                self._open(path)
            self._belongs(series, judged)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error

    def _open(self, path: str) -> None:
        self._data = sqlite3.connect(path, isolation_level=None)
        self._data.execute("PRAGMA journal_mode=WAL")
        self._data.execute("PRAGMA synchronous=FULL")
        self._data.execute("PRAGMA cache_size=-512")
        self._data.executescript(_TABLES)

    def _belongs(self, series: str, judged: str) -> None:
        state = self._state()
        with _transaction(self._data):
            if state.get("series", series) != series:
                self.notices.append("the samples kept are of other columns or another period: the window begins anew")
                for table in ("state", "sample", "forecast", "error"):
                    self._data.execute(f"DELETE FROM {table}")
            elif state.get("judged", judged) != judged:
                self.notices.append("the forecasts kept are of another build: the card begins anew")
                for table in ("forecast", "error"):
                    self._data.execute(f"DELETE FROM {table}")
                self._data.execute("DELETE FROM state WHERE key = 'engine'")
            self._put("series", series)
            self._put("judged", judged)

    def _state(self) -> dict[str, object]:
        return dict(self._data.execute("SELECT key, value FROM state"))

    def _put(self, key: str, value: object) -> None:
        self._data.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))

    def load(self) -> Kept:
        """What an earlier run left."""
        state = self._state()
        closed, have, engine = state.get("closed"), state.get("have", 0), state.get("engine")
        samples = [
            Sample(time, tuple(_doubles(data)), tuple(bool(one) for one in measured))
            for time, data, measured in self._data.execute("SELECT * FROM sample ORDER BY time DESC LIMIT ?", (have,))
        ]
        pending = self._data.execute("SELECT * FROM forecast ORDER BY time")
        judged = self._data.execute("SELECT * FROM error ORDER BY time")
        return Kept(
            closed if isinstance(closed, int) else None,
            have if isinstance(have, int) else 0,
            tuple(reversed(samples)),
            engine if isinstance(engine, bytes) else None,
            tuple(Pending(time, _doubles(data), _doubles(base)) for time, data, base in pending),
            tuple(Judged(time, _doubles(data)) for time, data in judged),
        )

    def commit(self, change: Change) -> None:
        """All of a change, or nothing."""
        try:
            with _transaction(self._data):
                self._write(change)
        except sqlite3.Error:
            self.counters["not stored"] += 1

    def _write(self, change: Change) -> None:
        put = self._data.execute
        if change.back:
            for table in ("sample", "forecast", "error"):
                put(f"DELETE FROM {table} WHERE time >= ?", (change.closed,))
        if change.sample is not None:
            one = change.sample
            row = (one.time, array("d", one.values).tobytes(), bytes(one.measured))
            put("INSERT OR REPLACE INTO sample VALUES (?, ?, ?)", row)
        if change.pending is not None:
            waits = change.pending
            row = (waits.made, waits.values.tobytes(), waits.base.tobytes())
            put("INSERT OR REPLACE INTO forecast VALUES (?, ?, ?)", row)
        if change.judged is not None:
            put("INSERT OR REPLACE INTO error VALUES (?, ?)", (change.judged.time, change.judged.errors.tobytes()))
        for table, span in self._bounds.items():
            put(f"DELETE FROM {table} WHERE time <= ?", (change.closed - span,))
        self._put("closed", change.closed)
        self._put("have", change.have)
        self._put("engine", change.engine)

    def close(self) -> None:
        """Nothing waits to be written."""
        self._data.close()


class _transaction:  # noqa: N801
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK."""

    def __init__(self, data: sqlite3.Connection) -> None:
        self._data = data

    def __enter__(self) -> None:
        self._data.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._data.execute("COMMIT")
                return
            except sqlite3.Error:
                self._rollback()
                raise
        self._rollback()

    def _rollback(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have done so itself
            self._data.execute("ROLLBACK")


def _doubles(data: bytes) -> array[float]:
    made = array("d")
    made.frombytes(data)
    return made
