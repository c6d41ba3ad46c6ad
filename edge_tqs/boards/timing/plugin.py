"""The plugin for QEMU that counts (firmware_templates/timing/plugin.c), compiled for this machine at first use."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from edge_tqs.errors import ToolError
from edge_tqs.templates import cache_root, template_root

EMULATOR = "qemu-system-arm"
SOURCE = "timing/plugin.c"
_COMPILERS = ("cc", "gcc", "clang")


@functools.cache
def plugin() -> Path:
    """The shared object. Raises ToolError where it cannot be made: no QEMU, no compiler of this machine."""
    emulator = shutil.which(EMULATOR)
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if emulator is None or compiler is None:
        missing, package = ("a C compiler of this machine", "gcc") if emulator else (EMULATOR, "qemu-system-arm")
        hint = f"Install it: `sudo apt install {package}`."
        raise ToolError(f"{missing} is missing: it counts instructions", hint=hint)
    source = template_root() / SOURCE
    flags = ["-shared", "-fPIC", "-O2", f"-DTQS_PLUGIN_VERSION={_version(emulator)}"]
    key = hashlib.sha256(source.read_bytes() + " ".join(flags).encode()).hexdigest()[:16]
    made = cache_root() / "timing" / f"plugin-{key}.so"
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            new = Path(folder) / made.name
            done = subprocess.run(
                [compiler, *flags, str(source), "-o", str(new)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                first = (done.stderr.strip().splitlines() or ["no message"])[0]
                raise ToolError(f"{compiler} does not compile {source.name}: {first}", hint="Install gcc.")
            os.replace(new, made)
    return made


def _version(emulator: str) -> int:
    """Of QEMU's interface: what plugin.c uses is in all of them, and a QEMU from 9 on takes none before 2."""
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)", said)
    return 2 if found is not None and int(found[1]) >= 9 else 1
