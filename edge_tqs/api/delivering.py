"""From a build directory to Linux hosts: deploy, and what runs where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_tqs.api.arguments import StrPath, silent
from edge_tqs.building.directory import BuildDir, load
from edge_tqs.delivery.check import expect
from edge_tqs.delivery.deploy import FOLDER, Deployed, Target, roll_back
from edge_tqs.delivery.deploy import deploy as deploy_release
from edge_tqs.delivery.release import release_of
from edge_tqs.progress import Progress


def deploy(
    build: StrPath | BuildDir,
    host: str,
    *,
    broker: str | None = None,
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
    release = release_of(built)
    options = (*(("--broker", broker) if broker else ()), *install)
    target = Target(host, folder, options, None if ssh_config is None else Path(ssh_config))
    if rollback:
        return roll_back(target, release, progress, dry_run=dry_run)
    return deploy_release(target, release, expect(built), progress, dry_run=dry_run)
