"""A real sshd on a loopback port, with keys of its own; it is a process of the user who runs the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SECONDS = 30


@dataclass(frozen=True)
class SshServer:
    """config: of ssh, by which each name "node..." is this server. programs: a folder that is first in its PATH."""

    config: Path
    programs: Path
    port: int

    def program(self, name: str, text: str) -> None:
        """A stand-in for a program of the host: what cannot be had here, as another kind of machine or a full disk."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    assert SSHD is not None, "tools/setup installs openssh-server"
    programs = folder / "programs"
    programs.mkdir(parents=True)
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # of Debian's service, which need not run
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"KbdInteractiveAuthentication no\nMaxStartups 100\nUseDNS no\nPrintMotd no\n"
        # SHLVL keeps bash from reading the user's .bashrc, which may put another PATH there.
        f"SetEnv PATH={programs}:/usr/local/bin:/usr/bin:/bin SHLVL=9\n"
    )
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    config = folder / "ssh_config"
    config.write_text(
        f"Host node*\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentitiesOnly yes\n"
        f"  IdentityFile {folder}/user_key\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
    with subprocess.Popen([SSHD, "-D", "-q", "-f", str(settings)], stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + SECONDS
            while True:
                with socket.socket() as there:
                    if there.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            yield SshServer(config, programs, port)
        finally:
            process.terminate()
