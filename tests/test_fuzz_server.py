"""The firmware's parser and server under hostile input: the corpus and a share of the seeded inputs of `make fuzz`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fuzz import c_server

SHARE = 200_000
#: defects that the inputs must find: a file of the core, a piece of it, what stands there instead
PLANTED = [
    pytest.param("tqs_wire.c", "code == 0u || code - 1u > count - in", "code == 0u", id="block past the end"),
    pytest.param("tqs_wire.c", "receiver->count < TQS_FRAME", "receiver->count <= TQS_FRAME", id="one byte too many"),
    pytest.param("tqs_wire.c", "length > TQS_MAX_PAYLOAD || body != TQS_FRAME_HEADER + length", "false", id="length"),
    pytest.param("tqs_wire.c", "receiver->count = 0;", "if (receiver->overlong) { receiver->count = 0; }", id="deaf"),
    pytest.param(
        "tqs_server.c",
        "request->length != 1u + (uint32_t)request->payload[0] * SAMPLE_SIZE",
        "request->length < 1u",
        id="samples that were not sent",
    ),
    pytest.param("tqs_server.c", "if (wanted == 0u)", "if (false)", id="a rate of nothing"),
]


@pytest.mark.parametrize("name", c_server.FORECASTS)
def test_no_input_harms_the_server(name: str, tmp_path: Path) -> None:
    done = c_server.run(c_server.build(name, tmp_path), 1, SHARE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{SHARE} inputs and {len(list(c_server.CORPUS.iterdir()))} files\n")
    kinds = {line.split(":")[0] for line in done.stdout.splitlines()[1:]}
    answers = {f"answer {kind}" for kind in ("81", "82", "84", "85", "86", "89", "ff")}
    refusals = {f"nak {code}" for code in range(1, 7 if name == "ahead" else 6)}
    assert kinds == answers | refusals | {"rates"}, "the inputs reach every kind of answer"
    changed = re.search(r"^rates: (\d+) taken, (\d+) given up$", done.stdout, re.MULTILINE)
    assert changed is not None
    assert min(map(int, changed.groups())) > 100, "rates are taken, and given up again"


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    program = c_server.build("closed", tmp_path)
    first, again, other = (c_server.run(program, seed, 2000).stdout for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("file", "piece", "instead"), PLANTED)
def test_a_planted_defect_is_found(file: str, piece: str, instead: str, tmp_path: Path) -> None:
    done = c_server.run(c_server.build("closed", tmp_path, (file, piece, instead)), 1, SHARE)
    assert done.returncode != 0, done.stdout
    assert "input " in done.stderr, "the input is named"
