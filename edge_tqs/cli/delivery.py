"""The commands that bring builds to Linux hosts."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import click

from edge_tqs.cli.options import as_json
from edge_tqs.progress import show


@click.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.argument("host", metavar="[USER@]HOST[:PORT]")
@click.option("--broker", metavar="HOST[:PORT]", help="The MQTT broker that edge-tqs-forecastd is to use.")
@click.option("--rollback", is_flag=True, help="Install the release that was there before; once more goes forth again.")
@click.option("--dry-run", is_flag=True, help="Look at the host and say what would be done; change nothing.")
@click.option(
    "--folder", default="edge-tqs", show_default=True, help="Of the releases there: absolute, or in the user's home."
)
@click.option("--install", default="", metavar="OPTIONS", help="Further options of its install.sh, as one text.")
@click.option("--ssh-config", type=click.Path(path_type=Path), help="A file in place of ~/.ssh/config.")
@as_json
def deploy(
    build: Path,
    host: str,
    broker: str | None,
    rollback: bool,
    dry_run: bool,
    folder: str,
    install: str,
    ssh_config: Path | None,
    as_json: bool,
) -> None:
    """Bring BUILD to a Linux host by ssh: copy, check there against this machine, install, start.

    Your key must open the host without a question. Where a step fails, what ran before goes on running.
    Exit code 0: done. 1: the host or a check failed. 2: wrong use.
    """
    from edge_tqs.api.delivering import deploy as run

    with show() as progress:
        done = run(
            build,
            host,
            broker=broker,
            rollback=rollback,
            dry_run=dry_run,
            folder=folder,
            install=shlex.split(install),
            ssh_config=ssh_config,
            progress=progress,
        )
    runs = f"{done.model} {done.now}" if done.now else f"nothing of {done.model}"
    was = f", before {done.before}" if done.before not in ("", done.now) else ""
    lines = [f"deploy     {line}" for line in done.said]
    _print(as_json, asdict(done), "\n".join([*lines, f"{done.host} has {runs}{was}"]))


def _print(as_json: bool, body: object, text: str) -> None:
    click.echo(json.dumps(body, indent=2) if as_json else text)
