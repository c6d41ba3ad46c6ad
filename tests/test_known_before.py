"""What can be known before the work is said in the first second; a build that was killed is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import edge_tqs
from edge_tqs.building.folder.reserved import reserved, write_last, written
from edge_tqs.errors import UsageError
from edge_tqs.project.budget import parse_budget

Run = Callable[..., tuple[int, str, str]]


def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr("edge_tqs.building.opened.open_requested", fail)


@pytest.mark.parametrize("command", ["build", "score", "plan", "plot"])
@pytest.mark.parametrize("out", ["file/x", "x" * 300, "/proc/x"])
def test_a_place_that_cannot_be_written_is_refused_at_once(
    command: str, out: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "m.keras").write_bytes(b"not looked at")
    nothing_is_read(monkeypatch)
    place = str(tmp_path / out) if out != "/proc/x" else out
    more = {"build": ["--board", "host", "--out", place], "plot": ["--plot", f"{place}.svg"]}.get(
        command, ["--out", place]
    )
    code, _, error = run("plan" if command == "plot" else command, tmp_path / "m.keras", *more)
    assert code == 2
    assert "cannot be written" in error
    assert "Traceback" not in error
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "FILE", "--board", "host"], "it is a file"),
        (["--board", "host", "--max-divergence", "nan"], "no distance"),
        (["--board", "host", "--budget", "9" * 320], "is not a number of bytes"),
        (["--board", "host", "--plan", "nosuch.json"], "there is no such plan file"),
        (["--board", "RPI4"], "'rpi4'"),
    ],
)
def test_wrong_options_of_build_are_refused_at_once(
    arguments: list[str], said: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    (tmp_path / "m.keras").write_bytes(b"not looked at")
    nothing_is_read(monkeypatch)
    code, _, error = run("build", "m.keras", *arguments)
    assert (code, said in error) == (2, True), error
    assert not (tmp_path / "build").exists()


def test_a_plot_of_another_kind_and_a_model_that_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing_is_read(monkeypatch)
    (tmp_path / "m.keras").write_bytes(b"not looked at")
    code, _, error = run("plan", "m.keras", "--plot", "x.pdf")
    assert (code, "no .svg or .png" in error) == (2, True)
    code, _, error = run("init", "nope.keras")
    assert (code, "nope.keras does not exist" in error) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_numbers_of_bytes() -> None:
    assert parse_budget("4096MB") == 1 << 32
    with pytest.raises(UsageError):
        parse_budget("1" + "0" * 400)


def test_an_empty_folder_is_left_only_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), reserved(tmp_path / "a" / "b"):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    (tmp_path / "here").mkdir()
    with reserved(tmp_path / "here"):
        pass
    assert (tmp_path / "here").is_dir()


def test_no_two_builds_write_one_folder(tmp_path: Path) -> None:
    with written(tmp_path), pytest.raises(UsageError, match="another build is being written"), written(tmp_path):
        pass
    with written(tmp_path):
        write_last(tmp_path, "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


WRITER = """
import sys, time
from pathlib import Path
from edge_tqs.building.folder.reserved import write_last, written
out = Path(sys.argv[1])
with written(out):
    print("writing", flush=True)
    for name in ("model.tflite", "float.graph", "seeds.npz", "board.toml"):
        (out / name).write_text("of another board")
        time.sleep(0.02)
    write_last(out, "new")
print("written", flush=True)
"""


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_a_killed_build_over_an_older_one_is_none(part: float, tmp_path: Path) -> None:
    """Killed at some moment of the writing, the folder is refused; let alone, it is the new build."""
    for name in ("model.tflite", "float.graph", "seeds.npz", "board.toml", "report.json"):
        (tmp_path / name).write_text("old")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        time.sleep(0.08 * part)
        process.send_signal(signal.SIGKILL)
        done = process.stdout.read()
    if done:
        assert (tmp_path / "report.json").read_text() == "new"
        return
    with pytest.raises(UsageError, match=r"no.* complete build: report\.json missing"):
        edge_tqs.flash(tmp_path)


def test_a_full_disk_below_standard_output_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edge_tqs", "boards"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device")
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "edge_tqs", "boards"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("name", "holds", "said", "way"),
    [
        ("model.pt", {"archive/data.pkl": b""}, "is a file of PyTorch", "litert_torch.convert"),
        ("model.zip", {"archive/data.pkl": b""}, "is a file of PyTorch", "litert_torch.convert"),
        ("model.pt2", {"model/archive_format": b"pt2"}, "is a file of PyTorch", "litert_torch.convert"),
        ("old.pth", b"\x80\x02\x8a", "by its name a file of PyTorch", "litert_torch.convert"),
        ("weights.safetensors", b"\x10" + bytes(20), "by its name a file of PyTorch", "litert_torch.convert"),
        ("model.onnx", b"\x08\x08\x12\x07pytorch", "by its name an ONNX model", "onnx2tf -i model.onnx"),
        ("model.joblib", b"\x80\x04", "is a pickle", "model.save"),
        ("model.lite", b"\x1c\x00\x00\x00TFL3", "holds a .tflite model", "model.tflite"),
    ],
)
def test_a_file_of_another_framework_is_answered_with_the_way_in(
    name: str, holds: bytes | dict[str, bytes], said: str, way: str, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(holds, bytes):
        path.write_bytes(holds)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for part, content in holds.items():
                archive.writestr(part, content)
    code, _, stderr = run("build", str(path), "--board", "host")
    assert code == 2
    assert said in stderr
    assert way in stderr
