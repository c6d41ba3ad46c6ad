"""One connection to a host by the system's ssh: all commands go through it, keys and known hosts are the user's."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.errors import DeviceError, ToolError, UsageError
from edge_tqs.needs import Need, program

SSH = program(("ssh",), "reaches the host", "openssh-client")
#: [USER@]HOST[:PORT]; nothing that ssh could take for an option
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.@-]*)(?::(?P<port>\d{1,5}))?")
CONNECT_SECONDS = 10
COMMAND_SECONDS = 300
_READY = b"edge-tqs is here"
#: What ssh ends with when the connection is at fault, and not the command.
_CONNECTION_FAILED = 255
_HINTS = (
    ("resolve", "Is its name right, and is it on? Try its address in place of the name."),
    (
        "Permission denied",
        "Your key must open it without a question: `ssh-copy-id {host}`, and `ssh-add` for a key with a word.",
    ),
    ("verification failed", "Look at its key once by hand: `{command}`."),
    ("HAS CHANGED", "Another machine may answer in its place: see `{command}`."),
)


@dataclass(frozen=True)
class Address:
    """host: what ssh takes, with USER@ where it was given; port: None leaves it to ssh's configuration."""

    host: str
    port: int | None

    @property
    def command(self) -> str:
        """What is typed to get there by hand."""
        return f"ssh {self.host}" if self.port is None else f"ssh -p {self.port} {self.host}"

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """[USER@]HOST[:PORT]. Raises UsageError for anything else."""
    parts = _ADDRESS.fullmatch(text)
    if parts is None:
        raise UsageError(
            f"{text or 'nothing'} is no address of a host", hint="Write [USER@]HOST[:PORT]: pi@raspberrypi.local."
        )
    return Address(parts["host"], int(parts["port"]) if parts["port"] else None)


@dataclass(frozen=True)
class Answer:
    """What a command wrote and its exit code."""

    code: int
    out: str
    err: str

    def values(self, key: str) -> list[str]:
        """The values of the lines "KEY VALUE", stripped."""
        return [line[len(key) + 1 :].strip() for line in self.out.splitlines() if line.startswith(f"{key} ")]

    def value(self, key: str) -> str:
        """The first of `values`; "" where there is none."""
        return next(iter(self.values(key)), "")


class Connection:
    """An open connection; commands share it. Made by `connect`."""

    def __init__(self, address: Address, command: Sequence[str]) -> None:
        self.address = address
        self._command = tuple(command)

    def run(self, words: Sequence[str], data: bytes = b"", seconds: float = COMMAND_SECONDS) -> Answer:
        """Run a command there to its end. Raises DeviceError where the connection breaks or the time is over."""
        try:
            done = subprocess.run(
                self._remote(words), input=data, capture_output=True, timeout=seconds, check=False, env=_environment()
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"{self.address}: a command took longer than {seconds:g} s", hint="Is the host overloaded? Try again."
            ) from error
        answer = Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if answer.code == _CONNECTION_FAILED:
            raise DeviceError(
                f"{self.address}: the connection broke: {_last(answer.err)}",
                hint="Try again: nothing is half done there.",
            )
        return answer

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """A command there, its standard streams as pipes without buffers."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._remote(words), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=_environment()
        )

    def _remote(self, words: Sequence[str]) -> list[str]:
        return [*self._command, shlex.join(words)]


@contextlib.contextmanager
def connect(address: Address, config: Path | None = None) -> Iterator[Connection]:
    """Open the one connection, which asks for nothing; it ends with the block, and with this process.

    config: a file in place of ~/.ssh/config.

    Raises:
        ToolError: There is no ssh.
        UsageError: ``config`` is no file.
        DeviceError: The host cannot be reached, or does not let this user in.
    """
    found = SSH.find()
    if found is None:
        raise ToolError("ssh is missing: it reaches the host", hint="Install it: `sudo apt install openssh-client`.")
    if config is not None and not config.is_file():
        raise UsageError(f"{config}: no such file", hint="Name a configuration of ssh (ssh_config(5)).")
    with tempfile.TemporaryDirectory(prefix="tqs-") as folder:
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", f"ControlPath={folder}/s"]
        options += ["-o", "ServerAliveInterval=15", "-o", "ForwardAgent=no", "-T"]
        options += [] if config is None else ["-F", str(config)]
        options += [] if address.port is None else ["-p", str(address.port)]
        master = [found, *options, "-o", "ControlMaster=yes", "-o", "ControlPersist=no", address.host]
        # It lives as long as its standard input: it ends with this process, however that ends.
        process = subprocess.Popen(
            [*master, f"echo {_READY.decode()}; cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        try:
            _await(process, address)
            yield Connection(address, [found, *options, "-o", "ControlMaster=no", address.host])
        finally:
            _end(process)


def _await(process: subprocess.Popen[bytes], address: Address) -> None:
    """Until the login shell there speaks: then the connection can be shared."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = b""
    while _READY not in heard:
        ready = select.select([process.stdout], [], [], 3 * CONNECT_SECONDS)[0]
        data = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not data:
            if ready:
                process.wait()
            else:
                process.kill()
            said = process.stderr.read().decode(errors="replace") if ready else "it lets in, and then says nothing"
            reason = _last(said)
            hint = next(
                (hint for part, hint in _HINTS if part in said),
                "Is it on and in this network? Try `{command}` by hand.",
            )
            raise DeviceError(
                f"{address}: ssh does not get there: {reason}",
                hint=hint.format(host=address.host, command=address.command),
            )
        heard += data


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C"}


def needs() -> tuple[Need, ...]:
    """The program."""
    return (SSH,)
