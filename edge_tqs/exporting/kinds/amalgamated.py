"""`--as amalgamated`: one .c and one .h, for a build that takes a file more and no more."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge_tqs.exporting.guarded import refusal
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = None

_LOCAL = re.compile(r'^#include "([^"]+)"[^\n]*\n', re.MULTILINE)
_STATIC = re.compile(r"^static (?:inline )?(?:const )?(?:[a-z_0-9]+ )+\**([a-z_0-9]+)(?:\(|\[|;| =)", re.MULTILINE)
_TYPE = re.compile(r"^\} ([a-z_0-9]+);", re.MULTILINE)
_TAG = re.compile(r"^(?:typedef )?struct ([a-z_0-9]+) \{", re.MULTILINE)
_DEFINE = re.compile(r"^#define ([A-Za-z_][A-Za-z_0-9]*)", re.MULTILINE)


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    texts, p = parts.of(parts.own), parts.prefix
    entry = f"{p}_model.h"
    seen: set[str] = set()
    head = _expanded(entry, texts, seen)
    for header in parts.headers:
        head += "\n" + _expanded(header, texts, seen)
    body = [f'#include "{p}.h"\n', refusal(parts)]
    for name in sorted(name for name in texts if name.endswith(".c")):
        headers = [_expanded(included, texts, seen) for included in _LOCAL.findall(texts[name])]
        body += [*filter(None, headers), _apart(_LOCAL.sub("", texts[name]), name.removesuffix(".c"))]
    note = "\n".join(f" * {line}" for line in parts.about)
    return {
        f"{p}.h": f"/*\n{note}\n */\n{head}",
        f"{p}.c": "\n".join(body),
        "examples/main.c": parts.filled("main.c.in", SELFTEST=str(int(parts.self_test)))
        .replace(f'#include "{p}_model.h"', f'#include "{p}.h"')
        .replace(f'#include "{p}_selftest.h"\n', ""),
        "README.md": parts.filled("c.md.in", ABOUT=parts.readme, SOURCES=f"{p}.c", INCLUDE=".", CORE=parts.own),
    }


def _expanded(name: str, texts: Mapping[str, str], seen: set[str]) -> str:
    """A header with what it includes in its place, each once."""
    if name in seen:
        return ""
    seen.add(name)
    return _LOCAL.sub(lambda match: _expanded(match[1], texts, seen), texts[name])


def _apart(text: str, stem: str) -> str:
    """``text`` of a source whose own functions, types and macros are known in no other."""
    for name in {*_STATIC.findall(text), *_TYPE.findall(text), *_TAG.findall(text)}:
        text = re.sub(rf"\b{name}\b", f"{stem}_{name}", text)
    ends = "".join(f"#undef {name}\n" for name in sorted(set(_DEFINE.findall(text))))
    return f"{text}\n{ends}"
