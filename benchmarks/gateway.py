"""edge-tqs-forecastd in the long run: memory and time over many samples, its start, and 100 power cuts.

    PYTHONPATH=$PWD .venv/bin/python benchmarks/gateway.py [--samples 1000000] [--kills 100]

The example's model for this machine, with a store, a page and lines of JSON. Its data is repeated, the times go on. A
power cut is SIGKILL at a random moment of a run that reads four weeks of the data; what it leaves is compared with the
run that nobody disturbed. docs/how-to/gateway.md holds the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "greenhouse"
KILLED_ROWS = 1344


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        build = [sys.executable, "-m", "edge_tqs", "build", "--board", "host", "--out", str(place / "build")]
        subprocess.run(build, cwd=EXAMPLE, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bundle = place / "build" / "bundle"
        print(f"start      {_start(bundle, place):.2f} s until it serves")
        wrong = _kills(bundle, place, options.kills, random.Random(options.seed))
        _long(bundle, place, options.samples)
    return int(wrong)


def _config(bundle: Path, path: Path, source: dict[str, Any], sinks: list[dict[str, Any]], store: Path | str) -> Path:
    about = json.loads((bundle / "forecastd.json").read_text())
    path.write_text(json.dumps({**about, "source": source, "sinks": sinks, "store": str(store), "time_zone": "UTC"}))
    return path


def _command(bundle: Path, config: Path) -> list[str]:
    return [sys.executable, "-P", str(bundle / "edge-tqs-forecastd"), "--config", str(config)]


def _start(bundle: Path, place: Path) -> float:
    config = _config(bundle, place / "start.json", {"kind": "stdin"}, [{"kind": "jsonl"}], place / "start.sqlite")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(place / "notify"))
        began = time.monotonic()
        environment = os.environ | {"NOTIFY_SOCKET": str(place / "notify")}
        with subprocess.Popen(_command(bundle, config), stdin=subprocess.PIPE, env=environment) as program:
            heard.recv(100)
            seconds = time.monotonic() - began
            program.kill()
    return seconds


def _lines(count: int) -> Iterator[str]:
    header, *rows = (EXAMPLE / "greenhouse.csv").read_text().splitlines()
    values = [row.partition(",")[2] for row in rows]
    yield header + "\n"
    first = datetime(2000, 1, 1, tzinfo=UTC)
    for n in range(count):
        yield f"{(first + timedelta(minutes=30 * n)).strftime('%Y-%m-%dT%H:%M:%SZ')},{values[n % len(values)]}\n"


def _long(bundle: Path, place: Path, samples: int) -> None:
    """Memory and time of one process that takes all samples."""
    sinks = [{"kind": "jsonl", "path": "/dev/null"}, {"kind": "page", "listen": "127.0.0.1:0"}]
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else place  # no disk's time is measured
    store = shared / f"edge-tqs-{os.getpid()}.sqlite"
    config = _config(bundle, place / "long.json", {"kind": "stdin"}, sinks, store)
    program = subprocess.Popen(_command(bundle, config), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    resident: list[tuple[int, float]] = []
    sent = 0
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            pages = int(Path(f"/proc/{program.pid}/statm").read_text().split()[1])
            resident.append((sent, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert program.stdin is not None
    for line in _lines(samples):
        program.stdin.write(line.encode())
        sent += 1
    stop.set()
    watcher.join()
    program.stdin.close()
    _, status, used = os.wait4(program.pid, 0)
    early = max(size for at, size in resident if at <= max(samples // 10, resident[0][0]))
    late = max(size for at, size in resident if at >= samples * 9 // 10)
    cpu = (used.ru_utime + used.ru_stime) / samples
    code = os.waitstatus_to_exitcode(status)
    print(f"long       {samples:,} samples, exit code {code}: {1e3 * cpu:.2f} ms of CPU a sample")
    print(f"memory     {early:.1f} MB in the first tenth, {late:.1f} MB in the last")
    for ending in ("", "-wal", "-shm"):
        left = Path(f"{store}{ending}")
        if left.exists():
            print(f"store      {left.name[left.name.index('.') + 1 :]}: {left.stat().st_size:,} bytes")
            left.unlink()


def _kills(bundle: Path, place: Path, kills: int, rng: random.Random) -> bool:
    """Whether a run that is killed so often, and goes on each time, says something else than one that is left alone."""
    header, *rows = (EXAMPLE / "greenhouse.csv").read_text().splitlines(keepends=True)
    data = place / "day.csv"
    data.write_text(header + "".join(rows[-KILLED_ROWS:]))

    def settings(name: str) -> Path:
        sinks = [{"kind": "jsonl", "path": str(place / f"{name}.jsonl")}]
        source = {"kind": "csv", "path": str(data)}
        return _config(bundle, place / f"{name}.json", source, sinks, place / f"{name}.sqlite")

    began = time.monotonic()
    subprocess.run(_command(bundle, settings("whole")), check=True)
    whole = time.monotonic() - began
    command, done, runs = _command(bundle, settings("cut")), 0, 0
    while done < kills:
        with subprocess.Popen(command) as program:
            try:
                program.wait(rng.uniform(0, 0.4 + 2.0 * whole / kills))
            except subprocess.TimeoutExpired:
                program.kill()
                done += 1
        if program.returncode == 0:  # it came to the end: from the beginning
            wrong = _differs(place)
            if wrong:
                return True
            runs += 1
            for file in place.glob("cut.*"):
                if file.suffix != ".json":
                    file.unlink()
    subprocess.run(command, check=True)
    wrong = _differs(place)
    print(
        f"kills      {done} at random moments of {runs + 1} runs of {KILLED_ROWS} samples: "
        + ("NOT " * wrong)
        + "as undisturbed"
    )
    return wrong


def _differs(place: Path) -> bool:
    reports: list[dict[str, Any]] = []
    for name in ("whole", "cut"):
        found: dict[str, Any] = {}
        for line in (place / f"{name}.jsonl").read_text().splitlines():
            try:
                one = json.loads(line)
            except json.JSONDecodeError:
                continue  # a line that was cut is written again
            said = (one["sample"], one["forecast"], one["states"])
            if found.setdefault(one["time"], said) != said:
                print(f"{name}: two reports of {one['time']} differ", file=sys.stderr)
                return True
        reports.append(found)
    return reports[0] != reports[1]


if __name__ == "__main__":
    sys.exit(main())
