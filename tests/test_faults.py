"""Faults between pyserial and a running emulated board: a few runs of each kind. `make faults` does many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from device import fault_matrix
from device.fault_matrix import (
    KINDS,
    Matrix,
    Running,
    Setting,
    check_error,
    check_trace,
    make_build,
    make_other,
    run,
    running,
    survey,
)
from device.relay import CALL, CUT, Fault, Relay

from edge_tqs.device.device import Times
from edge_tqs.device.trace_file import TRACE, read_trace

STEPS = 200
#: Runs of each kind. The points differ; more of them find more.
SEEDS = range(2)
#: An emulator answers within milliseconds; a lost answer should not cost a test ten seconds. A stall is longer than one
#: wait and shorter than all.
TIMES = Times(hello=3, hello_repeat=0.1, answer=0.5, step=0.5, attempts=4)
STALL_SECONDS = 1.2

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("faults"), STEPS)


@pytest.fixture(scope="module")
def board(build: Path) -> Iterator[Running]:
    """One board for all runs: what a run leaves behind must not disturb the next."""
    with running(build) as board:
        yield board


@pytest.fixture(scope="module")
def setting(build: Path, board: Running) -> Setting:
    return survey(build, board.port, STEPS, TIMES)


@pytest.fixture(scope="module")
def matrix(setting: Setting, board: Running) -> Iterator[Matrix]:
    with running(make_other(setting.build, setting.build.with_name("other"))) as other:
        yield Matrix(setting, board, other.port, TIMES, STALL_SECONDS)


def test_the_rollout_would_show_a_mix_up_of_steps(setting: Setting) -> None:
    assert setting.expected.state_hashes is not None
    assert len(set(setting.expected.state_hashes[0].tolist())) > STEPS // 4


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_is_exact_or_ends_with_one_error_and_goes_on_from_there(matrix: Matrix, kind: str, seed: int) -> None:
    matrix.run(kind, seed)


def test_a_reset_in_mid_run_costs_the_board_its_samples(setting: Setting, board: Running) -> None:
    with Relay(board.port, (), [Fault(CALL, setting.bytes_to_host * 3 // 4)], 0, call=board.reset) as line:
        error, received = run(setting.build, line.path, STEPS, TIMES)
    assert (error, received) == (None, STEPS)
    assert check_trace(setting.build, setting.expected) == STEPS
    assert read_trace(setting.build / TRACE).events["restart"] == 1


def test_without_a_file_system_of_its_own_the_disk_is_a_file_limit(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_matrix, "small_disk", lambda size: nullcontext())
    outcome = matrix.run("disk", 0)
    assert outcome.means == "file limit, EFBIG"
    assert outcome.resumed


def test_a_line_that_goes_dead_ends_the_run_and_keeps_its_steps(setting: Setting, board: Running) -> None:
    with Relay(board.port, (), [Fault(CUT, setting.bytes_to_host * 3 // 4)], 0) as line:
        error, received = run(setting.build, line.path, STEPS, Times(hello=3, answer=0.5, step=0.5, attempts=2))
    assert error is not None
    check_error(error)
    assert 0 < received < STEPS
    assert check_trace(setting.build, setting.expected) == received
    assert not (setting.build / "validation.json").exists()
