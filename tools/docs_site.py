"""MkDocs' hook: pages of the repository that lie outside docs/, links between files as links between pages, and the
options of each command.

A link is written as the repository has it (``../firmware_templates/PROTOCOL.md``), so it works there and on the site.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from pathlib import Path
from typing import Any

import click
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from edge_tqs.cli.main import cli

ROOT = Path(__file__).parents[1]
#: File of the repository -> page of the site.
PAGES = {
    "DESIGN.md": "design.md",
    "CHANGELOG.md": "changelog.md",
    "firmware_templates/PROTOCOL.md": "protocol.md",
    "examples/greenhouse/README.md": "examples/greenhouse.md",
    "examples/electricity-demand/README.md": "examples/electricity-demand.md",
    "examples/electricity-demand/NOTICE.md": "examples/electricity-demand-notice.md",
    "examples/reactor-concentration/README.md": "examples/reactor-concentration.md",
    "examples/pump-anomaly/README.md": "examples/pump-anomaly.md",
    "examples/uart-forecast/README.md": "examples/uart-forecast.md",
    "benchmarks/machine_temperature/README.md": "machine-temperature.md",
    "README.md": "index.md",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/."""
    for source, page in PAGES.items():
        if source != "README.md":
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """``markdown`` with each relative link made one of the site. Raises PluginError where it leaves the site."""
    at: str = page.file.src_uri
    source = next((file for file, name in PAGES.items() if name == at and at != "index.md"), f"docs/{at}")

    def linked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        to = PAGES.get(target, target.removeprefix("docs/"))
        if target not in PAGES and not target.startswith("docs/"):
            raise PluginError(f"{source}: {match[1]} is no page of the site; write it as `{target}`")
        return posixpath.relpath(to, posixpath.dirname(at) or ".")

    markdown = markdown.replace("<!-- commands -->", "\n\n".join(map(command_help, cli.commands.values())))
    parts = FENCE.split(markdown)  # every second one is a fence
    return "".join(part if n % 2 else LINK.sub(linked, part) for n, part in enumerate(parts))


def command_help(command: click.Command) -> str:
    """A section on ``command``: its usage, what it does, and a table of its options, as --help has them."""
    context = click.Context(command, info_name=f"edge-tqs {command.name}")
    about = re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.cleandoc(command.help or ""))
    rows = [record for option in command.params if (record := option.get_help_record(context)) and record[1]]
    cells = (f"| `{names}` | {text.replace('|', chr(92) + '|')} |" for names, text in rows)
    usage = command.get_usage(context).removeprefix("Usage: ")
    return "\n".join([f"## {command.name}\n\n    {usage}\n\n{about}\n", "| option | |", "|---|---|", *cells])
