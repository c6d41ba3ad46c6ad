"""Many hosts at once: a first share of them, and the rest once that has succeeded."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from edge_tqs.delivery.deploy import Deployed
from edge_tqs.errors import TqsError
from edge_tqs.progress import Progress

Outcome = Literal["updated", "unchanged", "would change", "failed", "not begun"]


@dataclass(frozen=True)
class Job:
    """What is done with one host. act: what `deploy` or `roll_back` does; wanted: the release that it would have after
    a dry run, "" where that is known only there, None where it is no dry run."""

    address: str
    model: str
    wanted: str | None
    act: Callable[[Callable[[str], None]], Deployed]


@dataclass(frozen=True)
class HostOutcome:
    """What became of a host; after a dry run "unchanged" or "would change". runs: the release that it has, "" for none,
    None where it was not asked or did not answer. said: of a failure, the sentence and what to try; else what was done.
    """

    address: str
    model: str
    runs: str | None
    outcome: Outcome
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class FleetOutcome:
    """All of them, in their order."""

    hosts: tuple[HostOutcome, ...]

    @property
    def passed(self) -> bool:
        """Whether none failed, or was left out because of one that did."""
        return all(host.outcome not in ("failed", "not begun") for host in self.hosts)


def run_fleet(
    jobs: Sequence[Job], progress: Progress, *, parallel: int = 4, canary: float = 0.1, keep_going: bool = False
) -> FleetOutcome:
    """Do the jobs, ``parallel`` at a time; a failure is an outcome and raises nothing.

    Args:
        jobs: One a host.
        progress: Called with how many are done.
        parallel: Hosts at a time, 1 or more.
        canary: The share, 0 to 1, of the first hosts that must all succeed before another one is begun; of one host at
            least where it is above 0.
        keep_going: Begin the rest after a failure too. Otherwise none is begun any more; those in hand are finished.
    """
    first = min(len(jobs), math.ceil(canary * len(jobs)))
    found: list[HostOutcome] = [HostOutcome(job.address, job.model, None, "not begun") for job in jobs]
    lock, done = threading.Lock(), 0
    failed = threading.Event()

    def run(index: int) -> None:
        nonlocal done
        if failed.is_set():
            return
        try:
            found[index] = outcome = _outcome(jobs[index])
        except BaseException:  # a fault of this program
            failed.set()
            raise
        if outcome.outcome == "failed" and (index < first or not keep_going):
            failed.set()
        with lock:
            done += 1
            progress("hosts", done, len(jobs))

    for part in (range(first), range(first, len(jobs))):
        with ThreadPoolExecutor(max_workers=parallel) as pool:
            try:
                list(pool.map(run, part))
            except BaseException:  # Ctrl-C: those that wait are not begun
                failed.set()
                raise
    return FleetOutcome(tuple(found))


def _outcome(job: Job) -> HostOutcome:
    seen: list[str] = []
    try:
        made = job.act(seen.append)
    except TqsError as error:
        runs = seen[-1] if seen else None
        return HostOutcome(job.address, job.model, runs, "failed", tuple(filter(None, (error.message, error.hint))))
    became: Outcome = "unchanged" if made.now == made.before else "updated"
    if job.wanted is not None and job.wanted != made.now:
        became = "would change"
    return HostOutcome(job.address, job.model, made.now, became, made.said)
