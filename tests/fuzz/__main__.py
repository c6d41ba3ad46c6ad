"""`make fuzz`: the full counts. Prints each target's inputs and CPU seconds; exits 1 on a finding, which it keeps."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

from fuzz import c_server, host

SERVER_INPUTS = 10_000_000


def seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def fuzz_server(name: str, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        done = c_server.run(c_server.build(name, Path(folder)), seed, SERVER_INPUTS)
    print((done.stdout.splitlines() or [done.stderr])[0], end="")
    return done.returncode == 0


def fuzz_host(name: str, seed: int) -> bool:
    try:
        outcome = host.run(name, seed, host.TARGETS[name].full)
    except host.FindingError as finding:
        print(f"{finding.what}; kept as {host.keep(finding, name)}", end="")
        return False
    print(f"{sum(outcome.values())} inputs, {outcome['refused']} refused", end="")
    return True


def main() -> int:
    servers, hosts = [f"server-{name}" for name in c_server.FORECASTS], list(host.TARGETS)
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("targets", nargs="*", default=[*servers, *hosts], metavar="|".join([*servers, *hosts]))
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    sound = True
    for target in wanted.targets:
        start = seconds()
        print(f"{target:14} ", end="", flush=True)
        found = fuzz_server(target[7:], wanted.seed) if target in servers else fuzz_host(target, wanted.seed)
        print(f"; {seconds() - start:.0f} s of CPU", flush=True)
        sound = sound and found
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
