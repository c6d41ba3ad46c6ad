"""A build is what was built: each file of it is checked by whatever reads a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_tqs.building.folder.manifest import MANIFEST, check_manifest, write_manifest
from edge_tqs.errors import UsageError

IMAGE, BUNDLE = Path("firmware/build/firmware.elf"), Path("bundle")
FILES = ("model.tflite", "board.toml", "bundle/forecaster", "bundle/forecastd/main.py", "firmware/build/firmware.elf")
OTHERS = ("report.json", "report.html", "validation.json", "trace-1.jsonl", "firmware/model.c", ".edge-tqs.lock")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    for name in (*FILES, *OTHERS, "firmware/build/firmware.hex"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_manifest(tmp_path, IMAGE, BUNDLE)
    return tmp_path


def test_what_was_built_is_listed_and_nothing_else(build: Path) -> None:
    assert sorted(json.loads((build / MANIFEST).read_text())) == sorted([*FILES, "firmware/build/firmware.hex"])
    check_manifest(build)
    for name in OTHERS:
        (build / name).write_text("another")
    (build / "mine.csv").write_text("1")
    check_manifest(build)
    (build / MANIFEST).unlink()  # as of older builds
    check_manifest(build)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_another_one_or_missing_is_named(build: Path, name: str) -> None:
    (build / name).write_text(name[:-1] + "?")
    with pytest.raises(UsageError, match=f"{name} is not what the build wrote") as caught:
        check_manifest(build)
    assert "build` again" in caught.value.hint
    (build / name).unlink()
    with pytest.raises(UsageError, match=f"{name} is missing"):
        check_manifest(build)


@pytest.mark.parametrize("text", ["", "[]", '{"../outside": "00"}', '{"/etc/passwd": "00"}', "\xff"])
def test_a_manifest_that_is_none(build: Path, text: str) -> None:
    (build / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError):
        check_manifest(build)
