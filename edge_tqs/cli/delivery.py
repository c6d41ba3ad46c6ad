"""The commands that bring builds to Linux hosts, and show what those say."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tqs.cli.options import as_json
from edge_tqs.cli.output import print_result
from edge_tqs.errors import UsageError
from edge_tqs.progress import show
from edge_tqs.text_table import table

if TYPE_CHECKING:
    from edge_tqs.delivery.deploy import Deployed
    from edge_tqs.delivery.fleet import FleetOutcome
    from edge_tqs.delivery.heard import Gateway


def share(context: click.Context, option: click.Parameter, value: str) -> float:
    """10% or 0.1 as 0.1; click's callback."""
    try:
        found = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise click.BadParameter(f"{value!r} is no share: write 10%, or 0.1", context, option)
    return found


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.argument("host", required=False, metavar="[USER@]HOST[:PORT]")
@click.option("--broker", metavar="HOST[:PORT]", help="The MQTT broker that edge-tqs-forecastd is to use.")
@click.option("--name", help="Of the gateway: several on one broker tell their topics apart by it.")
@click.option("--config", type=click.Path(path_type=Path), help="A forecastd.json in place of the build's.")
@click.option("--rollback", is_flag=True, help="Install the release that was there before; once more goes forth again.")
@click.option("--dry-run", is_flag=True, help="Look at the host and say what would be done; change nothing.")
@click.option(
    "--folder", default="edge-tqs", show_default=True, help="Of the releases there: absolute, or in the user's home."
)
@click.option("--install", default="", metavar="OPTIONS", help="Further options of its install.sh, as one text.")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="A file in place of ~/.ssh/config.")
@click.option("--inventory", type=click.Path(path_type=Path), help="All hosts of this file (docs/how-to/fleet.md).")
@click.option(
    "--parallel", type=click.IntRange(1), default=4, show_default=True, help="Hosts of the inventory at a time."
)
@click.option(
    "--canary",
    callback=share,
    default="10%",
    show_default=True,
    metavar="SHARE",
    help="Of its hosts, the first that must all succeed before another one is begun.",
)
@click.option("--keep-going", is_flag=True, help="Begin its other hosts after a failure too.")
@as_json
def deploy(
    build: Path | None, host: str | None, inventory: Path | None, as_json: bool, install: str, **settings: Any
) -> None:
    """Bring BUILD to a Linux host, or to all of an inventory, by ssh: copy, check there, install, start.

    What is checked is that rollouts there give the codes of this machine. Your key must open the host without a
    question. Where a step fails, what ran before goes on running.
    Exit code 0: done. 1: a host or a check failed. 2: wrong use.
    """
    of_one = ("broker", "name", "config", "folder")
    of_all = ("parallel", "canary", "keep_going")
    if inventory is None:
        if build is None or host is None:
            raise UsageError("a build and a host are needed", hint="edge-tqs deploy build/rpi4 pi@raspberrypi.local")
        _one(build, host, as_json, {"install": shlex.split(install), **_but(settings, of_all)})
        return
    given = [name for name in ("host", *of_one, "install") if _by_hand(name)]
    if given:
        raise UsageError(
            f"{given[0]} is of one host, and there is an inventory", hint=f"Write {given[0]} into {inventory}."
        )
    _all(inventory, build, as_json, _but(settings, of_one))


@click.command()
@click.option("--broker", required=True, metavar="HOST[:PORT]", help="The MQTT broker that the gateways publish to.")
@click.option("--prefix", default="edge-tqs", show_default=True, help="Of their topics, as forecastd.json has it.")
@click.option("--user", default="", help="Of the broker; the password is in EDGE_TQS_MQTT_PASSWORD.")
@click.option("--tls", is_flag=True, help="Encrypted, by the certificates that this system trusts.")
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="That no gateway more must be heard for.",
)
@as_json
def fleet(as_json: bool, **settings: Any) -> None:
    """Show what each gateway in the field reports over MQTT: the model's hash, its errors, its problems.

    Exit code 0: all are online and none has a problem. 1: one is not, or has, or none is heard. 2: wrong use.
    """
    from edge_tqs.api.delivering import fleet as run

    heard = run(**settings, password=os.environ.get("EDGE_TQS_MQTT_PASSWORD", ""))
    print_result(as_json, [asdict(gateway) for gateway in heard], heard_text(heard))
    if not heard or any(gateway.problems or not gateway.online for gateway in heard):
        sys.exit(1)


def _one(build: Path, host: str, as_json: bool, settings: dict[str, Any]) -> None:
    from edge_tqs.api.delivering import deploy as run

    with show() as progress:
        done = run(build, host, progress=progress, **settings)
    print_result(as_json, asdict(done), deployed_text(done))


def _all(inventory: Path, build: Path | None, as_json: bool, settings: dict[str, Any]) -> None:
    from edge_tqs.api.delivering import deploy_all as run

    with show() as progress:
        done = run(inventory, build, progress=progress, **settings)
    print_result(as_json, asdict(done) | {"passed": done.passed}, fleet_text(done))
    if not done.passed:
        sys.exit(1)


def deployed_text(done: Deployed) -> str:
    """What was done, then what the host has now."""
    runs = f"{done.model} {done.now}" if done.now else f"nothing of {done.model}"
    was = f", before {done.before}" if done.before not in ("", done.now) else ""
    return "\n".join([*(f"deploy     {line}" for line in done.said), f"{done.host} has {runs}{was}"])


def fleet_text(done: FleetOutcome) -> str:
    """Who runs what, and why not."""
    rows = [
        [host.address, host.model, "not asked" if host.runs is None else host.runs or "nothing", host.outcome]
        for host in done.hosts
    ]
    lines = [table(["host", "model", "runs", ""], rows)]
    for host in done.hosts:
        if host.outcome == "failed":
            lines += [f"error: {host.said[0]}", *(f"  try: {hint}" for hint in host.said[1:])]
    counts = [(name, sum(host.outcome == name for host in done.hosts)) for name in OUTCOMES]
    return "\n".join([*lines, ", ".join(f"{count} {name}" for name, count in counts if count)])


def heard_text(heard: Sequence[Gateway]) -> str:
    """A row for each gateway, by its output that does worst; then the problems."""
    if not heard:
        return "no gateway is heard: does forecastd.json have a sink of this broker, and this prefix?"
    rows = []
    for gateway in heard:
        naive = [row.error / row.naive for row in gateway.errors if row.error is not None and row.naive]
        promised = [row.error / row.promised for row in gateway.errors if row.error is not None and row.promised]
        rows.append(
            [
                gateway.topic,
                gateway.model_hash[:12] or "not said",
                "online" if gateway.online else "offline",
                gateway.time or "-",
                f"{max(naive):.2f}" if naive else "-",
                f"{max(promised):.2f}" if promised else "-",
                str(len(gateway.problems)),
            ]
        )
    head = ["gateway", "model", "", "last sample", "error / last value's", "/ promised", "problems"]
    told = [f"{gateway.topic}: {problem}" for gateway in heard for problem in gateway.problems]
    return "\n".join([table(head, rows), *told])


OUTCOMES = ("updated", "unchanged", "would change", "failed", "not begun")


def _by_hand(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _but(settings: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in left_out}
