"""What every kind of export is made of: the model's sources by name, by family of cores, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_tqs import __version__
from edge_tqs.emit_c.dense_kernels import PORTABLE, family
from edge_tqs.emit_c.emit import emit
from edge_tqs.emit_c.text import plain, wrap
from edge_tqs.exporting.prefix import named, prefixed
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization.simulate import encode, integer_rollout
from edge_tqs.templates import fill, template_root

#: A core of each family of kernels, as boards name them, and what a compiler for it defines.
CORES = {
    PORTABLE: "portable",
    "v6m": "cortex-m0plus",
    "v7m": "cortex-m3",
    "dsp": "cortex-m4",
    "mve": "cortex-m55",
    "neon": "cortex-a72",
}
#: Steps that the self-test forecasts.
SELF_TEST_STEPS = 10
_CORE = ("tqs_graph.h", "tqs_model.c", "tqs_model.h", "tqs_model_float.c")
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Network:
    """What is exported. graph: integer; seeds: windows in the model's units, as rollouts take them; core: as boards
    name it. helpers: sources of what comes beside the model (helpers.py), by file name."""

    graph: Graph
    seeds: Array
    name: str
    model_hash: str
    core: str
    helpers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """Sources with their names prefixed.

    common: texts by file name, alike on every core. families: likewise what depends on the core: the network, its
    constants and its kernels, by family. own: the family of the build's board. about: lines that say what the model
    is. header_lines, readme: the same as a comment of C and as Markdown. self_test: whether there is one. activations:
    of the graph. headers: what an application may include beside the model's.
    """

    prefix: str
    title: str
    model_hash: str
    common: Mapping[str, str]
    families: Mapping[str, Mapping[str, str]]
    own: str
    about: tuple[str, ...]
    licence: str
    self_test: bool
    activations: str
    headers: tuple[str, ...]

    def of(self, family: str) -> dict[str, str]:
        """All sources for one family, by file name."""
        return {**self.common, **self.families[family]}

    def filled(self, template: str, **values: str) -> str:
        """A template of firmware_templates/export with the names of the prefix; PREFIX and UPPER are known to it."""
        text = (template_root() / "export" / template).read_text(encoding="utf-8")
        known = {
            "PACKAGE_INIT": "@PACKAGE_INIT@",  # CMake's own
            "PREFIX": self.prefix,
            "UPPER": self.prefix.upper(),
            "TITLE": self.title,
            "VERSION": __version__,
        }
        wanted = {key: value for key, value in (known | values).items() if f"@{key}@" in text}
        return fill(text, wanted)

    @property
    def readme(self) -> str:
        beside = [f"Beside it: {', '.join(f'`{header}`' for header in self.headers)}"] if self.headers else []
        return "\n".join(f"- {line}" for line in (*self.about, *beside))


def parts_of(network: Network, prefix: str, families: Sequence[str] | None, *, self_test: bool) -> Parts:
    """The parts of a model. families: None for that of its core. Raises ModelError as `emit` does."""
    graph, digest, root = network.graph, network.model_hash, template_root()
    name, own = network.name, family(network.core)
    common = {file: (root / "core" / file).read_text(encoding="utf-8") for file in _CORE}
    if self_test:
        common |= _self_test(graph, network.seeds)
    common |= network.helpers
    made = {}
    for one in families or (own,):
        emitted = emit(graph, digest, name, CORES[one])
        texts = {Path(file).name: (root / file).read_text(encoding="utf-8") for file in emitted.kernels}
        headers = _headers(root, [*emitted.files.values(), *texts.values()])
        made[one] = _renamed({**emitted.files, **texts, **headers}, prefix)
    licence = (root / "export" / "LICENSE").read_text(encoding="utf-8")
    about = _about(network)
    beside = [*(["tqs_selftest.h"] if self_test else []), *sorted(one for one in network.helpers if one.endswith(".h"))]
    return Parts(
        prefix=prefix,
        title=plain(name),
        model_hash=digest,
        common=_renamed(common, prefix),
        families=made,
        own=own,
        about=about,
        licence=licence,
        self_test=self_test,
        activations=graph.activations,
        headers=tuple(named(header, prefix) for header in beside),
    )


def _renamed(texts: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {named(name, prefix): prefixed(text, prefix) for name, text in sorted(texts.items())}


def _headers(root: Path, texts: Iterable[str]) -> dict[str, str]:
    """The headers of the kernels that ``texts`` include, and those that these include."""
    found: dict[str, str] = {}
    pending = list(texts)
    while pending:
        for name in _INCLUDE.findall(pending.pop()):
            places = [root / "kernels" / name, root / "kernels" / "arm" / name]
            place = next((path for path in places if path.is_file()), None)
            if place is not None and name not in found:
                found[name] = place.read_text(encoding="utf-8")
                pending.append(found[name])
    return found


def _self_test(graph: Graph, seeds: Array) -> dict[str, str]:
    forecast = graph.forecast
    codes = encode(graph, seeds[:1, : forecast.seed_length(SELF_TEST_STEPS)])
    steps = min(SELF_TEST_STEPS, codes.shape[1] - forecast.window) if forecast.exogenous else SELF_TEST_STEPS
    expected = integer_rollout(graph, codes[:, : forecast.seed_length(steps)], steps).outputs[0]
    known = codes[0, forecast.window : forecast.window + steps][:, list(forecast.exogenous)]
    values = {
        "SEED": wrap(map(str, codes[0, : forecast.window].ravel())),
        "KNOWN": wrap(map(str, known.ravel())) or "    0",
        "EXPECTED": wrap(map(str, expected.ravel())),
    }
    root = template_root() / "export"
    return {
        "tqs_selftest.h": fill((root / "selftest.h.in").read_text(encoding="utf-8"), {"STEPS": str(steps)}),
        "tqs_selftest.c": fill((root / "selftest.c.in").read_text(encoding="utf-8"), values),
    }


def _about(network: Network) -> tuple[str, ...]:
    graph, forecast = network.graph, network.graph.forecast
    columns = ", ".join(forecast.columns) or "not named"
    own = forecast.scaling is None and forecast.output_scaling is None
    scaled = "the units that the model was trained in" if own else "physical units"
    return (
        f"Model: {plain(network.name)}, {graph.activations} activations",
        f"Model hash: {network.model_hash}",
        f"A sample: {forecast.channels} values in {scaled}: {plain(columns)}",
        f"Window: {forecast.window} samples, one a period of the data that it was built with",
        f"A forecast: {plain(', '.join(forecast.output_names))}",
        f"Made by edge-tqs {__version__}; Apache-2.0",
    )
