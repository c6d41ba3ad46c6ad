"""What the host reads, under hostile input: the corpus and a share of the seeded inputs of `make fuzz`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fuzz import host

SHARES = {"frames": 30_000, "boards": 1_500, "tflite": 3_000}


@pytest.mark.parametrize("name", host.TARGETS)
def test_only_errors_that_are_meant_come_out(name: str) -> None:
    outcome = host.run(name, 1, SHARES[name])
    assert sum(outcome.values()) == SHARES[name] + len(list((host.CORPUS / name).iterdir()))
    assert outcome["taken"] > 0, "some inputs are harmless, so the targets are read to their end"


def test_a_planted_defect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytes) -> None:
        host.read_frames(data)
        if data.startswith(b"\xff\x01"):
            raise IndexError("planted")

    monkeypatch.setitem(host.TARGETS, "frames", replace(host.TARGETS["frames"], read=careless))
    with pytest.raises(host.FindingError, match=r"IndexError: planted, from ff01"):
        host.run("frames", 1, 1000)
