"""`edge-tqs deploy` against a real sshd on this machine: first install, update, the way back, and what fails midway."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gateways import bundle, graph_of
from ssh_server import SshServer

import edge_tqs
from edge_tqs.boards.board import load_board
from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.delivery import check
from edge_tqs.delivery.release import release_of
from edge_tqs.delivery.ssh import Answer, Connection, parse_address

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def host(sshd: SshServer, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What deploy is told of it: nothing is started, for no systemd runs where tests do."""
    install = [
        "--no-start",
        "--server",
        "program",
        "--prefix",
        str(tmp_path / "opt"),
        "--units",
        str(tmp_path / "units"),
    ]
    yield {"folder": str(tmp_path / "host"), "install": install, "ssh_config": sshd.config}
    for program in sshd.programs.iterdir():
        program.unlink()


def state(folder: Path) -> dict[str, str]:
    """Where the links point to and what is installed; nothing half done may lie there."""
    here = folder / "host" / "plant"
    releases = {path.name for path in (here / "releases").glob("*")} | {path.name for path in here.glob(".*")}
    links = {name: (here / name).readlink().name for name in ("current", "previous") if (here / name).is_symlink()}
    assert releases == set(links.values())
    installed = json.loads((folder / "opt" / "plant" / "model.json").read_text())["model_hash"] if links else ""
    return {**links, "installed": installed[:12]}


def test_first_install_update_and_back(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    older, newer = host_builds
    options = ["--folder", host["folder"], "--ssh-config", host["ssh_config"], "--install", " ".join(host["install"])]
    code, out, _ = run("deploy", older.path, "node1", "--dry-run", *options)
    assert (code, "would copy" in out, "has nothing of plant" in out) == (0, True, True)
    assert not (tmp_path / "host").exists()

    code, out, err = run("deploy", older.path, "node1", *options)
    assert (code, "checked 16 steps of the program" in out) == (0, True), err
    assert "checked the library in the host's Python: the same codes" in out
    assert "not started: no systemd runs there" in out
    assert 'edge-tqs-forecastd cannot start yet: forecastd.json: "period" is missing: write' in out
    first = release_of(older).name
    assert state(tmp_path) == {"current": first, "installed": older.model_hash[:12]}

    second = edge_tqs.deploy(newer, "node1", **host)
    assert (second.before, second.now) == (first, release_of(newer).name)
    assert state(tmp_path) == {"current": second.now, "previous": first, "installed": newer.model_hash[:12]}

    code, out, _ = run("deploy", newer.path, "node1", "--rollback", "--json", *options)
    assert (code, json.loads(out)["now"]) == (0, first)
    assert state(tmp_path) == {"current": first, "previous": second.now, "installed": older.model_hash[:12]}


def test_the_same_release_is_not_copied_again(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], tmp_path: Path
) -> None:
    release = release_of(host_builds[1])
    assert "copied" in edge_tqs.deploy(host_builds[1], "node1", **host).said[0]
    assert "runs" in edge_tqs.deploy(host_builds[1], "node1", dry_run=True, **host).said[0]
    (tmp_path / "host" / "plant" / "releases" / release.name / "model.tflite").write_bytes(b"damaged")
    assert "copied" in edge_tqs.deploy(host_builds[1], "node1", **host).said[0]
    with pytest.raises(edge_tqs.UsageError, match="no release of plant was there before"):
        edge_tqs.deploy(host_builds[1], "node1", rollback=True, **host)


#: Kills the sshd that serves it, as a power cut or a lost network does.
CUT = (
    "p=$PPID; while [ $(cat /proc/$p/comm) != sshd ]; do p=$(awk '/^PPid/{print $2}' /proc/$p/status); done; kill -9 $p"
)


def test_two_that_deploy_at_once_take_turns(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda build: edge_tqs.deploy(build, "node1", **host), host_builds))
    now = state(tmp_path)
    names = {release_of(build).name: build.model_hash[:12] for build in host_builds}
    assert now["installed"] == names[now["current"]]
    assert {now["current"], now["previous"]} == set(names)


def test_a_host_that_fails_midway_has_what_it_had(
    host_builds: tuple[BuildDir, BuildDir],
    host: dict[str, Any],
    sshd: SshServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older, newer = host_builds
    edge_tqs.deploy(older, "node1", **host)
    before = state(tmp_path)

    def fails(said: str, **more: Any) -> None:
        with pytest.raises(edge_tqs.TqsError, match=said):
            edge_tqs.deploy(newer, "node1", **host | more)

    sshd.program("tar", "trap '' XFSZ; ulimit -f 20; exec /usr/bin/tar \"$@\"")  # files of 10 kB at most
    fails("node1: receive failed: .*tar: agent.py: Wrote only")
    assert state(tmp_path) == before
    sshd.program("tar", CUT)
    fails("node1: the connection broke")
    (sshd.programs / "tar").unlink()

    wrong = check.expect(newer)
    wrong.outputs[1, 2, 0] += 1
    with monkeypatch.context() as patch:
        patch.setattr("edge_tqs.api.delivering.expect", lambda built: wrong)
        fails("the program computes another thing than this machine from step 2 on: output 0 is the code")
    assert state(tmp_path) == before

    fails("can stand in a unit", install=[*host["install"], "--port", "/dev/x;y"])
    installed = json.loads((tmp_path / "opt" / "plant" / "model.json").read_text())
    assert installed["model_hash"] == older.model_hash
    assert edge_tqs.deploy(newer, "node1", **host).now == release_of(newer).name
    assert state(tmp_path)["installed"] == newer.model_hash[:12]


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        ("uname", "echo aarch64", "node1 is aarch64, the build is for 64-bit x86_64: nothing was copied"),
        ("getconf", "echo 32", "node1 is x86_64 with a 32-bit system, the build is for 64-bit x86_64"),
        ("python3", "exit 127", "node1 has no python3, and edge-tqs-forecastd needs 3.9"),
        ("python3", "echo python 3.9", "node1 has no paho-mqtt, by which its Python would speak to the broker"),
        ("python3", "echo python 3.7", "node1 has Python 3.7, and edge-tqs-forecastd needs 3.9"),
        ("df", "printf 'x\\nx 9 9 640 1%% /\\n'", "node1 has 655,360 bytes left at .*, [0-9,]+ are needed"),
    ],
)
def test_a_host_that_does_not_suit_is_left_alone(
    program: str, text: str, said: str, host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], sshd: SshServer,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Stand-ins on the host for what cannot be had here: another machine, another Python, a full disk."""
    sshd.program(program, text)
    with pytest.raises(edge_tqs.DeviceError, match=said):
        edge_tqs.deploy(host_builds[1], "node1", broker="10.0.0.1", **host)
    assert not (tmp_path / "host").exists()


def test_a_32_bit_build_is_for_a_32_bit_system_on_a_64_bit_kernel_too(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], sshd: SshServer, tmp_path: Path
) -> None:
    """A build for a 32-bit Raspberry Pi OS, as the head of its program says."""
    folder = shutil.copytree(host_builds[1].path, tmp_path / "build")
    (folder / "manifest.json").unlink()  # it is no longer what was built
    program = folder / "bundle" / "forecaster"
    head = b"\x7fELF\x01\x01\x01" + bytes(11) + (40).to_bytes(2, "little")
    program.write_bytes(head + program.read_bytes()[20:])
    sshd.program("uname", "echo aarch64")
    with pytest.raises(edge_tqs.DeviceError, match="node1 is aarch64 with a 64-bit system, the build is for 32-bit"):
        edge_tqs.deploy(folder, "node1", **host)
    sshd.program("getconf", "echo 32")
    assert edge_tqs.deploy(folder, "node1", dry_run=True, **host).said[0].startswith("would copy")
    with pytest.raises(edge_tqs.DeviceError, match=r"node1: the program does not run there: .*xec format error"):
        edge_tqs.deploy(folder, "node1", **host)


#: systemd cannot run where tests do. This one runs what is installed, but for the newer build, which ends soon.
SYSTEMCTL = """
case "$*" in
is-system-running) echo running ;;
list-unit-files*) echo "edge-tqs-plant.service enabled enabled" ;;
is-active*) ! grep -q {hash} {folder}/opt/plant/model.json ;;
*) echo "$*" >>{folder}/asked ;;
esac
"""


def test_a_service_that_ends_soon_brings_back_what_ran_before(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], sshd: SshServer, tmp_path: Path
) -> None:
    older, newer = host_builds
    sshd.program("systemctl", SYSTEMCTL.format(hash=newer.model_hash, folder=tmp_path))
    sshd.program("journalctl", "echo the sensor is missing")
    sshd.program("sudo", 'shift; exec "$@"')
    sshd.program("sleep", "true")
    host["install"] = host["install"][1:]  # it starts the program
    done = edge_tqs.deploy(older, "node1", **host)
    assert not any("not started" in said for said in done.said)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "restart edge-tqs-plant.service" in asked
    with pytest.raises(edge_tqs.DeviceError, match=r"edge-tqs-plant\.service does not go on running: the sensor is"):
        edge_tqs.deploy(newer, "node1", **host)
    assert (tmp_path / "host" / "plant" / "current").readlink().name == done.now
    assert json.loads((tmp_path / "opt" / "plant" / "model.json").read_text())["model_hash"] == older.model_hash
    assert (tmp_path / "asked").read_text().splitlines() == asked * 3


def test_live_forecasts_are_installed_where_there_is_a_source(
    host_builds: tuple[BuildDir, BuildDir], host: dict[str, Any], tmp_path: Path
) -> None:
    """What is installed forecasts, as its unit starts it; a build that reads standard input is only brought there."""
    build = host_builds[1]
    host["install"] = [option for option in host["install"] if option not in ("--server", "program")]
    done = edge_tqs.deploy(build, "node1", **host)
    assert done.said[-1].startswith("not installed: edge-tqs-forecastd would read standard input")
    assert not (tmp_path / "units").exists()
    settings = json.loads((build.path / "bundle" / "forecastd.json").read_text())
    made, rows = tmp_path / "forecasts.jsonl", tmp_path / "rows.csv"
    settings |= {"source": {"kind": "csv", "path": str(rows)}, "sinks": [{"kind": "jsonl", "path": str(made)}]}
    (tmp_path / "mine.json").write_text(json.dumps(settings))
    with pytest.raises(edge_tqs.UsageError, match=r'would not start there: .*"period" is missing'):
        edge_tqs.deploy(build, "node1", config=tmp_path / "mine.json", **host)
    (tmp_path / "mine.json").write_text(json.dumps(settings | {"period": "10min"}))
    done = edge_tqs.deploy(build, "node1", config=tmp_path / "mine.json", **host)
    assert done.said[-2] == "installed forecastd as edge-tqs-forecastd-plant.service"
    unit = (tmp_path / "units" / "edge-tqs-forecastd-plant.service").read_text()
    assert not re.search("@[A-Z]+@", unit)
    (command,) = [line[10:].split() for line in unit.splitlines() if line.startswith("ExecStart=")]
    rows.write_text("time,channel 0,channel 1\n" + "".join(f"2024-05-01T00:{n}0:00Z,{n},0.5\n" for n in range(6)))
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    assert json.loads(made.read_text().splitlines()[-1])["forecast"]["made"] == "2024-05-01T00:50:00Z"
    uninstall = [tmp_path / "host" / "plant" / "current" / "install.sh", "--uninstall", *host["install"]]
    subprocess.run(uninstall, check=True, capture_output=True)
    assert not list((tmp_path / "units").iterdir())
    assert not (tmp_path / "opt" / "plant").exists()


def test_a_host_that_cannot_be_reached(
    host_builds: tuple[BuildDir, BuildDir], sshd: SshServer, tmp_path: Path, run: Run
) -> None:
    text = sshd.config.read_text()
    for said, other in (
        ("Connection refused", text.replace(f"Port {sshd.port}", "Port 1")),
        ("Permission denied", text.replace("user_key", "host_key")),
        ("verification failed", text.replace("known_hosts", "none")),
    ):
        (tmp_path / "ssh_config").write_text(other)
        code, _, err = run("deploy", host_builds[1].path, "node1", "--ssh-config", tmp_path / "ssh_config")
        error, hint = err.splitlines()[-2:]
        assert (code, said in error, hint.startswith("  try: ")) == (1, True, True)


def test_wrong_use(host_builds: tuple[BuildDir, BuildDir], tmp_path: Path, run: Run) -> None:
    for wrong in ("-oProxyCommand=touch x", "pi@host;reboot", "", "host:notaport"):
        with pytest.raises(edge_tqs.UsageError, match="is no address of a host"):
            parse_address(wrong)
    code, _, err = run("deploy", host_builds[1].path, "node1", "--ssh-config", tmp_path / "none")
    assert (code, "no such file" in err) == (2, True)
    assert parse_address("pi@host:2222").command == "ssh -p 2222 pi@host"
    with pytest.raises(edge_tqs.UsageError, match="the name bay-1 says nothing without a broker"):
        release_of(host_builds[1], gateway="bay-1")
    with pytest.raises(edge_tqs.UsageError, match="runs no Linux: there is nothing to deploy"):
        release_of(dataclasses.replace(host_builds[1], board=load_board("pico")))


class Here(Connection):
    """A connection that stays in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(parse_address("here"), ())
        self._folder = folder

    def run(self, words: Sequence[str], data: bytes = b"", seconds: float = 60) -> Answer:
        done = subprocess.run(words, input=data, capture_output=True, cwd=self._folder, timeout=seconds, check=False)
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("kind", ["direct", "stateful int16"])
def test_the_library_of_other_kinds_is_compared_code_by_code(kind: str, tmp_path: Path) -> None:
    graph, codes, rollout = graph_of(kind)
    connection, built = Here(bundle(graph, tmp_path)), SimpleNamespace(graph=graph)
    expected = check.Expected(built, codes, rollout.outputs.copy())  # type: ignore[arg-type]
    command = [sys.executable, "-B", "-"]
    assert check.check_library(connection, command, expected).instead == ""
    expected.outputs[-1, -1, -1] ^= 1
    with pytest.raises(edge_tqs.CheckError, match="the library computes another thing than this machine"):
        check.check_library(connection, command, expected)
    (tmp_path / "bundle" / "libforecaster.so").write_bytes(b"of another machine")
    found = check.check_library(connection, command, expected)
    assert "cannot be loaded" in found.instead
    assert 'forecastd.json: "source" is missing' in found.mistakes[0]


def test_a_release_is_named_by_what_it_holds(host_builds: tuple[BuildDir, BuildDir]) -> None:
    release, again = release_of(host_builds[1]), release_of(host_builds[1])
    assert release.name.startswith(host_builds[1].model_hash[:12] + "-")
    assert (release.name, release.tar()) == (again.name, again.tar())
    assert not [name for name in release.files if name.endswith(".pyc")]


def test_the_program_on_standard_input_ends_with_it(host_builds: tuple[BuildDir, BuildDir]) -> None:
    program = host_builds[1].path / "bundle" / "forecaster"
    done = subprocess.run([program, "--stdio"], input=b"\0", capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
