"""A fleet: twenty hosts at once, the first share before the rest, and what an inventory may say."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from ssh_server import SshServer
from test_gateway_mqtt import Broker

import edge_tqs
from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.delivery.config import with_broker
from edge_tqs.delivery.deploy import Deployed
from edge_tqs.delivery.fleet import Job, run_fleet
from edge_tqs.delivery.heard import _collected, gateways
from edge_tqs.delivery.inventory import read_inventory
from edge_tqs.delivery.release import release_of

Run = Callable[..., tuple[int, str, str]]


def inventory(folder: Path, build: Path, count: int) -> Path:
    """Hosts that are folders of one sshd, each with a name of its own."""
    settings = json.loads((build / "bundle" / "forecastd.json").read_text()) | {"period": "10min"}
    (folder / "mine.json").write_text(json.dumps(settings))
    lines = [f'build = "{build}"', 'broker = "10.0.0.1"', 'config = "mine.json"']
    for number in range(count):
        place = folder / f"{number:02d}"
        install = f'["--no-start", "--server", "program", "--prefix", "{place}/opt", "--units", "{place}/units"]'
        lines += ["[[host]]", f'address = "node{number}"', f'name = "bay-{number}"', f'folder = "{place}/host"']
        lines.append(f"install = {install}")
    (folder / "hosts.toml").write_text("\n".join(lines) + "\n")
    return folder / "hosts.toml"


def test_twenty_hosts_at_once_and_the_first_share(
    host_builds: tuple[BuildDir, BuildDir], sshd: SshServer, tmp_path: Path, run: Run
) -> None:
    older, newer = host_builds
    hosts = inventory(tmp_path, older.path, 20)
    places = [tmp_path / f"{number:02d}" for number in range(20)]
    done = edge_tqs.deploy_all(hosts, parallel=20, canary=0, ssh_config=sshd.config)
    assert [host.outcome for host in done.hosts] == ["updated"] * 20
    # A topic for each: their releases differ by forecastd.json alone.
    assert len({host.runs for host in done.hosts}) == 20
    told = json.loads((places[7] / "host" / "plant" / "current" / "forecastd.json").read_text())
    assert told["source"]["topic"] == "bay-7/{column}"
    assert told["sinks"] == [{"kind": "mqtt", "broker": "10.0.0.1", "prefix": "edge-tqs/bay-7"}, {"kind": "page"}]

    inventory(tmp_path, newer.path, 2)
    code, out, _ = run("deploy", "--inventory", hosts, "--dry-run", "--ssh-config", sshd.config)
    assert (code, out.splitlines()[-1]) == (0, "2 would change")

    # The second host of the first two cannot be written to: no other one is begun.
    inventory(tmp_path, newer.path, 20)
    text = hosts.read_text().replace(f'"{places[1]}/units"', '"/dev/null"')
    hosts.write_text(text)
    code, out, _ = run("deploy", "--inventory", hosts, "--canary", "10%", "--ssh-config", sshd.config)
    assert (code, out.splitlines()[-1]) == (1, "1 updated, 1 failed, 18 not begun")
    assert "error: node1: activate failed: " in out
    rows = [line.split() for line in out.splitlines()[1:21]]
    assert [row[2][:12] for row in rows[:2]] == [newer.model_hash[:12], older.model_hash[:12]]
    assert rows[2][2:] == ["not", "asked", "not", "begun"]
    installed = [json.loads((place / "opt" / "plant" / "model.json").read_text())["model_hash"] for place in places]
    assert installed == [newer.model_hash, *[older.model_hash] * 19]

    hosts.write_text("\n".join(text.splitlines()[: 3 + 3 * 5]) + "\n")  # three of them
    code, out, _ = run("deploy", "--inventory", hosts, "--keep-going", "--canary", "0", "--ssh-config", sshd.config)
    assert (code, out.splitlines()[-1]) == (1, "1 updated, 1 unchanged, 1 failed")
    inventory(tmp_path, newer.path, 1)
    done = edge_tqs.deploy_all(hosts, rollback=True, ssh_config=sshd.config)
    config = (tmp_path / "mine.json").read_bytes()
    wanted = release_of(older, config=config, broker="10.0.0.1", gateway="bay-0").name
    assert [host.runs for host in done.hosts] == [wanted]


def test_after_ctrl_c_no_host_is_begun() -> None:
    begun: list[int] = []

    def job(number: int) -> Job:
        def act(runs: Callable[[str], None]) -> Deployed:
            begun.append(number)
            raise KeyboardInterrupt

        return Job(f"node{number}", "plant", None, act)

    with pytest.raises(KeyboardInterrupt):
        run_fleet([job(number) for number in range(5)], lambda stage, done, total: None, parallel=1, canary=0)
    assert begun == [0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "host"),
        ("host = []", "host"),
        ('[[host]]\naddress = "a"\nnmae = "x"', "nmae"),
        ('[[host]]\naddress = "-oX"', "is no address of a host"),
        ('[[host]]\naddress = "a"\n[[host]]\naddress = "a"', "the address a is there twice"),
        ('[[host]]\naddress = "a"\nname = "n"\n[[host]]\naddress = "b"\nname = "n"', "the name n is there twice"),
        ("host = ", "is not TOML"),
    ],
)
def test_a_wrong_inventory(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(edge_tqs.UsageError, match=said):
        read_inventory(tmp_path / "hosts.toml")


def test_wrong_use(host_builds: tuple[BuildDir, BuildDir], tmp_path: Path, run: Run) -> None:
    (tmp_path / "hosts.toml").write_text('[[host]]\naddress = "a"\n')
    assert "names no build for a" in run("deploy", "--inventory", tmp_path / "hosts.toml")[2]
    hosts = ("--inventory", tmp_path / "hosts.toml")
    assert "broker is of one host" in run("deploy", host_builds[0].path, *hosts, "--broker", "b")[2]
    assert "is no share" in run("deploy", host_builds[0].path, *hosts, "--canary", "200%")[2]
    assert "a build and a host are needed" in run("deploy", host_builds[0].path)[2]


@pytest.mark.parametrize(
    ("broker", "gateway", "said"),
    [
        ("b:0", None, "is no address of a broker"),
        ("b:70000", None, "is no address"),
        ("b c", None, "is no address"),
        ("b", "a/b", "cannot stand in a topic"),
        ("b", "#", "cannot stand in a topic"),
    ],
)
def test_a_wrong_broker_or_name(broker: str, gateway: str | None, said: str) -> None:
    with pytest.raises(edge_tqs.UsageError, match=said):
        with_broker(b"{}", "m", broker, gateway)


def test_what_gateways_in_the_field_report(host_builds: tuple[BuildDir, BuildDir], tmp_path: Path, run: Run) -> None:
    """Two gateways of one model and a real broker; the one is stopped."""
    build = host_builds[1]
    broker = Broker(tmp_path)
    address = f"127.0.0.1:{broker.port}"
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("bay-1", "bay-2"):
            settings = json.loads((build.path / "bundle" / "forecastd.json").read_text()) | {"period": "10min"}
            sink = {"kind": "mqtt", "broker": "127.0.0.1", "port": broker.port, "prefix": f"edge-tqs/{name}"}
            (tmp_path / name).write_text(json.dumps(settings | {"sinks": [sink]}))
            command = [sys.executable, str(build.path / "bundle" / "edge-tqs-forecastd"), "--config"]
            running.append(subprocess.Popen([*command, str(tmp_path / name)], stdin=subprocess.PIPE))
            stream = running[-1].stdin
            assert stream is not None
            rows = [f"2024-05-01T0{number // 6}:{number % 6}0:00Z,{number},0.5\n" for number in range(9)]
            stream.write(("time,channel 0,channel 1\n" + "".join(rows)).encode())
            stream.flush()
        unheard = {f"edge-tqs/{name}/plant/report" for name in ("bay-1", "bay-2")}
        while unheard:
            topic, _ = broker.wait(
                lambda topic, text: topic in unheard and json.loads(text)["time"] == "2024-05-01T01:20:00Z"
            )
            unheard.discard(topic)
        code, out, _ = run("fleet", "--broker", address, "--wait", "0.5", "--json")
        told = json.loads(out)
        assert code == int(any(gateway["problems"] for gateway in told))
        assert [gateway["topic"] for gateway in told] == ["edge-tqs/bay-1/plant", "edge-tqs/bay-2/plant"]
        assert {gateway["model_hash"] for gateway in told} == {build.model_hash}
        assert all(gateway["online"] and gateway["host"] for gateway in told)
        assert [error["label"] for error in told[0]["errors"]] == ["channel 0", "channel 1"]
        assert told[0]["errors"][0]["truths"] > 0
        assert told[0]["errors"][0]["naive"] > 0
        running[0].communicate()
        broker.wait(lambda topic, text: text == "offline")
        code, out, _ = run("fleet", "--broker", address, "--wait", "0.5")
        shown = [line.split()[1:3] for line in out.splitlines()[1:3]]
        assert (code, shown) == (1, [[build.model_hash[:12], "offline"], [build.model_hash[:12], "online"]])
        assert "no gateway is heard" in run("fleet", "--broker", address, "--wait", "0.1", "--prefix", "other")[1]
    finally:
        for process in running:
            process.communicate()
        broker.close()
    assert run("fleet", "--broker", address)[0] == 1
    assert run("fleet", "--broker", "")[0] == 2


def test_messages_that_are_no_gateways_are_left_out() -> None:
    found, *others = gateways(
        {
            "edge-tqs/n10/x/online": b"online",
            "edge-tqs/n9/x/online": b"offline",
            "edge-tqs/m/online": b"online",
            "edge-tqs/m/about": b"\xff",
            "edge-tqs/m/report": b'{"card": {"a": 1, "b": {"truths": "x", "mae": true}}, "time": 5}',
            "edge-tqs/m/problem": b'{"problems": "many"}',
            "edge-tqs/n/report": b"{}",
            "online": b"online",
        }
    )
    assert [(other.topic, other.online) for other in others] == [("edge-tqs/n9/x", False), ("edge-tqs/n10/x", True)]
    assert (found.topic, found.model_hash, found.time, found.problems) == ("edge-tqs/m", "", "", ())
    assert [(error.label, error.truths, error.error) for error in found.errors] == [("b", 0, None)]


@pytest.mark.parametrize(("late", "count"), [("bay/plant/report", 4), ("other/plant/about", 4)])
def test_what_is_missing_of_a_gateway_is_waited_for_longer(late: str, count: int) -> None:
    """A broker that pauses for twice the wait: before something of a gateway, or before another gateway."""
    kept = [f"edge-tqs/bay/plant/{kind}" for kind in ("about", "online", "problem", "report")]
    coming = [topic for topic in kept if not topic.endswith(late)]

    class Paused:
        def get(self, timeout: float) -> tuple[str, bytes] | None:
            if coming:
                return coming.pop(0), b"{}"
            if timeout < 2.0 or f"edge-tqs/{late}" in given:
                raise queue.Empty
            given.append(f"edge-tqs/{late}")
            return given[0], b"{}"

    given = list[str]()
    found = _collected(cast(Any, Paused()), "broker", 1.0)
    assert len(found) == count
    assert given == ([f"edge-tqs/{late}"] if late in kept[-1] else [])
