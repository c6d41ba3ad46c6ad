"""A build as sources for the user's own firmware: one module a kind in `kinds`, named as `--as` names it with _ for -.

Such a module has ``files(parts) -> Mapping[str, str | bytes]``, contents by path, and ``FAMILIES``, the kernels that it
carries; None for those of the build's board. Adding one touches nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.errors import UsageError
from edge_tqs.exporting.helpers import helper_texts
from edge_tqs.exporting.parts import Network, Parts, parts_of
from edge_tqs.exporting.prefix import DEFAULT, check_prefix

#: --as -> its module
KINDS = {
    path.stem.replace("_", "-"): f"edge_tqs.exporting.kinds.{path.stem}"
    for path in sorted((Path(__file__).parent / "kinds").glob("[a-z]*.py"))
}
#: In the folder of an export: it may be written again.
MARK = "EDGE_TQS_EXPORT"


@dataclass(frozen=True)
class Exported:
    """What was written. files: paths in ``folder``, sorted. entry: the header that an application includes."""

    folder: Path
    kind: str
    prefix: str
    entry: str
    files: tuple[str, ...]
    model_hash: str


def export(
    build: BuildDir,
    kind: str,
    out: Path,
    *,
    prefix: str = DEFAULT,
    self_test: bool = True,
    helpers: Sequence[str] = (),
) -> Exported:
    """Write ``build`` as a ``kind`` into ``out``; an export that is there is replaced, any other folder is left alone.

    prefix: what every symbol, macro and file name begins with, so that several models link into one program.
    self_test: with the codes of a short forecast, by which a program tells that it computes the right thing.
    helpers: of HELPERS, what comes beside the model.

    Raises:
        UsageError: There is no such kind or helper, ``prefix`` is no name in C, or ``out`` holds something else or
            cannot be written. ModelError: no kernel runs the model on a core of the kind.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no export {kind}", hint=f"There is: {', '.join(KINDS)}.")
    check_prefix(prefix)
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        raise UsageError(f"{out} is there, and is no export", hint="Name a new folder, or an empty one.")
    beside = helper_texts(helpers, build.board, build.graph.forecast.columns, build.training.get("columns", {}))
    network = Network(build.graph, build.seeds, build.report.model.name, build.model_hash, build.board.core, beside)
    files = texts(network, kind, prefix, self_test=self_test)
    new = out.with_name(f"{out.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        for name, text in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        shutil.rmtree(out, ignore_errors=True)
        new.rename(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}", hint="Name another folder.") from error
    entry = f"{prefix}.h" if kind == "amalgamated" else f"{prefix}_model.h"
    return Exported(out, kind, prefix, entry, tuple(sorted(files)), build.model_hash)


def texts(network: Network, kind: str, prefix: str, *, self_test: bool) -> dict[str, str | bytes]:
    """The files of a kind of KINDS by path. Raises ModelError."""
    module = import_module(KINDS[kind])
    parts: Parts = parts_of(network, prefix, module.FAMILIES, self_test=self_test)
    made: Mapping[str, str | bytes] = module.files(parts)
    return {**made, "LICENSE": parts.licence, MARK: f"{kind} {prefix} {network.model_hash}\n"}
