"""edge-tqs: quantise sensor forecasters by how their closed-loop rollouts react, and prove the result on the board.

    import edge_tqs

    model = edge_tqs.open_model("model.keras", data="measurements.csv")
    planned = edge_tqs.plan(model, budget="24KB")
    built = edge_tqs.build(planned, board="qemu-mps2-an386")
    assert edge_tqs.validate(built).passed

Each function is what the command of its name calls (docs/python.md). Nothing is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_tqs.errors import (
    CheckError,
    DeviceError,
    ModelError,
    StorageError,
    ToolError,
    TqsError,
    UsageError,
)

if TYPE_CHECKING:
    from edge_tqs.api.delivering import deploy, deploy_all, fleet
    from edge_tqs.api.pytorch import from_torch
    from edge_tqs.api.running import compare, export, flash, validate
    from edge_tqs.api.several import ModelOutcome, build_all
    from edge_tqs.api.steps import build, dry_run, open_model, plan, quantize, score
    from edge_tqs.boards.board import Board, list_boards, load_board
    from edge_tqs.boards.flash import FlashResult
    from edge_tqs.building.dry_run import Prediction
    from edge_tqs.building.folder.directory import BuildDir
    from edge_tqs.building.opened import Model
    from edge_tqs.building.planned import PlannedModel
    from edge_tqs.building.quantized import QuantizedModel
    from edge_tqs.building.scored import ScoredModel
    from edge_tqs.delivery.deploy import Deployed
    from edge_tqs.delivery.fleet import FleetOutcome
    from edge_tqs.delivery.heard import Gateway
    from edge_tqs.exporting import Exported
    from edge_tqs.graph.graph import Scaling
    from edge_tqs.planning.plan import Plan
    from edge_tqs.planning.score import Sensitivity
    from edge_tqs.report.board_runs import BoardRuns
    from edge_tqs.report.build_report import BuildReport
    from edge_tqs.report.validation_report import ValidationReport
    from edge_tqs.validation.compare import Comparison

__version__ = "0.2.0"
__all__ = [
    "Board",
    "BoardRuns",
    "BuildDir",
    "BuildReport",
    "CheckError",
    "Comparison",
    "Deployed",
    "DeviceError",
    "Exported",
    "FlashResult",
    "FleetOutcome",
    "Gateway",
    "Model",
    "ModelError",
    "ModelOutcome",
    "Plan",
    "PlannedModel",
    "Prediction",
    "QuantizedModel",
    "Scaling",
    "ScoredModel",
    "Sensitivity",
    "StorageError",
    "ToolError",
    "TqsError",
    "UsageError",
    "ValidationReport",
    "__version__",
    "build",
    "build_all",
    "compare",
    "deploy",
    "deploy_all",
    "dry_run",
    "export",
    "flash",
    "fleet",
    "from_torch",
    "list_boards",
    "load_board",
    "open_model",
    "plan",
    "quantize",
    "score",
    "validate",
]

#: Where each name of __all__ comes from that is imported when it is used.
_PLACES = {
    "api.delivering": ("deploy", "deploy_all", "fleet"),
    "api.pytorch": ("from_torch",),
    "api.running": ("compare", "export", "flash", "validate"),
    "api.several": ("ModelOutcome", "build_all"),
    "api.steps": ("build", "dry_run", "open_model", "plan", "quantize", "score"),
    "boards.board": ("Board", "list_boards", "load_board"),
    "boards.flash": ("FlashResult",),
    "building.folder.directory": ("BuildDir",),
    "building.dry_run": ("Prediction",),
    "building.opened": ("Model",),
    "building.planned": ("PlannedModel",),
    "building.quantized": ("QuantizedModel",),
    "building.scored": ("ScoredModel",),
    "delivery.deploy": ("Deployed",),
    "delivery.fleet": ("FleetOutcome",),
    "delivery.heard": ("Gateway",),
    "exporting": ("Exported",),
    "graph.graph": ("Scaling",),
    "planning.plan": ("Plan",),
    "planning.score": ("Sensitivity",),
    "report.board_runs": ("BoardRuns",),
    "report.build_report": ("BuildReport",),
    "report.validation_report": ("ValidationReport",),
    "validation.compare": ("Comparison",),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'edge_tqs' has no attribute {name!r}")
    value = getattr(import_module(f"edge_tqs.{_PLACE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
