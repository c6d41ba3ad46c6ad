"""manifest.json: the SHA-256 of each file that a build consists of, by which a mixed or damaged one is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from edge_tqs.errors import UsageError

MANIFEST = "manifest.json"
#: Written after the build, by this program or by people.
_IMAGES = (".elf", ".hex", ".bin", ".uf2")
_NOT_OF_IT = {MANIFEST, "report.json", "report.html"}


def write_manifest(out: Path, image: Path, bundle: Path) -> None:
    """List what lies in ``out`` itself, the image in each of its forms and the bundle; these are relative to it."""
    files = [path for path in out.iterdir() if path.is_file() and path.name not in _NOT_OF_IT]
    files = [path for path in files if not path.name.startswith((".", "validation", "trace"))]
    files += [path for path in (out / bundle).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [path for path in (out / image.parent).glob(f"{image.stem}.*") if path.suffix in _IMAGES]
    listed = {path.relative_to(out).as_posix(): _digest(path) for path in sorted(files)}
    (out / MANIFEST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def check_manifest(out: Path) -> None:
    """Raise UsageError for a build of which a file is another one, or missing. An older build has no manifest."""
    try:
        text = (out / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{out / MANIFEST} cannot be read: {error}", hint=_AGAIN) from error
    try:
        listed = json.loads(text)
        names = {str(name): str(digest) for name, digest in listed.items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{out / MANIFEST} is damaged", hint=_AGAIN) from error
    for name, digest in names.items():
        path = out / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file() or _digest(path) != digest:
            raise UsageError(
                f"{path} is {'not what the build wrote' if path.is_file() else 'missing'}",
                hint=f"{_AGAIN} If you changed it on purpose, remove {MANIFEST}.",
            )


_AGAIN = "Run `edge-tqs build` again."


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
