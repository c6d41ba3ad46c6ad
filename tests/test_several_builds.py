"""Several models for one board: a folder each, and one that fails stops no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tflite_by_hand as by_hand

import edge_tqs
from edge_tqs.building.folder.directory import load

Run = Callable[..., tuple[int, str, str]]
SETTINGS = ("--board", "host", "--bits", "8", "--horizon", "8")


def test_each_has_a_folder_and_a_failure_stops_no_other(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.tflite").write_bytes(b"none")
    for name, window in (("b", 4), ("c", 6)):
        Path(f"{name}.tflite").write_bytes(by_hand.dense_model(window, 2))
    code, out, _ = run("build", "a.tflite", "b.tflite", "c.tflite", *SETTINGS)
    b, c = (load(tmp_path / "build" / "host" / name) for name in "bc")
    assert code == 1
    rows = [line.split() for line in out.splitlines()[1:4]]
    assert [row[:2] for row in rows[1:]] == [["b.tflite", b.model_hash[:12]], ["c.tflite", c.model_hash[:12]]]
    assert rows[0] == ["a.tflite", "-", "-", "-", "not", "built"]
    assert "error: a.tflite is not a TensorFlow Lite model\n  try: " in out
    assert out.splitlines()[-1].startswith("2 of 3 built")
    assert (b.graph.forecast.window, c.graph.forecast.window) == (4, 6)
    code, out, _ = run("build", "a.tflite", "b.tflite", *SETTINGS, "--out", "other", "--json")
    assert (code, [row["out"] for row in json.loads(out)]) == (1, ["other/a", "other/b"])
    assert [row["report"] is None for row in json.loads(out)] == [True, False]


def test_wrong_use(tmp_path: Path, run: Run) -> None:
    code, _, err = run("build", "x/m.keras", "y/m.keras", "--board", "host", "--out", tmp_path)
    assert (code, "x/m.keras and y/m.keras would be built into one folder" in err) == (2, True)
    for option in (("--dry-run",), ("--plan", "p.json")):
        code, _, err = run("build", "x.keras", "y.keras", "--board", "host", *option)
        assert (code, f"{option[0]} " in err) == (2, True)
    with pytest.raises(edge_tqs.UsageError):
        edge_tqs.build_all(["x.keras"], board="no-such-board")
    assert not list(tmp_path.iterdir())
