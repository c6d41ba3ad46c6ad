"""Install, update and uninstall in a Debian that has booted: systemd as process 1, in a container of the system's own.

    make booted    # as root, with debootstrap and systemd-container; exit 1 for a check that fails

A minimal Debian is made by debootstrap and kept; each run boots a copy of it that is thrown away. The bundle of the
example is installed there as a user would, from ``inside.sh``, which prints what it saw; a rollout goes through a
serial port of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
PACKAGES = (
    "systemd,systemd-sysv,dbus,ca-certificates,python3,python3-venv,openssh-server,sudo,"
    "mosquitto,mosquitto-clients,python3-paho-mqtt"
)
MACHINE = "edge-tqs-booted"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, help="of the host board; default: the example, built anew")
    parser.add_argument("--debian", default="bookworm", help="its codename")
    parser.add_argument(
        "--root", type=Path, default=PROJECT / "build" / "booted", help="where the minimal Debian is kept"
    )
    options = parser.parse_args()
    missing = [name for name in ("debootstrap", "systemd-nspawn") if shutil.which(name) is None]
    if os.geteuid() or missing:
        print("needs root, and: apt-get install debootstrap systemd-container", file=sys.stderr)
        return 2
    kept = options.root / options.debian
    if not (kept / "usr/bin/python3").exists():
        made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", options.debian, str(kept)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    build = options.build or _example(options.root / "example")
    shared = options.root / "shared"
    shutil.rmtree(shared, ignore_errors=True)
    shutil.copytree(build / "bundle", shared / "bundle", symlinks=True)
    for name in ("inside.sh", "serial_port.py"):
        shutil.copy(HERE / name, shared / name)
    (shared / "greenhouse.csv").write_bytes((PROJECT / "examples/greenhouse/greenhouse.csv").read_bytes())
    return _boot(kept, shared, build)


def _example(out: Path) -> Path:
    command = [sys.executable, "-m", "edge_tqs", "build", "--board", "host", "--out", str(out)]
    subprocess.run(command, cwd=PROJECT / "examples/greenhouse", check=True, stdout=subprocess.DEVNULL)
    return out


def _boot(kept: Path, shared: Path, build: Path) -> int:
    """Boot, run inside.sh, validate through the port that it serves, power off. Its exit code, or 1."""
    command = [
        "systemd-nspawn",
        "--register=no",
        "--keep-unit",
        "--ephemeral",
        "-q",
        "-D",
        str(kept),
        "-M",
        MACHINE,
        "-b",
    ]
    # The network of this machine, with what it knows of it: pip there finds what pip here finds.
    command += [f"--bind={shared}:/shared", "--resolv-conf=copy-host", "--bind-ro=/etc/ssl/certs"]
    places = (Path("/etc/pip.conf"), *(Path(word) for word in os.environ.get("PIP_FIND_LINKS", "").split()))
    command += [f"--bind-ro={place}" for place in places if place.exists()]
    settings = [
        f"{name}={value}" for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))
    ]
    log = open(shared / "console.log", "wb")  # noqa: SIM115
    started = time.monotonic()
    console = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        inside = _process_1(console.pid)
        enter = ["nsenter", "--target", str(inside), "--all", "/usr/bin/env", *settings, "/bin/bash"]
        wait = "until systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do sleep .2; done"
        subprocess.run([*enter, "-c", wait], check=True, timeout=120)
        print(f"booted in {time.monotonic() - started:.1f} s")
        run = subprocess.Popen([*enter, "/shared/inside.sh"])
        checked = _validate(shared, build, run)
        return run.wait(600) or checked or _deploy(enter, shared, build)
    finally:
        console.terminate()
        console.wait(30)


def _process_1(nspawn: int) -> int:
    """systemd in the container, by its parent."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        for child in children:
            if b"systemd" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
                return int(child)
        time.sleep(0.1)
    raise SystemExit("the container did not start; see console.log")


def _validate(shared: Path, build: Path, run: subprocess.Popen[bytes]) -> int:
    """`edge-tqs validate` against the installed service, once inside.sh says that its port is there."""
    while not (shared / "serving").exists():
        if run.poll() is not None:
            return 1
        time.sleep(0.1)
    port = (shared / "serving").read_text().strip()
    command = [sys.executable, "-m", "edge_tqs", "validate", str(build), "--port", port, "--rollouts", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(*[line for line in done.stdout.splitlines() if "steps" in line or "exact" in line][:3], sep="\n")
    (shared / "validated").write_text(f"{done.returncode}\n{done.stderr}")
    return done.returncode


def _deploy(enter: list[str], shared: Path, build: Path) -> int:
    """`edge-tqs deploy` to the user pi there, who is no root: install, update, one that cannot run, and back."""
    print("# edge-tqs deploy pi@HOST", flush=True)
    folder = shared / "ssh"
    folder.mkdir()
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey /shared/ssh/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        "AuthorizedKeysFile /shared/ssh/user_key.pub\nPasswordAuthentication no\n"
    )
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (folder / "ssh_config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  User pi\n  IdentitiesOnly yes\n"
        f"  IdentityFile {folder}/user_key\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
    user = (
        "useradd -m -s /bin/bash -p x pi && echo 'pi ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/pi && mkdir -p /run/sshd"
    )
    subprocess.run([*enter, "-c", f"{user} && /usr/sbin/sshd -f /shared/ssh/sshd_config"], check=True)
    name = json.loads((build / "bundle/gateway.json").read_text())["name"]
    unit = f"edge-tqs-forecastd-{name}"
    stops = shared / "stops.json"  # checked to be right, and ends when it is run
    stops.write_text(_config(build, {"kind": "csv", "path": "/nowhere.csv"}))
    steps: tuple[tuple[str, int, list[str]], ...] = (
        ("first install, by a broker", 0, ["--broker", "127.0.0.1"]),
        ("an update: another name", 0, ["--broker", "127.0.0.1", "--name", "board-1"]),
        ("one whose service does not run is taken back", 1, ["--config", str(stops)]),
        ("back to the one before", 0, ["--rollback"]),
    )
    wrong = 0
    for said, code, options in steps:
        command = [
            sys.executable,
            "-m",
            "edge_tqs",
            "deploy",
            str(build),
            "board",
            "--ssh-config",
            str(folder / "ssh_config"),
        ]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        time.sleep(2)
        active = subprocess.run([*enter, "-c", f"systemctl is-active --quiet {unit}"], check=False).returncode == 0
        right = done.returncode == code and active
        print(
            f"{'ok     ' if right else 'FAILED '} {said}",
            (done.stderr if code else done.stdout).splitlines()[-1],
            sep="\n        ",
            flush=True,
        )
        if not right:
            print(done.stdout, done.stderr)
        wrong += not right
    return int(wrong > 0)


def _config(build: Path, source: dict[str, str]) -> str:
    about = json.loads((build / "bundle/forecastd.json").read_text())
    return json.dumps({**about, "source": source})


if __name__ == "__main__":
    sys.exit(main())
