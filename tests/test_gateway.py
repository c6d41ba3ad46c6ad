"""forecastd of a Linux bundle: it forecasts what the host's rollout gives, for the right times, or says what is
wrong."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import pytest
from forecastd.engines.compiled import Compiled
from forecastd.model import read_model
from gateways import HORIZON, bundle, config, graph_of, lines, moment, physical, run

from edge_tqs.building.gateway.facts import label
from edge_tqs.graph.graph import Array, Graph, Scaling
from edge_tqs.templates import template_root

KINDS = ("none", "none int16", "windowed", "stateful", "block", "direct", "reconstruction", "classes")


@pytest.fixture(scope="session")
def closed_loop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph, Array, Array]:
    """(bundle of a closed loop with facts of its training, graph, physical samples of seeds, codes of forecasts)."""
    graph, codes, rollout = graph_of("none")
    samples = physical(graph, codes)
    columns = {
        name: {
            "least": float(samples[..., n].min()),
            "greatest": float(samples[..., n].max()),
            "mean": 0.0,
            "std": 1.0,
            "longest": 2,
            "means": None,
        }
        for n, name in enumerate(gateways.COLUMNS)
    }
    facts = {"period": gateways.PERIOD, "rolling": 4, "columns": columns, "errors": []}
    return bundle(graph, tmp_path_factory.mktemp("gateway"), facts=facts), graph, samples, rollout.outputs


def codes_of(graph: Graph, values: Array) -> Array:
    """Codes of the outputs (..., outputs) that float32 values of a forecast stand for; each must be a code's."""
    forecast, quant = graph.forecast, graph.quant(graph.output)
    scaling = forecast.scaling_of_outputs()
    exact = (values - scaling.mean) / scaling.std / float(quant.scale[0])
    codes = np.round(exact)
    np.testing.assert_allclose(exact, codes, atol=2e-2)  # float32 beside steps of float32
    return codes + quant.zero_point


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_gives_the_codes_of_the_integer_reference(kind: str, tmp_path: Path) -> None:
    graph, codes, rollout = graph_of(kind)
    folder = bundle(graph, tmp_path)
    engine, window = Compiled(folder, read_model(folder)), graph.forecast.window
    samples = physical(graph, codes)
    for seed, expected in zip(samples, rollout.outputs, strict=True):
        engine.reset()
        for sample in seed[:window]:
            engine.push(sample)
        state = engine.snapshot()
        for step in range(HORIZON):
            if graph.forecast.driven:
                np.testing.assert_array_equal(codes_of(graph, np.array(engine.predict())), expected[step])
                if step + 1 < HORIZON:
                    engine.push(seed[window + step])
            elif step == 0:
                got = np.array(engine.forecast(HORIZON)).reshape(HORIZON, -1)
                np.testing.assert_array_equal(codes_of(graph, got), expected)
                assert engine.forecast(HORIZON) == tuple(got.reshape(-1))  # it changes nothing
        assert engine.restore(state)
        first = engine.predict() if graph.forecast.driven else engine.forecast(1)
        np.testing.assert_array_equal(codes_of(graph, np.array(first)).reshape(-1)[: expected.shape[1]], expected[0])
        assert not engine.restore(state[1:])
    if kind == "reconstruction":
        engine.restore(state)
        scale = float(graph.quant(graph.input).scale[0])
        off = codes[-1, :window].reshape(-1).astype(int) - rollout.outputs[-1, 0]
        assert engine.anomaly() == pytest.approx(float(np.mean((off * scale) ** 2)), rel=1e-6)


#: Loads the library as a program of the system does, whose calling convention need not be that of the library.
LOADER = """
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL) { puts(dlerror()); return 1; }
    void (*about)(uint32_t *) = (void (*)(uint32_t *))dlsym(library, "tqs_library_about");
    void (*reset)(void *) = (void (*)(void *))dlsym(library, "tqs_library_reset");
    void (*push)(void *, const float *) = (void (*)(void *, const float *))dlsym(library, "tqs_library_push");
    void (*forecast)(void *, uint32_t, const float *, float *) =
        (void (*)(void *, uint32_t, const float *, float *))dlsym(library, "tqs_library_forecast");
    uint32_t numbers[11];
    float sample[2], made[12];
    about(numbers);
    void *model = calloc(1, numbers[1]);
    reset(model);
    for (int i = 2; i + 1 < argc; i += 2) {
        sample[0] = strtof(argv[i], NULL); sample[1] = strtof(argv[i + 1], NULL);
        push(model, sample);
    }
    forecast(model, 6, NULL, made);
    for (int i = 0; i < 12; i++) printf("%.9g\\n", (double)made[i]);
    return argc > 40;
}
"""


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("board", "compiler", "emulator"),
    [
        ("rpi4", "aarch64-linux-gnu", "qemu-aarch64"),
        ("rpi2", "arm-linux-gnueabihf", "qemu-arm"),
        ("rpi-zero", "arm-linux-gnueabihf", "qemu-arm"),  # Raspberry Pi OS passes floats otherwise than the compiler
    ],
)
def test_a_boards_program_loads_the_boards_library(board: str, compiler: str, emulator: str, tmp_path: Path) -> None:
    graph, codes, rollout = graph_of("none")
    folder = bundle(graph, tmp_path, board)
    (tmp_path / "loader.c").write_text(LOADER)
    built = [f"{compiler}-gcc", "-o", f"{tmp_path}/loader", f"{tmp_path}/loader.c", "-ldl"]
    subprocess.run(built, check=True)
    samples = physical(graph, codes)[0, : graph.forecast.window].reshape(-1)
    command = [emulator, "-L", f"/usr/{compiler}", f"{tmp_path}/loader", f"{folder}/libforecaster.so"]
    done = subprocess.run([*command, *map(repr, samples.tolist())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    got = np.array(done.stdout.split(), float).reshape(HORIZON, -1)
    np.testing.assert_array_equal(codes_of(graph, got), rollout.outputs[0])


def test_lines_on_standard_input_become_forecasts_for_their_times(closed_loop: Any, tmp_path: Path) -> None:
    folder, graph, samples, expected = closed_loop
    window = graph.forecast.window
    series = np.concatenate([samples[0, :window], samples[1, :window]])
    code, reports, said = run(folder, "--config", config(tmp_path / "c.json"), text=lines(series))
    assert (code, said) == (0, "")
    assert [report["time"] for report in reports] == [moment(n) for n in range(10)]
    assert [report["window"] for report in reports] == [[min(n + 1, window), window] for n in range(10)]
    assert [report["forecast"] is not None for report in reports] == [n + 1 >= window for n in range(10)]
    for at, codes in ((window - 1, expected[0]), (2 * window - 1, expected[1])):
        values = reports[at]["forecast"]["values"]
        assert [row["for"] for row in values] == [moment(n) for n in range(at + 1, at + 1 + HORIZON)]
        # Output 1 becomes the flow, output 0 the load.
        got = np.array([[row["load"], row["flow"]] for row in values])
        np.testing.assert_array_equal(codes_of(graph, got), codes)
    assert reports[-1]["sample"] == dict(zip(("flow", "load"), series[-1].tolist(), strict=True))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (
            "direct",
            [(moment(4), ["price"]), (moment(5), ["load"]), (moment(6), ["load"])],
        ),
        ("reconstruction", []),
        ("classes", [(moment(4), ["off", "on", "broken"])]),
    ],
)
def test_what_is_not_fed_back(kind: str, found: list[Any], tmp_path: Path) -> None:
    graph, codes, rollout = graph_of(kind)
    folder = bundle(graph, tmp_path)
    text = lines(physical(graph, codes)[0, : graph.forecast.window])
    code, reports, said = run(folder, "--config", config(tmp_path / "c.json"), text=text)
    assert (code, said) == (0, "")
    forecast = reports[-1]["forecast"]
    assert [(row.pop("for"), list(row)) for row in forecast["values"]] == found
    first = rollout.outputs[0, 0]
    assert ("class" in forecast, "score" in forecast) == (kind == "classes", kind == "reconstruction")
    if kind == "classes":
        assert forecast["class"] == ("off", "on", "broken")[int(first.argmax())]


def test_a_growing_file_is_followed_and_a_file_that_takes_its_place(closed_loop: Any, tmp_path: Path) -> None:
    folder, _, samples, _ = closed_loop
    *head, last = lines(samples[0, :4]).splitlines(keepends=True)
    growing, out = tmp_path / "growing.csv", tmp_path / "out.jsonl"
    growing.write_text("".join(head) + last[:7])  # a line that is not whole yet
    source = {"kind": "csv", "path": str(growing), "follow": True}
    settings = config(tmp_path / "c.json", source=source, sinks=[{"kind": "jsonl", "path": str(out)}])
    command = [sys.executable, str(folder / "edge-tqs-forecastd"), "--config", str(settings)]

    def times(count: int) -> list[str]:
        while not out.exists() or len(out.read_text().splitlines()) < count:
            assert process.poll() is None
        return [json.loads(line)["time"][11:16] for line in out.read_text().splitlines()[:count]]

    # The wall clock is of a later year, which closes each sample at once and finds the later ones missing.
    with subprocess.Popen(command) as process:
        try:
            assert times(3) == ["00:00", "00:10", "00:20"]
        finally:
            process.terminate()
    assert process.wait(20) == 0


def test_a_file_is_replayed_to_its_end(closed_loop: Any, tmp_path: Path) -> None:
    folder, _, samples, _ = closed_loop
    (tmp_path / "all.csv").write_text(lines(samples[0, :4]).rstrip("\n"))  # the last line has no end
    full = [{"kind": "jsonl"}, {"kind": "jsonl", "path": "/dev/full"}]
    settings = config(tmp_path / "c.json", source={"kind": "csv", "path": str(tmp_path / "all.csv")}, sinks=full)
    code, reports, _ = run(folder, "--config", settings)
    assert (code, len(reports)) == (0, 4)
    assert [report["counters"]["jsonl lost"] for report in reports] == [0, 1, 2, 3]


def test_what_cannot_be_read_is_counted_and_states_are_published(closed_loop: Any, tmp_path: Path) -> None:
    folder, _, samples, _ = closed_loop
    garbage = ["2024-05-01T00:40:00Z,12,x", "nonsense", "2024-05-01T00:40:00Z,1\r2,3", "\0" * 9, "x" * 200_000]
    text = "\n".join([lines(samples[0, :4]).rstrip(), *garbage, "2024-05-01T00:40:00Z,999,-5", ""])
    _, reports, error = run(folder, "--config", config(tmp_path / "c.json"), text=text)
    assert reports[-1]["counters"]["unreadable"] == 5
    (told,) = error.splitlines()  # the first of them
    assert '"2024-05-01T00:40:00Z,12,x" is not read' in told
    assert reports[-1]["states"] == {"flow": "out of range", "load": "ok"}
    assert reports[-1]["problems"] == ["flow is out of range"]


def test_units_are_brought_to_those_of_training_and_columns_have_other_names(closed_loop: Any, tmp_path: Path) -> None:
    folder, _, samples, _ = closed_loop
    columns = {"flow": {"from": "Q", "scale": 2, "offset": 1}, "load": {}}
    text = lines(samples[0, :3]).replace("flow", "Q")
    _, reports, _ = run(folder, "--config", config(tmp_path / "c.json", columns=columns), text=text)
    assert [report["sample"]["flow"] for report in reports] == [2 * value + 1 for value in samples[0, :3, 0].tolist()]


def test_litert_computes_where_no_library_can_be_loaded(closed_loop: Any, tmp_path: Path) -> None:
    folder, graph, samples, _ = closed_loop
    other = bundle(graph, tmp_path, library=False)
    text, settings = lines(samples[0, : graph.forecast.window]), config(tmp_path / "c.json")
    by_library, by_litert = (run(one, "--config", settings, text=text)[1] for one in (folder, other))
    assert "LiteRT is" in by_litert[0]["notices"][0]
    assert by_library[0]["notices"] == []
    rows = [
        [[row["flow"], row["load"]] for row in reports[-1]["forecast"]["values"]] for reports in (by_library, by_litert)
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=0.5)  # some codes apart


def test_what_neither_has_is_said_of_both(closed_loop: Any, tmp_path: Path) -> None:
    """-S hides the packages of this Python: numpy, and the runtimes."""
    bundled, settings = bundle(closed_loop[1], tmp_path, library=False), config(tmp_path / "c.json")
    command = [sys.executable, "-S", "-B", str(bundled / "edge-tqs-forecastd"), "--config", str(settings)]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for said in ("libforecaster.so cannot be loaded", "LiteRT cannot compute in its place", "requirements.txt"):
        assert said in done.stderr


def test_it_starts_without_numpy_and_a_runtime(closed_loop: Any, tmp_path: Path) -> None:
    folder, _, samples, _ = closed_loop
    settings = config(tmp_path / "c.json")
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from forecastd.main import main\n"
        f"assert main(['--config', {str(settings)!r}]) == 0\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", code], input=lines(samples[0]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = ast.literal_eval(done.stdout.splitlines()[-1])
    assert [name for name in loaded if not name.startswith("_")] == ["forecastd"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"period": "1h"}, 'the model was trained at a period of 10min, not 1h: write "period": "10min"'),
        ({"period": None}, '"period" is missing: write "period": "30min"'),
        ({"period": "soon"}, '"period" is "soon", not a whole number with a unit'),
        ({"columns": {"flow": {}}}, 'columns: "load" is missing: write "load": {}'),
        ({"columns": {"flow": {}, "load": {"from": "flow"}}}, 'two columns are read from "flow"'),
        ({"columns": {"flow": {}, "load": {"unit": 3}}}, 'columns: "load": "unit" is 3, not some text: write "unit"'),
        ({"source": {"kind": "pigeon"}}, 'source: "kind" is "pigeon", there is "csv", '),
        ({"source": {"kind": "csv"}}, 'source: "path" is missing: write "path": "/home/pi/measurements.csv"'),
        (
            {"source": {"kind": "stdin", "live": "yes"}},
            'source: "live" is "yes", not true or false: write',
        ),
        ({"sinks": [{"kind": "jsonl", "to": "-"}]}, 'sinks, number 1: there is no "to"; there is "path"'),
        ({"sinks": []}, '"sinks" is [], not a list of tables'),
        ({"horizon": 0}, '"horizon" is 0, not a whole number from 1 to 10000: write "horizon": 24'),
        (
            {"fill": {"most": 3, "by": "magic"}},
            'fill: "by" is "magic", not one of "hold", "linear": write',
        ),
        ({"time_zone": "Mars"}, '"time_zone" is "Mars", not a zone that this machine knows'),
        ({"perod": 3}, 'there is no "perod"'),
    ],
)
def test_each_mistake_of_the_configuration_is_a_sentence(
    closed_loop: Any, tmp_path: Path, given: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecastd.main import main

    folder, settings = closed_loop[0], config(tmp_path / "c.json", **given)
    assert main(["--bundle", str(folder), "--config", str(settings), "--check"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-tqs-forecastd: c.json: ")
    assert sentence in line
    assert main(["--bundle", str(folder), "--config", str(config(tmp_path / "c.json")), "--check"]) == 0


def test_all_mistakes_are_said_at_once_and_a_file_that_is_no_json(
    closed_loop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecastd.main import main

    settings = config(tmp_path / "c.json", horizon=-1, sinks=[{"kind": "pipe"}], columns={"x": {}})
    assert main(["--bundle", str(closed_loop[0]), "--config", str(settings), "--check"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 5
    for text, said in (("{'a': 1}", "line 1"), ('{"a": 1, "a": 2}', "twice"), (None, "cannot be read")):
        settings.write_text(text) if text else settings.unlink()
        assert main(["--bundle", str(closed_loop[0]), "--config", str(settings), "--check"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,flow\n", 'has no column \'load\'; it has time, flow: write "load": {"from": "NAME"}'),
        ("when,flow,load\n", "no column 'time'"),
        ("time,flow,load\n2024-05-01T00:00,1,2\n", 'says no offset from UTC, and no "time_zone" is given: write'),
        ("time,flow,load\n1714521600,1,2\n", "is no time like"),
    ],
)
def test_times_and_columns_are_never_guessed(closed_loop: Any, tmp_path: Path, text: str, said: str) -> None:
    code, reports, error = run(closed_loop[0], "--config", config(tmp_path / "c.json"), text=text)
    assert (code, reports) == (2, [])
    (line,) = error.splitlines()
    assert said in line


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array, Array]:
    """(bundle, samples of all times, forecast): flow is fed back, load is known ahead."""
    from test_blocks_and_ahead import drawn, integer

    graph, codes, rollout = integer(drawn("none", 1, 1, (0, None)), "int8", HORIZON)
    scaling = Scaling((20.0, -5.0), (4.0, 0.5))
    graph = replace(graph, forecast=replace(graph.forecast, columns=gateways.COLUMNS, scaling=scaling))
    quant = graph.quant(graph.output)
    values = (rollout.outputs[0].astype(np.float64) - quant.zero_point) * float(quant.scale[0]) * 4 + 20
    return bundle(graph, tmp_path_factory.mktemp("ahead")), physical(graph, codes)[0], values


def known_file(path: Path, samples: Array, until: int | None = None) -> Path:
    rows = [f"{moment(n)},{row[1]!r}" for n, row in enumerate(samples.tolist())][:until]
    path.write_text("\n".join(["time,tariff", *rows]) + "\n")
    return path


def test_what_is_known_ahead_comes_from_a_file(ahead: Any, tmp_path: Path) -> None:
    folder, samples, values = ahead
    window = len(samples) - HORIZON
    columns: dict[str, Any] = {"flow": {}, "load": {"ahead": True, "from": "tariff"}}
    path = known_file(tmp_path / "known.csv", samples)
    settings = config(tmp_path / "c.json", columns=columns, ahead={"path": str(path)})
    lines = "time,flow\n" + "".join(f"{moment(n)},{float(samples[n, 0])!r}\n" for n in range(window))
    code, reports, error = run(folder, "--config", settings, text=lines)
    assert (code, error) == (0, "")
    assert [one["sample"]["load"] for one in reports] == pytest.approx(samples[:window, 1].tolist())
    made = [row["flow"] for row in reports[-1]["forecast"]["values"]]
    np.testing.assert_allclose(made, values[:, 0], rtol=1e-5)

    known_file(path, samples, window + 2)  # a forecast of six samples needs four more
    code, reports, _ = run(folder, "--config", settings, text=lines)
    assert (code, reports[-1]["forecast"]) == (0, None)
    assert reports[-1]["notices"] == [f"load of {moment(window + 2)} is not known: no forecast"]
    path.write_text("time,price\n")
    code, reports, _ = run(folder, "--config", settings, text=lines)
    assert (code, reports[-1]["sample"], reports[-1]["states"]["load"]) == (0, {}, "missing")
    assert "it has no column tariff" in reports[0]["notices"][0]


def test_what_is_known_ahead_is_what_a_clock_says(ahead: Any, tmp_path: Path) -> None:
    folder, samples, _ = ahead
    window = len(samples) - HORIZON
    columns: dict[str, Any] = {"flow": {}, "load": {"clock": "hour and minutes"}}
    lines = "time,flow\n" + "".join(f"{moment(n)},{float(samples[n, 0])!r}\n" for n in range(window))
    by_clock = config(tmp_path / "clock.json", columns=columns, time_zone="Asia/Kolkata")
    code, reports, error = run(folder, "--config", by_clock, text=lines)
    assert (code, error) == (0, "")
    hours = [(5.5 + n / 6) % 24 for n in range(len(samples))]
    assert [one["sample"]["load"] for one in reports] == pytest.approx(hours[:window])
    path = known_file(tmp_path / "known.csv", np.array([[0.0, hour] for hour in hours]))
    columns = {"flow": {}, "load": {"ahead": True, "from": "tariff"}}
    by_file = config(tmp_path / "file.json", columns=columns, ahead={"path": str(path)})
    assert run(folder, "--config", by_file, text=lines)[1][-1]["forecast"] == reports[-1]["forecast"]


def test_a_column_may_be_what_a_file_holds_later(tmp_path: Path) -> None:
    from forecastd.known import Table
    from forecastd.sources import Column

    period = 600 * 10**9
    path = known_file(tmp_path / "known.csv", np.arange(20.0).reshape(10, 2))
    table = Table(
        str(path), "time", None, None, period, (Column("price+3", "tariff+3"), Column("price", "tariff", 0.5, 1.0))
    )
    start = 1_714_521_600 * 10**9
    assert table.values(start + 2 * period) == {"price": 3.5, "price+3": 11.0}
    assert table.values(start + 8 * period) == {"price": 9.5}
    assert table.values(start + 1) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"columns": {"flow": {}, "load": {}}}, 'must be known at each time that is forecast: write "load": {"clock"'),
        ({"columns": {"flow": {}, "load": {"ahead": True}}}, 'write "ahead": {"path"'),
        ({"columns": {"flow": {}, "load": {"clock": "hour"}}}, 'write "time_zone"'),
        ({"columns": {"flow": {}, "load": {"clock": "noon"}}}, "one of"),
        ({"columns": {"flow": {}, "load": {"clock": "hour", "from": "x"}}, "time_zone": "UTC"}, "leave"),
        ({"columns": {"flow": {}, "load": {"clock": "hour", "scale": 2}}, "time_zone": "UTC"}, "leave"),
        ({"columns": {"flow": {"clock": "hour"}, "load": {"clock": "hour"}}, "time_zone": "UTC"}, "nothing is left"),
    ],
)
def test_what_is_known_ahead_is_never_guessed(ahead: Any, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    code, _, error = run(ahead[0], "--config", config(tmp_path / "c.json", **given))
    assert code == 2
    assert said in error


def test_the_build_finds_which_columns_a_clock_says() -> None:
    from test_figures import data

    from edge_tqs.building.gateway.clocks import clock_of, told
    from edge_tqs.project.series_format import SeriesFormat

    period = 3600 * 10**9
    hours = np.arange(24.0 * 40)
    columns = {
        "hour": (hours + 2) % 24,
        "day": np.sin(2 * np.pi * ((hours + 2) % 24) / 24),
        "weekday": ((hours + 2) // 24 + 0) % 7,
        "else": (hours * 7) % 24,
        "flat": hours * 0,
    }
    times = np.datetime64("2024-01-01T00:00", "ns") + np.arange(len(hours)) * np.timedelta64(period, "ns")
    made = data(list(hours), len(hours), period=period)
    series = replace(
        made.series, columns=tuple(columns), values=np.array([*columns.values()], np.float32).T, times=times
    )
    found = replace(made, series=series, how=SeriesFormat(time_zone="Africa/Cairo"))
    assert [clock_of(found, name) for name in columns] == ["hour", "sin of day", "weekday", None, None]
    assert clock_of(replace(found, how=SeriesFormat()), "hour") is None  # of another zone
    (sentence,) = told({"columns": {"hour": {"clock": "hour"}, "flow": {}}})
    assert sentence.startswith("hour is what a clock says in every row")
    assert clock_of(replace(found, series=replace(series, times=None)), "hour") is None


def test_the_package_is_python_3_9_and_its_standard_library() -> None:
    root, imported = template_root() / "gateway", set()
    for path in (root / "edge-tqs-forecastd", *root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"forecastd", "forecaster", "paho", "pymodbus", "serial"}


def test_what_the_build_says_of_the_training() -> None:
    from test_figures import data, evaluation, loop

    from edge_tqs.building.gateway import config as begins
    from edge_tqs.building.gateway.facts import facts
    from edge_tqs.building.naive import Naive
    from edge_tqs.building.request import ModelRequest, SeriesRequest
    from edge_tqs.building.windows import Windows

    values = [1.0, 1.0, 1.0, 2.0, 4.0, 4.0, 3.0, 9.0, 100.0]
    given = SeriesRequest(data(values, 8, period=600 * 10**9), None, None)
    request = ModelRequest(Path("m"), horizon=2, series=given)
    forecast = replace(loop(), columns=("t",), scaling=Scaling((10.0,), (2.0,)))
    truth = np.zeros((3, 2, 1))
    found = evaluation(forecast, truth, mixed=np.full((3, 2, 1), [[1.0], [-2.0]]))
    windows = Windows(truth, truth, truth, Naive(persistence=np.full((3, 2, 1), 3.0)))
    assert facts(request, forecast, found, windows) == {
        "period": "10min",
        "rolling": 2,
        "columns": {
            "t": {
                "least": 1.0,
                "greatest": 9.0,
                "mean": 3.125,
                "std": pytest.approx(np.std(values[:8])),
                "longest": 3,
                "means": [1.0, 6.0],
            }
        },
        "errors": [
            {"label": "t", "lead": 1, "mae": 2.0, "naive": 6.0},
            {"label": "t", "lead": 2, "mae": 4.0, "naive": 6.0},
        ],
    }
    assert facts(replace(request, series=None), forecast, found, windows)["columns"] == {}
    made = begins.config(request, forecast)
    assert (made["period"], made["horizon"], made["columns"]) == ("10min", 2, {"t": {}})


@pytest.mark.parametrize("kind", ["none", "direct", "classes"])
def test_the_build_and_the_gateway_call_outputs_the_same(kind: str, tmp_path: Path) -> None:
    graph, _, _ = graph_of(kind)
    folder = bundle(graph, tmp_path, library=False)
    forecast = graph.forecast
    expected = [label(forecast, output) for output in range(forecast.outputs)]
    assert [target.label for target in read_model(folder).targets(1)] == expected
