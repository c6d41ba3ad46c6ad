"""The options of a command over the project file of the folder that it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_tqs.api.request import model_request
from edge_tqs.building.request import ModelRequest
from edge_tqs.errors import UsageError
from edge_tqs.project.file import FILE, Project, ValidateSettings, load_project
from edge_tqs.project.series import AS_FOUND


def find_project(folder: Path, model: Path | None = None) -> Project | None:
    """The project in ``folder``, if any; None for a ``model`` that is not its own: its settings belong to its model."""
    if not (folder / FILE).is_file():
        return None
    project = load_project(folder / FILE)
    return None if model is not None and model.resolve() != project.model.resolve() else project


def asked_model(model: Path | None, settings: dict[str, Any]) -> ModelRequest:
    """What a command is to read and score. Raises UsageError as `model_request`."""
    return model_request(model, find_project(Path.cwd(), model), **settings)


def asked_validation(build: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The keywords of `validate`; the project's [validate] counts for builds inside its folder."""
    project = find_project(Path.cwd())
    inside = project is not None and build.resolve().is_relative_to(project.path.resolve().parent)
    said = project.validate if project is not None and inside else ValidateSettings()
    return settings | {
        "rollouts": settings["rollouts"] or said.rollouts,
        "horizon": settings["horizon"] or said.horizon,
        "max_rmse_vs_float": said.max_rmse_vs_float,
        "series_format": project.data.series_format if project is not None and inside and project.data else AS_FOUND,
    }


def asked_plan(settings: dict[str, Any]) -> dict[str, Any]:
    """The keywords of `plan`, from the command's options. Raises UsageError for a pin that cannot be read."""
    bits = settings.pop("bits")
    return settings | {"bits": None if bits is None else int(bits), "pins": dict(map(parse_pin, settings.pop("pin")))}


def parse_pin(text: str) -> tuple[str, int]:
    """``NAME=8`` as (name, width). Raises UsageError."""
    name, _, width = text.rpartition("=")
    if not name or width not in ("4", "8"):
        raise UsageError(
            f"--pin {text} is not a weight and a width", hint="Write --pin NAME=8 or NAME=4; `score` lists the names."
        )
    return name, int(width)
