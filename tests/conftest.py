"""What holds for every test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from edge_tqs.cli.main import main
from edge_tqs.system.tensorflow import import_tensorflow

if TYPE_CHECKING:
    from ssh_server import SshServer

    from edge_tqs.building.folder.directory import BuildDir

# As the command does: the many small products of a rollout are faster in one thread. Nothing has imported numpy yet.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# `make mutants` runs a test some thousand times: fewer examples, the same ones each time, and as slow as may be.
hypothesis.settings.register_profile(
    "mutants",
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# No test depends on how fast the machine is.
hypothesis.settings.register_profile(
    "any machine",
    parent=hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")

#: Modules of which `make quick` runs what is neither slow nor emulated, with the CPU seconds that they took.
QUICK = Path(__file__).with_name("quick.txt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    listed = {line.split()[0] for line in QUICK.read_text().splitlines() if line.startswith("test_")}
    for item in items:
        if item.path.name in listed:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scores that a test keeps are not the user's, nor another run's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras 3. The million objects of its import are kept out of each later garbage collection: 0.15 s a model."""
    found = import_tensorflow().keras
    gc.collect()
    gc.freeze()
    return found


@pytest.fixture(scope="session")
def host_builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuildDir, BuildDir]:
    """Of one model for this machine, by two plans: an older and a newer one."""
    import tflite_by_hand

    import edge_tqs

    folder = tmp_path_factory.mktemp("builds")
    model = folder / "plant.tflite"
    model.write_bytes(tflite_by_hand.dense_model(6, 2))
    opened = edge_tqs.open_model(model, horizon=8)
    older = edge_tqs.build(opened, board="host", out=folder / "older", bits=4, force=True)
    return older, edge_tqs.build(opened, board="host", out=folder / "newer", bits=8)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A host to deploy to."""
    from ssh_server import ssh_server

    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge-tqs", *map(str, args)])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        return int(leaving.value.code or 0), out, err

    return call
