"""Fixtures for hardware tests of one's own, in any project whose environment has edge-tqs (docs/hardware-tests.md).

pytest loads this module in every run there, so it imports nothing but pytest until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edge_tqs.device.device import Device
    from edge_tqs.report.validation_report import Mode, ValidationReport
    from edge_tqs.validation.validate import ValidateRequest

PORT, BAUD = "--edge-tqs-port", "--edge-tqs-baud"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which board is under test."""
    group = parser.getgroup("edge-tqs", "boards under edge-tqs")
    group.addoption(PORT, metavar="PORT", help="the board's port, as --edge-tqs-port=/dev/ttyACM0; else it is emulated")
    group.addoption(BAUD, metavar="BAUD", type=int, help="its baud rate; else that of the board's file")


@pytest.fixture
def edge_tqs_validate(pytestconfig: pytest.Config) -> Callable[..., ValidationReport]:
    """``edge_tqs_validate(build, rollouts=8, horizon=None, data=None, mode="free-running")``: as `edge-tqs validate`.

    Gives the report, ``passed`` or not. Raises TqsError where the board or the build cannot be used.
    """

    def validate(
        build: str | Path,
        rollouts: int = 8,
        horizon: int | None = None,
        data: str | Path | None = None,
        mode: Mode = "free-running",
    ) -> ValidationReport:
        from edge_tqs.validation.validate import validate

        csv = None if data is None else Path(data)
        asked = _request(pytestconfig, build)
        return validate(replace(asked, rollouts=rollouts, horizon=horizon, data=csv, mode=mode), _quiet)

    return validate


@pytest.fixture
def edge_tqs_device(pytestconfig: pytest.Config) -> Callable[[str | Path], AbstractContextManager[Device]]:
    """``edge_tqs_device(build)``: a context manager of the Device, greeted and known to run the build's model."""

    def device(build: str | Path) -> AbstractContextManager[Device]:
        from edge_tqs.building.folder.directory import load
        from edge_tqs.validation.validate import connect

        request = _request(pytestconfig, build)
        return connect(load(request.build), request, _quiet)

    return device


def _request(config: pytest.Config, build: str | Path) -> ValidateRequest:
    from edge_tqs.validation.validate import ValidateRequest

    return ValidateRequest(Path(build), port=config.getoption(PORT), baud=config.getoption(BAUD))


def _quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""
