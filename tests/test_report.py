"""The schemas of report.json and validation.json, and the page drawn from them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import CLIPPED, browser, needs_browser

from edge_tqs.building import evaluate
from edge_tqs.cli.text import validation_summary
from edge_tqs.errors import UsageError
from edge_tqs.report.build_report import BuildReport, ByteReport, ImageReport, ModelInfo, TensorReport
from edge_tqs.report.choice_report import CandidateReport, ChoiceReport
from edge_tqs.report.drift import Drift, measure_drift
from edge_tqs.report.figures import FigureRow, Figures
from edge_tqs.report.files import write_report
from edge_tqs.report.format import FORMAT
from edge_tqs.report.host_report import (
    Causes,
    Curves,
    DivergenceCurves,
    ExampleRollout,
    HostReport,
    NarrowedRange,
    Narrowing,
    OutputDistance,
    Sanity,
    TruthCurves,
    Variants,
    VariantsAndFloat,
)
from edge_tqs.report.modelled_time import ModelledTime, OperatorShare
from edge_tqs.report.page import page as whole_page
from edge_tqs.report.plot import Bar, Line, bar_plot, line_plot
from edge_tqs.report.validation_report import (
    DeviceCurves,
    FirstDivergence,
    Latency,
    MemoryReport,
    OperatorDivergence,
    OperatorTime,
    ValidationReport,
)

HORIZON = 24
MODELLED = ModelledTime(
    3.125, 78125, 50771, 25_000_000, 0.15, 1, "a manual", (OperatorShare("gru<1>", "mul", 50000, 75000),)
)


def page(*reports: Any) -> str:
    """The page without what its cells are drawn by."""
    return re.sub("<td[^>]*>", "<td>", whole_page(*reports))


def ramp(slope: float) -> tuple[float, ...]:
    return tuple(slope * (step + 1) for step in range(HORIZON))


def wave(size: float) -> tuple[float, ...]:
    return tuple(80 + size * math.sin(step / 4) for step in range(HORIZON))


def build_report(**changes) -> BuildReport:
    made = BuildReport(
        model=ModelInfo("pump", "ab" * 32, 12, 1, ("temperature",), "windowed", 4321),
        board="qemu-mps2-an386",
        tensors=(
            TensorReport("lstm/kernel", (1, 96), 4, 2736, 3.1e-6),
            TensorReport("lstm/recurrent_kernel", (24, 96), 8, 4992, 8.4e-4),
            TensorReport("dense/kernel", (24, 1), 8, 52, 2.7e-2),
        ),
        bytes=ByteReport(9696, 7876, 6678, 7780, 8000, 11232),
        host=HostReport(
            rollouts=8,
            horizon=HORIZON,
            float_vs_keras_max_abs=3.6e-7,
            divergence=Variants(0.05, 0.61, 0.06),
            causes=Causes(Variants(0.02, 0.6, 0.04), Variants(0.045, 0.1, 0.046)),
            ranges=Narrowing((NarrowedRange("lstm/fc", 0.6), NarrowedRange("lstm_c", 0.5)), 7, 0.754),
            tflm_bit_exact=True,
            litert_rmse=0.0123,
            mse_vs_truth=VariantsAndFloat(0.81, 0.82, 1.4, 0.83),
            sanity=Sanity((OutputDistance("temperature", 0.06, 0.9),), 0.0, 0.001),
            curves=Curves(
                DivergenceCurves(ramp(0.002), ramp(0.02), ramp(0.0025)),
                TruthCurves(ramp(0.05), ramp(0.051), ramp(0.09), ramp(0.052)),
                ExampleRollout(
                    "temperature", "physical", wave(3)[:12], wave(4), wave(4.2), wave(8), wave(4.4), wave(5)
                ),
            ),
        ),
        choice=ChoiceReport(
            asked=False,
            measured="truth",
            tolerance=0.02,
            windows=64,
            why="",
            chosen=CandidateReport("int8", 3, 0, "", 0.012, 11232, 7876, 900, True),
            others=(CandidateReport("int8", 3, 1, "--budget 7777", None, 9000, 6000, 900, False),),
        ),
        image=ImageReport(9000, 11000, 16, 1800, 8192, 300, ("Reset_Handler", "main"), 104, "tqs_fc_s8_dsp"),
    )
    return dataclasses.replace(made, **changes)


def validation_report(**changes) -> ValidationReport:
    made = ValidationReport(
        board="qemu-mps2-an386",
        port="/dev/pts/3",
        engine="c",
        passed=True,
        model_hash="ab" * 32,
        rollouts=8,
        horizon=HORIZON,
        steps=8 * HORIZON,
        bit_exact=True,
        first_divergence=None,
        rmse_vs_float=0.06,
        mse_vs_truth=0.83,
        latency=Latency("systick", "ticks", 25_000_000, 81_234.0, 81_240.0, 81_260.0, 50_771.0),
        memory=MemoryReport(20016, 1816, 912),
        curves=DeviceCurves(ramp(0.0025), ramp(0.052), wave(4.4)),
    )
    return dataclasses.replace(made, **changes)


DRIFT = Drift(ramp(0.01)[:10], (0.0,) * 5 + (-0.25,) * 5, 1e-3, (0.0,) * 9 + (0.5,), (800.0,) * 9 + (850.0,))
PROBED = FirstDivergence(2, 17, 0, -5, -6, OperatorDivergence(3, "mul", "gru<1>/kept", 15, -9, -8, 1, 16))
OPERATORS = (
    OperatorTime("gru<1>/zx", "fully_connected", 3000, 1875),
    OperatorTime("gru<1>/kept", "mul", 1000, 625),
)


class Outline(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    VOID = frozenset({"meta", "br", "rect", "line", "path", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


# --- schema ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [build_report(), build_report(image=None, warnings=("a", "b"), data=("c",))])
def test_report_json_round_trips(made):
    assert BuildReport.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "made",
    [
        validation_report(),
        validation_report(bit_exact=False, first_divergence=FirstDivergence(2, 17, None, 1, 2)),
        validation_report(drift=DRIFT),
        validation_report(mse_vs_truth=None, curves=DeviceCurves(ramp(1.0))),
        validation_report(bit_exact=False, first_divergence=PROBED, diagnosis="rounding", operators=OPERATORS),
    ],
)
def test_validation_json_round_trips(made):
    assert ValidationReport.from_json(made.to_json()) == made


def test_the_keys_that_others_rely_on():
    body = json.loads(build_report().to_json())
    wanted = "model board tensors bytes host image warnings data choice modelled format"
    assert set(wanted.split()) == set(body)
    assert set(body["tensors"][0]) == {"name", "shape", "width", "bytes", "tqs", "scales"}
    assert set(body["bytes"]) == {"float32", "int8", "int4", "mixed", "budget", "tflite"}
    assert {"float_vs_keras_max_abs", "divergence", "tflm_bit_exact", "litert_rmse", "mse_vs_truth"} < set(body["host"])
    assert set(body["host"]["divergence"]) == {"int8", "int4", "mixed"}
    assert set(body["host"]["mse_vs_truth"]) == {"float", "int8", "int4", "mixed"}
    stack = {"stack", "stack_bound", "stack_path", "largest_frame", "largest_frame_function"}
    assert set(body["image"]) == {"text", "rodata", "data", "bss", *stack}
    body = json.loads(validation_report().to_json())
    wanted = "board port model_hash rollouts horizon steps bit_exact first_divergence rmse_vs_float mse_vs_truth"
    assert {*wanted.split(), "latency", "memory"} < set(body)
    assert {"counter", "unit", "mean", "p50", "p95", "p99", "max", "evaluation"} < set(body["latency"])
    assert set(body["memory"]) == {"flash", "ram", "stack_peak"}


def test_figures_that_are_not_finite_become_null():
    made = validation_report(rmse_vs_float=math.inf, mse_vs_truth=math.nan)
    body = json.loads(made.to_json())
    assert (body["rmse_vs_float"], body["mse_vs_truth"]) == (None, None)


def changed(change) -> str:
    body = json.loads(build_report().to_json())
    change(body)
    return json.dumps(body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "report.json"),
        ("[]", "must be a table"),
        (changed(lambda b: b.update(format=8)), "its format is 8"),
        (changed(lambda b: b.update(extra=1)), "unknown key 'extra'"),
        (changed(lambda b: b["host"].pop("horizon")), "the key 'host.horizon' is missing"),
        (changed(lambda b: b["bytes"].update(mixed="7")), "'bytes.mixed' must be an integer, not '7'"),
        (changed(lambda b: b["bytes"].update(mixed=True)), "'bytes.mixed' must be an integer, not True"),
        (changed(lambda b: b["bytes"].update(mixed=None)), "'bytes.mixed' must be an integer, not None"),
        (changed(lambda b: b["tensors"][1].update(shape=3)), r"'tensors\[1\] \(\S+\)\.shape' must be a list, not 3"),
        (
            changed(lambda b: b["model"].update(recurrence="x")),
            "'model.recurrence' must be one of none, windowed",
        ),
    ],
)
def test_a_report_of_another_version_is_refused(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        BuildReport.from_json(text)
    assert "edge-tqs build" in caught.value.hint


# --- page -----------------------------------------------------------------------------------------------------------


def test_write_report_with_and_without_a_validation(tmp_path):
    (tmp_path / "report.json").write_text(build_report().to_json())
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert "Not validated" in path.read_text(encoding="utf-8")
    (tmp_path / "validation.json").write_text(validation_report().to_json())
    write_report(tmp_path)
    first = path.read_bytes()
    assert "Bit-exact on qemu-mps2-an386: all 192 steps" in first.decode()
    write_report(tmp_path)
    assert path.read_bytes() == first


def test_write_report_needs_a_build(tmp_path):
    with pytest.raises(UsageError, match=r"holds no report\.json"):
        write_report(tmp_path)
    (tmp_path / "report.json").write_text(build_report().to_json())
    (tmp_path / "validation.json").write_text("{}")
    with pytest.raises(UsageError, match=r"validation\.json"):
        write_report(tmp_path)


def test_the_page_is_whole_and_stands_alone():
    text = page(build_report(), validation_report())
    seen = outline(text)
    assert seen.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "url(" not in text
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("svg") == 4
    assert seen.tags.count("details") == 4
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_page_tells_the_choice_and_its_neighbours():
    text = page(build_report(), None)
    assert "Int8 activations, all weights int8: +1.2% of float&#x27;s MSE, within 2 % (64 training windows)." in text
    assert "<td>int8 activations, 2 of 3 weights int8, the others int4</td><td>it runs away</td>" in text
    assert "What was chosen" not in page(build_report(choice=None), None)


def test_every_plot_is_named_and_well_formed():
    for svg in re.findall(r"<svg.*?</svg>", page(build_report(), validation_report()), re.DOTALL):
        root = ElementTree.fromstring(svg)
        space = "{http://www.w3.org/2000/svg}"
        ids = {child.get("id"): child.text for child in root if child.tag in (f"{space}title", f"{space}desc")}
        assert root.get("role") == "img"
        assert all(ids[name] for name in root.get("aria-labelledby").split())
        assert "nan" not in svg


def test_the_page_tells_a_failure():
    first = FirstDivergence(2, 17, 0, -5, -6)
    text = page(build_report(), validation_report(bit_exact=False, passed=False, first_divergence=first))
    assert "differs from the host" in text
    assert "rollout 2, step 17, channel 0: expected <code>-5</code>, got <code>-6</code>" in text
    runtime = page(build_report(), validation_report(bit_exact=False, engine="litert", first_divergence=first))
    assert "within the tolerance of its runtime (litert)" in runtime


def test_the_page_tells_the_operator_and_the_times_of_a_probe_build():
    first = {"first_divergence": PROBED, "diagnosis": "rounding, it seems <so>"}
    text = page(build_report(), validation_report(bit_exact=False, passed=False, operators=OPERATORS, **first))
    outline(text)
    assert "evaluation 3 of that step: mul <code>gru&lt;1&gt;/kept</code>, channel 15: expected <code>-9</code>" in text
    assert "1 of 16 codes differ" in text
    assert "Likely: rounding, it seems &lt;so&gt;." in text
    assert re.search(r"gru&lt;1&gt;/zx</th><td>fully_connected</td><td>3,000</td><td>75 %</td><td>1,875</td>", text)
    plain = page(build_report(), validation_report())
    assert "Likely" not in plain
    assert "the telling of it included" not in plain


def test_a_long_run_tells_its_drift(tmp_path):
    run = validation_report(drift=DRIFT)
    text = page(build_report(), run)
    outline(text)
    assert re.search(r"10</th><td>0\.\d+</td><td>-0\.25</td><td>0\.5</td><td>850</td>", text)
    assert "changes by 0.001 a step" in text
    said = next(line for line in validation_summary(run, tmp_path).splitlines() if line.startswith("drift "))
    assert said.endswith("(0.001 a step), its bias 0 to -0.25; a step 800 to 850 ticks")
    assert "drift" not in validation_summary(validation_report(), tmp_path)
    assert "tenth of the steps" not in page(build_report(), validation_report())


def test_drift_is_the_growth_of_an_error_over_the_tenths_of_a_run():
    rollouts, horizon, channels = 3, 205, 2  # no multiple of ten
    steps = np.arange(horizon)
    floats = np.sin(steps / 9)[None, :, None] * np.ones((rollouts, 1, channels))
    outputs = floats - 0.004 * steps[None, :, None] - 0.1
    ticks = np.broadcast_to(1000 + steps // 2, (rollouts, horizon)).astype(np.uint32)
    drift = measure_drift(outputs, floats, outputs, ticks)
    assert drift is not None
    assert drift.slope == pytest.approx(0.004, rel=1e-2)  # an RMSE over a slope is a little above its middle
    assert drift.bias_vs_float[0] == pytest.approx(-0.1 - 0.004 * 10)
    assert drift.bias_vs_float[-1] == pytest.approx(-0.1 - 0.004 * 194.5)
    assert drift.rmse_vs_float[-1] == pytest.approx(0.1 + 0.004 * 194.5, rel=1e-3)
    assert drift.rmse_vs_host == (0.0,) * 10
    assert (drift.ticks[0], drift.ticks[-1]) == (1005, 1097)
    other = outputs.copy()
    other[:, -1] += 2
    assert measure_drift(outputs, floats, other, ticks).rmse_vs_host == (*(0.0,) * 9, pytest.approx(2 / 20**0.5))
    short = measure_drift(outputs[:, :99], floats[:, :99], outputs[:, :99], ticks[:, :99])
    assert short is None


def test_a_board_that_ran_other_rollouts_than_the_host_says_so():
    assert "on the board, 3 rollouts" in page(build_report(), validation_report(rollouts=3))
    assert "on the board, " not in page(build_report(), validation_report())


def test_names_are_escaped():
    made = build_report(
        model=ModelInfo("<b>&\"'", "0", 1, 1, ("<i>",), "none", 1),
        board="<script>",
        tensors=(TensorReport("<x>", (1,), 8, 1, None),),
        warnings=("<w>",),
        data=("<d>",),
    )
    text = page(made, validation_report(port="<port>", board="<board>"))
    outline(text)
    assert not re.search(r"<(b|i|x|w|d|port|board|script)>", text)


def test_a_report_with_nothing_to_draw_is_drawn():
    nothing = (None,) * HORIZON
    made = build_report(
        image=None,
        host=HostReport(
            rollouts=1,
            horizon=HORIZON,
            float_vs_keras_max_abs=None,
            divergence=Variants(None, None, None),
            tflm_bit_exact=None,
            litert_rmse=None,
            mse_vs_truth=None,
            curves=Curves(DivergenceCurves(nothing, nothing, nothing), None, None),
            sanity=Sanity((), None, None),
        ),
    )
    seen = outline(page(made, None))
    assert seen.tags.count("svg") == 2


# --- plots ----------------------------------------------------------------------------------------------------------


def test_a_gap_breaks_the_line_and_marks_are_circles():
    lines = [Line("a", "int8", (1.0, None, 2.0, 3.0)), Line("b", "device", (1.0, 2.0, 3.0, 4.0), marks=2)]
    svg = line_plot(lines, ident="p", title="t", description="d", x_label="x", y_label="y")
    (path,) = re.findall(r'<path d="([^"]*)"', svg)
    assert path.count("M") == 2
    assert svg.count("<circle") == 1 + 2


def test_curves_far_apart_get_a_logarithmic_axis():
    near = [Line("a", "int8", (1.0, 2.0)), Line("b", "int4", (1.0, 3.0))]
    far = [Line("a", "int8", (0.01, 0.02)), Line("b", "int4", (1.0, 300.0))]
    words: dict[str, Any] = {"ident": "p", "title": "t", "description": "d", "x_label": "x", "y_label": "y"}
    assert ">100<" not in line_plot(near, from_zero=True, **words)
    assert ">100<" in line_plot(far, from_zero=True, **words)


@pytest.mark.parametrize("values", [(5.0,), (0.0, 0.0), (1e-12, 2e-12), (-3e9, 7e9), (2.0, 2.0)])
def test_any_range_has_an_axis(values):
    svg = line_plot([Line("a", "int8", values)], ident="p", title="t", description="d", x_label="x", y_label="y")
    ElementTree.fromstring(svg)
    coordinates = [float(number) for number in re.findall(r' [xy][12]?="([-0-9.]+)"', svg)]
    assert all(-1 <= number <= 1000 for number in coordinates)


def test_a_bar_without_a_score_or_far_below_the_others_has_its_label_alone():
    svg = bar_plot(
        [Bar("a", "int8", None, "8 bits"), Bar("b", "int4", 1e-14), Bar("c", "int4", 1e-4), Bar("d", "int8", 10.0)],
        ident="p",
        title="t",
        description="d",
        x_label="x",
        standalone=True,
    )
    ElementTree.fromstring(svg)
    assert svg.count("<rect") == 2 + 1  # two bars and the background
    assert all(f">{name}<" in svg for name in "abcd")
    assert "prefers-color-scheme" in svg


# --- docs and README's picture --------------------------------------------------------------------------------------


def documented(section: str) -> str:
    text = (Path(__file__).parent.parent / "docs" / "report.md").read_text(encoding="utf-8")
    return text.split(f"## {section}")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("section", "made"), [("report.json", build_report()), ("validation.json", validation_report(drift=DRIFT))]
)
def test_every_key_is_documented(section, made):
    def names(value) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for item in value.values() for name in names(item)}
        return {name for item in value for name in names(item)} if isinstance(value, list) else set()

    text = documented(section)
    words = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`]*)`", text))))
    assert names(json.loads(made.to_json())) <= words
    assert f"format {FORMAT}" in text


def test_the_readme_picture_is_drawn_from_a_validated_build(tmp_path):
    """What was measured, the season again, float, and what the board sent; refused where one of them is missing."""
    draw = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "picture.py"))["main"]
    row = FigureRow("temperature", None, None, "rmse", "data", 1.25, 1.3, 4.0, 1.5, 1.4, 1.6, 6.5, 2.75)
    figures = Figures(64, HORIZON, 12, (row, dataclasses.replace(row, lead=1)), (), 0.2)
    host = dataclasses.replace(build_report().host, figures=figures)
    (tmp_path / "report.json").write_text(build_report(host=host).to_json())
    (tmp_path / "validation.json").write_text(validation_report().to_json())
    draw(str(tmp_path), str(tmp_path / "a.svg"))
    draw(str(tmp_path), str(tmp_path / "b.svg"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    words = {text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    sizes = build_report().bytes
    kinds = {"measured", "12 samples before", f"float, {sizes.float32:,} B", f"on the board, {sizes.mixed:,} B"}
    assert kinds | {"temperature"} <= words
    described = drawn.findtext("{http://www.w3.org/2000/svg}desc")
    assert (
        described
        == "RMSE over 64 of these: float 1.25, the build 1.5, the values of 12 samples before 2.75, the last one 6.5."
    )
    measured, naive, _ = (
        [float(y) for y in re.findall(r"[ML]\S+ ([\d.]+)", path.attrib["d"])]
        for path in drawn.iter("{http://www.w3.org/2000/svg}path")
    )
    assert naive == 2 * measured[:12], "the season of 12 samples comes twice within the 24 steps"
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == HORIZON + 1  # one of the legend
    for changes in ({"season": None}, {"season": 13}):
        host = dataclasses.replace(host, figures=dataclasses.replace(figures, **changes))
        (tmp_path / "report.json").write_text(build_report(host=host).to_json())
        with pytest.raises(SystemExit, match="the picture needs"):
            draw(str(tmp_path), str(tmp_path / "a.svg"))


def test_a_long_run_is_drawn_over_blocks_of_steps():
    """A curve of 3 values over 10 steps each, the last over fewer, beside the host's of 24 steps."""
    a, b = np.zeros((2, 24, 1)), np.arange(24.0)[None, :, None].repeat(2, axis=0)
    blocks = evaluate.mse_by_step(a, b, 10)
    by_step = np.arange(24.0) ** 2
    assert blocks == pytest.approx((by_step[:10].mean(), by_step[10:20].mean(), by_step[20:].mean()))
    assert evaluate.rmse_by_step(a, b, 10) == pytest.approx(np.sqrt(blocks))
    curves = DeviceCurves((0.111, 0.222, 0.333), None, None, 10)
    text = page(build_report(), validation_report(curves=curves))
    assert "on the board, over 10 steps each" in text
    rows = dict(re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', text.split('id="divergence')[-1]))
    assert "0.111" in rows["10"]
    assert "0.333" in rows["30"]
    assert "0.222" not in "".join(rows.values())  # the table has each eighth value, the first and the last


def test_a_modelled_time_is_said_to_be_modelled():
    build = build_report(modelled=MODELLED)
    assert BuildReport.from_json(build.to_json()) == build
    assert MODELLED.words == "modelled: 3.12 ms a step at 25 MHz, \N{PLUS-MINUS SIGN}15 %"
    several = dataclasses.replace(MODELLED, steps=24).words
    assert several.startswith("modelled: 3.12 ms an evaluation, once for 24 steps at 25 MHz")
    html = page(build, None)
    assert "Modelled, not measured" in html
    assert "gru&lt;1&gt;</th><td>mul</td><td>50,000</td><td>75,000</td><td>3</td><td>96 %</td>" in html
    assert "odelled" not in page(build_report(), None)


@needs_browser
def test_nothing_of_the_page_is_cut_off_on_screens_and_paper(tmp_path):
    """In Chromium, all details opened; a chain of calls that is longer than any screen among the figures."""
    chain = tuple(f"tqs_function_number_{n}" for n in range(30))
    build = build_report()
    build = dataclasses.replace(build, image=dataclasses.replace(build.image, stack_bound=500, stack_path=chain))
    (tmp_path / "report.html").write_text(whole_page(build, validation_report()), encoding="utf-8")
    with browser() as window:
        window.open(f"file://{tmp_path / 'report.html'}")
        window.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        for width in (1280, 390):
            window.size(width)
            assert window.run(CLIPPED) == []
        height = "one => one.getBoundingClientRect().height"  # of the letters of plots, on a phone
        assert window.run(f"return Math.min(...[...document.querySelectorAll('svg text')].map({height}))") >= 8
        window.size(700)
        window.printing()
        assert window.run(CLIPPED) == []
        assert window.errors() == []
