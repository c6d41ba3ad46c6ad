"""From a build directory to Linux hosts: one, or a fleet; and what a fleet says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge_tqs.api.arguments import StrPath, silent
from edge_tqs.building.folder.directory import BuildDir, load
from edge_tqs.delivery.check import Expected, expect
from edge_tqs.delivery.config import PREFIX
from edge_tqs.delivery.deploy import FOLDER, Deployed, Target, ignore, roll_back
from edge_tqs.delivery.deploy import deploy as deploy_release
from edge_tqs.delivery.fleet import FleetOutcome, Job, run_fleet
from edge_tqs.delivery.heard import BrokerLogin, Gateway, listen
from edge_tqs.delivery.inventory import Host, read_inventory
from edge_tqs.delivery.release import Release, release_of
from edge_tqs.errors import UsageError
from edge_tqs.progress import Progress


def deploy(
    build: StrPath | BuildDir,
    host: str,
    *,
    broker: str | None = None,
    name: str | None = None,
    config: StrPath | None = None,
    rollback: bool = False,
    dry_run: bool = False,
    folder: str = FOLDER,
    install: Sequence[str] = (),
    ssh_config: StrPath | None = None,
    progress: Progress = silent,
) -> Deployed:
    """Bring a build to a Linux host by ssh: copy, check there against this machine, install, start.

    Args:
        build: What `build` returned, or its directory.
        host: [USER@]HOST[:PORT], which the user's key opens without a question.
        broker: The MQTT broker that edge-tqs-forecastd is to use, HOST[:PORT].
        name: Of the gateway, by which several on one broker tell their topics apart.
        config: A forecastd.json in place of the build's.
        rollback: Install the release that was there before the current one instead.
        dry_run: Look, and say what would be done.
        folder: Of the releases there: absolute, or in the user's home.
        install: Further options of the bundle's install.sh.
        ssh_config: A file in place of ~/.ssh/config.
        progress: Called with what is being done.

    Raises UsageError for a build that is for no Linux board, an address that is none, or a rollback without a release
    before; ToolError without ssh; DeviceError where the host cannot be reached, is of another kind, lacks room or
    Python, or installing failed; CheckError where it computes something else. In each case the host has what it had.
    """
    built = build if isinstance(build, BuildDir) else load(Path(build))
    to = Host(host, name, built.path, broker, None if config is None else Path(config), folder, tuple(install))
    release, target = _release(built, to), _target(to, ssh_config)
    if rollback:
        return roll_back(target, release, progress, dry_run=dry_run)
    return deploy_release(target, release, expect(built), progress, dry_run=dry_run)


def deploy_all(
    inventory: StrPath,
    build: StrPath | BuildDir | None = None,
    *,
    parallel: int = 4,
    canary: float = 0.1,
    keep_going: bool = False,
    rollback: bool = False,
    dry_run: bool = False,
    ssh_config: StrPath | None = None,
    progress: Progress = silent,
) -> FleetOutcome:
    """`deploy` to each host of an inventory: a first share, and the rest once that has succeeded.

    Args:
        inventory: hosts.toml (docs/how-to/fleet.md).
        build: For the hosts of which the file names none.
        parallel: Hosts at a time.
        canary: The share, 0 to 1, of the first hosts that must succeed before another one is begun.
        keep_going: Begin the rest after a failure too.
        rollback, dry_run, ssh_config, progress: As of `deploy`, for each.

    A host that fails is an outcome. Raises UsageError for a wrong inventory or build, before any host is asked.
    """
    if parallel < 1 or not 0 <= canary <= 1:
        raise UsageError("a fleet takes 1 host or more at a time, and a share from 0 to 1 of it first")
    given = build if isinstance(build, BuildDir) or build is None else load(Path(build))
    loaded: dict[Path, BuildDir] = {}
    expected: dict[Path, Expected] = {}
    jobs = []
    for host in read_inventory(Path(inventory)):
        built = given
        if host.build is not None:
            built = loaded.setdefault(host.build, loaded.get(host.build) or load(host.build))
        if built is None:
            raise UsageError(
                f"{inventory} names no build for {host.address}", hint='Write build = "build/rpi4" above all hosts.'
            )
        release, target = _release(built, host), _target(host, ssh_config)
        if built.path not in expected and not rollback:
            expected[built.path] = expect(built)
        jobs.append(_job(target, release, expected.get(built.path), rollback, dry_run))
    return run_fleet(jobs, progress, parallel=parallel, canary=canary, keep_going=keep_going)


def fleet(
    broker: str,
    *,
    prefix: str = PREFIX,
    user: str = "",
    password: str = "",
    tls: bool = False,
    wait: float = 2.0,
) -> tuple[Gateway, ...]:
    """What each gateway in the field reports over MQTT: the model's hash, its report card, its problems.

    Args:
        broker: HOST[:PORT].
        prefix: Of the gateways' topics.
        user, password: Of the broker, where it asks for them.
        tls: Encrypted, by the certificates that this system trusts.
        wait: Seconds in which no gateway more must be heard.

    Raises ToolError without paho-mqtt, UsageError for an address that is none, DeviceError where the broker cannot be
    reached or refuses.
    """
    return listen(BrokerLogin(broker, user, password, tls), prefix=prefix, wait=wait)


def _job(target: Target, release: Release, expected: Expected | None, rollback: bool, dry_run: bool) -> Job:
    def act(runs: Callable[[str], None] = ignore) -> Deployed:
        if expected is None:
            return roll_back(target, release, silent, dry_run=dry_run, runs=runs)
        return deploy_release(target, release, expected, silent, dry_run=dry_run, runs=runs)

    wanted = ("" if rollback else release.name) if dry_run else None
    return Job(target.address, release.model, wanted, act)


def _release(built: BuildDir, host: Host) -> Release:
    config = None
    if host.config is not None:
        try:
            config = host.config.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{host.config} cannot be read: {error.strerror}",
                hint="Name a forecastd.json (docs/how-to/gateway.md).",
            ) from error
    return release_of(built, config=config, broker=host.broker, gateway=host.name)


def _target(host: Host, ssh_config: StrPath | None) -> Target:
    return Target(host.address, host.folder, host.install, None if ssh_config is None else Path(ssh_config))
