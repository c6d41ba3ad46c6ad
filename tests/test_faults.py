"""Faults injected between pyserial and a running emulated board, at seeded random points of a validation.

There are two outcomes: every step arrived and is bit-exact, or the run ended with one clear error and every step that
was received is in trace.jsonl. Both are checked step by step against the host.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from device.relay import CUT, KINDS, Fault, Relay, draw

from edge_tqs import build_dir, emulator, validate
from edge_tqs.boards import load_board
from edge_tqs.device import Device, Times
from edge_tqs.errors import DeviceError
from edge_tqs.rollout import Rollout
from edge_tqs.simulate import encode, integer_rollout

STEPS = 200
#: Bytes of an undisturbed run, both ways; faults are drawn among them. A test holds that it is so.
TO_BOARD, TO_HOST = 60, 4000
#: Runs of each kind. The points differ; more of them find more.
SEEDS = range(2)
#: An emulator answers within milliseconds; a lost answer should not cost a test ten seconds. A stall is longer than one
#: wait and shorter than all.
TIMES = Times(hello_repeat=0.1, answer=0.5, step=0.5, attempts=4)

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small forecaster with a state, built for an emulated microcontroller."""
    import keras

    folder = tmp_path_factory.mktemp("faults")
    keras.utils.set_random_seed(3)
    lively = keras.initializers.RandomNormal(stddev=2.0, seed=3)  # a rollout that soon stood still would hide mix-ups
    layers = [keras.layers.GRU(6, recurrent_initializer=lively), keras.layers.Dense(2, kernel_initializer=lively)]
    keras.Sequential([keras.Input((4, 2)), *layers]).save(folder / "model.keras")
    command = [sys.executable, "-m", "edge_tqs", "build", folder / "model.keras", "--board", "mps2-an385"]
    command += ["--bits", "8", "--horizon", str(STEPS), "--draws", "2", "--out", folder / "build"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "build"


@pytest.fixture(scope="module")
def expected(build: Path) -> Rollout:
    built = build_dir.load(build)
    return integer_rollout(built.graph, encode(built.graph, built.seeds[:1]), STEPS)


@pytest.fixture(scope="module")
def port(build: Path) -> Iterator[str]:
    """One board for all runs: what a run leaves behind must not disturb the next."""
    with emulator.start_server(load_board("mps2-an385"), build) as path:
        yield path


def run(build: Path, port: str, monkeypatch: pytest.MonkeyPatch) -> tuple[DeviceError | None, int]:
    """(the error that ended the validation, steps that were received)"""
    received = 0

    def count(stage: str, done: int, total: int) -> None:
        nonlocal received
        received += stage == "rollouts on the board"

    monkeypatch.setattr(validate, "Device", partial(Device, times=TIMES))
    try:
        report = validate.validate(validate.ValidateRequest(build, port=port, rollouts=1, horizon=STEPS), count)
    except DeviceError as error:
        return error, received
    assert report.passed
    assert report.bit_exact
    return None, received


def check_trace(build: Path, expected: Rollout, received: int) -> None:
    """The trace holds the received steps, in order, each once, and as the host computes them."""
    assert expected.state_hashes is not None
    lines = [json.loads(line) for line in (build / "trace.jsonl").read_text().splitlines()]
    assert lines[0]["horizon"] == STEPS
    assert [line["step"] for line in lines[1:]] == list(range(received))
    np.testing.assert_array_equal(
        np.array([line["codes"] for line in lines[1:]]).reshape(received, -1), expected.outputs[0, :received]
    )
    assert [line["state"] for line in lines[1:]] == expected.state_hashes[0, :received].tolist()


def test_an_undisturbed_run_is_as_long_as_the_faults_are_drawn_for(
    build: Path, port: str, expected: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(port, (), (), 0) as line:
        error, received = run(build, line.path, monkeypatch)
    assert (error, received) == (None, STEPS)
    check_trace(build, expected, received)
    assert expected.state_hashes is not None
    assert len(set(expected.state_hashes[0].tolist())) > STEPS // 4
    assert line.passed[0] >= TO_BOARD
    assert line.passed[1] >= TO_HOST


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_is_exact_or_ends_with_one_error_and_all_its_steps(
    build: Path, port: str, expected: Rollout, monkeypatch: pytest.MonkeyPatch, kind: str, seed: int
) -> None:
    with Relay(port, draw(kind, seed, 1, TO_BOARD), draw(kind, seed, 3, TO_HOST), seed) as line:
        error, received = run(build, line.path, monkeypatch)
    assert line.happened, "no fault was reached"
    check_trace(build, expected, received)
    if error is None:
        assert received == STEPS
    else:
        check_error(error)


@pytest.mark.slow
def test_a_line_that_goes_dead_ends_the_run_and_keeps_its_steps(
    build: Path, port: str, expected: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(port, (), [Fault(CUT, TO_HOST * 3 // 4)], 0) as line:
        error, received = run(build, line.path, monkeypatch)
    assert error is not None
    check_error(error)
    assert 0 < received < STEPS
    check_trace(build, expected, received)
    assert not (build / "validation.json").exists()  # that of an earlier run would belong to another trace


def check_error(error: DeviceError) -> None:
    """One sentence or two that say what and where, and what to try."""
    assert error.message
    assert error.hint
    assert "trace.jsonl" in error.message
