"""The structs as c_structs reads them, against the compiler: size of each, offset and size of each field."""

from __future__ import annotations

import ctypes
from pathlib import Path

from c_library import compile_c, include_flags
from c_structs import structs

from edge_tqs.templates import template_root


def test_the_structs_lie_as_the_compiler_lays_them(tmp_path: Path) -> None:
    known = structs()
    assert {"tqs_fc_t", "tqs_fc_s16_t", "tqs_taps_t", "tqs_pool_t", "tqs_softmax_s16_t"} <= set(known)
    wanted: list[int] = []
    figures: list[str] = []
    for name, layer in known.items():
        wanted.append(ctypes.sizeof(layer))
        figures.append(f"sizeof({name})")
        for field, *_ in layer._fields_:
            place = getattr(layer, field)
            wanted += [place.offset, place.size]
            figures += [f"offsetof({name}, {field})", f"sizeof((({name} *)0)->{field})"]
    headers = sorted(path.name for path in (template_root() / "kernels").glob("*.h"))
    source = tmp_path / "figures.c"
    source.write_text(
        "#include <stddef.h>\n"
        + "".join(f'#include "{header}"\n' for header in headers)
        + f"extern const size_t figures[];\nconst size_t figures[] = {{{', '.join(figures)}}};\n"
    )
    library = ctypes.CDLL(str(compile_c([source], tmp_path / "f.so", ["-shared", "-fPIC", *include_flags()])))
    assert list((ctypes.c_size_t * len(figures)).in_dll(library, "figures")) == wanted
