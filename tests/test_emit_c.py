"""The emitted C, compiled and run: bit for bit as simulate, whatever the model."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_library import HASH, SANITIZERS, TRAPS, Forecaster, compile_c, include_flags, model_sources
from graphs import KINDS, attention_graph, quantized, quantized16, random_codes, random_graph

from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Recurrence, Scaling, State, Tensor
from edge_tqs.quantization import simulate
from edge_tqs.templates import template_root

CLANG_FORMAT = Path(sys.executable).with_name("clang-format")
HORIZON = 12


def model(seed: int, kind: str | None = None, recurrence: str | None = None) -> Graph:
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(rng, kind)
        if recurrence in (None, graph.forecast.recurrence):
            return quantized(rng, graph)


def seeds_of(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    shape = (count, graph.forecast.window, graph.forecast.channels)
    return random_codes(np.random.default_rng(seed), graph, shape)


def assert_equals_simulate(forecaster: Forecaster, seeds: np.ndarray, horizon: int = HORIZON) -> None:
    expected = simulate.integer_rollout(forecaster.graph, seeds, horizon)
    assert expected.state_hashes is not None
    for n, seed in enumerate(seeds):
        forecaster.reset()
        forecaster.push_codes(seed)
        outputs, states = forecaster.forecast_codes(horizon)
        np.testing.assert_array_equal(outputs, expected.outputs[n])
        assert [zlib.crc32(state) for state in states] == expected.state_hashes[n].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_rollouts_equal_the_integer_reference(kind: str, seed: int, tmp_path: Path) -> None:
    """Outputs and state bytes of every step; every second library traps on undefined behaviour."""
    graph = model(seed, kind)
    forecaster = Forecaster(graph, tmp_path, ["-O1", *TRAPS] if seed % 2 else ["-O2"])
    assert_equals_simulate(forecaster, seeds_of(graph, 6, seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_rollouts_with_int16_activations_equal_the_integer_reference(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([16, seed])
    graph = quantized16(rng, random_graph(rng, kind))
    forecaster = Forecaster(graph, tmp_path, ["-O1", *TRAPS] if seed % 2 else ["-O2"])
    assert_equals_simulate(forecaster, seeds_of(graph, 6, seed))


def test_int16_values_are_encoded_as_the_host_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    graph = quantized16(rng, random_graph(rng, "lstm"))
    forecaster = Forecaster(graph, tmp_path)
    scale = float(graph.tensors[graph.input].quant.scale[0])
    values = np.concatenate([rng.uniform(-40000, 40000, 500) * scale, [np.inf, -np.inf, 1e30, -1e30]]).astype(
        np.float32
    )
    with np.errstate(invalid="ignore", over="ignore"):
        expected = simulate.encode(graph, values)
    got = np.array([forecaster.library.tqs_encode(float(value), 0) for value in values])
    assert np.abs(got - expected).max() <= 1  # the C divides in float32
    assert (got[-4:] == [32767, -32768, 32767, -32768]).all()
    assert forecaster.library.tqs_encode(float("nan"), 0) == 0
    for code in (-32768, -1, 0, 12345, 32767):
        assert forecaster.library.tqs_decode(code, 0) == pytest.approx(code * scale, rel=1e-6)


@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
def test_pushing_and_forecasting(recurrence: str, tmp_path: Path) -> None:
    graph = model(11, recurrence=recurrence)
    window = graph.forecast.window
    samples = seeds_of(graph, 3)[:, :window].reshape(-1, graph.forecast.channels)
    forecaster = Forecaster(graph, tmp_path)

    forecaster.push_codes(samples[: window - 1])
    assert not forecaster.library.tqs_ready(forecaster.model)
    forecaster.push_codes(samples[window - 1 : window])
    assert forecaster.library.tqs_ready(forecaster.model)
    assert forecaster.library.tqs_pushed(forecaster.model) == window

    first, first_states = forecaster.forecast_codes(HORIZON)
    again, again_states = forecaster.forecast_codes(HORIZON)
    np.testing.assert_array_equal(first, again)
    assert first_states == again_states

    # A forecast leaves no trace: the next one equals that of a model that never forecast.
    forecaster.push_codes(samples[window:])
    twin = forecaster.another()
    twin.push_codes(samples)
    expected, expected_states = twin.forecast_codes(HORIZON)
    got, got_states = forecaster.forecast_codes(HORIZON)
    np.testing.assert_array_equal(got, expected)
    assert got_states == expected_states

    # A push in mid-forecast does not touch the forecast.
    forecaster.begin()
    steps = []
    for sample in samples[:HORIZON]:
        steps.append(forecaster.next())
        forecaster.push_codes(sample[None])
    np.testing.assert_array_equal(steps, expected[: len(steps)])

    forecaster.reset()
    assert forecaster.library.tqs_pushed(forecaster.model) == 0
    forecaster.push_codes(samples[:window])
    np.testing.assert_array_equal(forecaster.forecast_codes(HORIZON)[0], first)


@pytest.mark.parametrize("late_reader", [False, True], ids=["in-place", "copied"])
@pytest.mark.parametrize("recurrence", ["windowed", "stateful"])
def test_y_may_be_a_state(recurrence: Recurrence, late_reader: bool, tmp_path: Path) -> None:
    """Warm-up steps have no y and compute it all the same; with a late reader the old state outlives the new one."""
    quant = Quant(np.array([0.5], np.float32), 3)
    names = ("x", "a_in", "b_in", "sum", "b_out")
    tensors = {name: Tensor(name, (1, 2), "int8", quant=quant) for name in names}
    ops = [Op("sub", ("x", "a_in"), ("sum",)), Op("add", ("b_in", "sum"), ("b_out",))]
    if late_reader:
        ops[1] = Op("add", ("b_in", "a_in"), ("b_out",))
    states = (State("a", "a_in", "sum"), State("b", "b_in", "b_out"))
    graph = Graph("sums", tensors, tuple(ops), "x", "sum", states, Forecast(4, 2, recurrence, (1, 0)))
    assert_equals_simulate(Forecaster(graph, tmp_path), seeds_of(graph, 4))


def test_a_stateful_model_remembers_more_than_its_window(tmp_path: Path) -> None:
    graph = model(12, recurrence="stateful")
    forecaster = Forecaster(graph, tmp_path)
    samples = seeds_of(graph, 5).reshape(1, -1, graph.forecast.channels)
    forecaster.push_codes(samples[0])
    longer = replace(graph, forecast=replace(graph.forecast, window=samples.shape[1]))
    expected = simulate.integer_rollout(longer, samples, HORIZON).outputs[0]
    np.testing.assert_array_equal(forecaster.forecast_codes(HORIZON)[0], expected)


def test_instances_are_independent(tmp_path: Path) -> None:
    graph = model(13, "lstm")
    one, seeds = Forecaster(graph, tmp_path), seeds_of(graph, 2)
    two = one.another()
    for a, b in zip(*seeds, strict=True):
        one.push_codes(a[None])
        two.push_codes(b[None])
    one.begin()
    two.begin()
    steps = [(one.next(), two.next()) for _ in range(HORIZON)]
    expected = simulate.integer_rollout(graph, seeds, HORIZON).outputs
    np.testing.assert_array_equal([a for a, _ in steps], expected[0])
    np.testing.assert_array_equal([b for _, b in steps], expected[1])


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(
    ("seed", "kind"), [(20, "mlp"), (21, "lstm"), (22, "gru"), (23, "tcn"), (24, "tcn"), (25, "attention")]
)
def test_nothing_is_read_or_written_out_of_bounds(seed: int, kind: str, activations: str, tmp_path: Path) -> None:
    """The whole model, float functions included, as a program under AddressSanitizer and UBSan."""
    rng = np.random.default_rng(seed)
    graph = attention_graph(rng) if kind == "attention" else random_graph(rng, kind)
    graph = (quantized16 if activations == "int16" else quantized)(rng, graph)
    driver = tmp_path / "driver.c"
    driver.write_text(DRIVER, encoding="ascii")
    program = compile_c(
        [*model_sources(graph, tmp_path), driver], tmp_path / "a", [*SANITIZERS, *include_flags(tmp_path)]
    )
    seeds = seeds_of(graph, 1)
    done = subprocess.run([program], input=seeds.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    expected = simulate.integer_rollout(graph, seeds, 20).outputs[0]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, expected.dtype).reshape(expected.shape), expected)


DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "tqs_model.h"

int main(void)
{
    tqs_model_t *model = malloc(sizeof *model);
    float forecast[3 * TQS_CHANNELS];
    tqs_code_t codes[TQS_CHANNELS];
    int i;

    tqs_reset(model);
    while (fread(codes, 1, sizeof codes, stdin) == sizeof codes) {
        tqs_push_q(model, codes);
    }
    tqs_forecast(model, 3, forecast);
    tqs_forecast_begin(model);
    for (i = 0; i < 20; i++) {
        tqs_forecast_next(model, codes);
        fwrite(codes, 1, sizeof codes, stdout);
    }
    free(model);
    return 0;
}
"""


# --- physical units ---------------------------------------------------------------------------------------------------


def scaled(graph: Graph, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    count = graph.forecast.channels
    scaling = Scaling(tuple(rng.uniform(-50, 900, count).tolist()), tuple(rng.uniform(0.01, 30, count).tolist()))
    return replace(graph, forecast=replace(graph.forecast, scaling=scaling))


def several_channels(recurrence: str | None = None) -> Graph:
    """A model with at least three channels whose feedback moves some of them."""
    for seed in range(30, 200):
        graph = model(seed, recurrence=recurrence)
        if len(graph.forecast.feedback) >= 3 and graph.forecast.feedback != tuple(range(graph.forecast.channels)):
            return graph
    raise AssertionError("no such model in 170 draws")


def test_encode_and_decode_equal_the_host(tmp_path: Path) -> None:
    graph = scaled(several_channels())
    forecaster = Forecaster(graph, tmp_path)
    scaling, quant = graph.forecast.scaling, graph.tensors[graph.input].quant
    assert scaling is not None
    assert quant is not None
    rng = np.random.default_rng(1)
    for channel, (mean, std) in enumerate(zip(scaling.mean, scaling.std, strict=True)):
        values = rng.normal(mean, 2 * std, 2000).astype(np.float32)
        real = (values.astype(np.float64) - mean) / std
        codes = np.array([forecaster.library.tqs_encode(float(value), channel) for value in values])
        expected = simulate.encode(graph, real)
        # float32 may decide otherwise than float64 only where the value is halfway between two codes.
        halfway = np.abs(np.abs(real / float(quant.scale[0])) % 1 - 0.5) < 1e-3
        np.testing.assert_array_equal(codes[~halfway], expected[~halfway])
        assert np.abs(codes - expected).max() <= 1
        assert halfway.mean() < 0.01
        output = graph.forecast.feedback[channel]
        decoded = [forecaster.library.tqs_decode(int(code), output) for code in range(-128, 128)]
        all_codes = np.arange(-128, 128).astype(np.int8)
        np.testing.assert_allclose(decoded, simulate.decode(graph, all_codes) * std + mean, rtol=1e-5, atol=1e-5 * std)


def echo() -> Graph:
    """A model without operators to speak of: y is x, codes of 0.5 around 3."""
    quant = Quant(np.array([0.5], np.float32), 3)
    tensors = {"x": Tensor("x", (1, 1, 2), "int8", quant=quant), "y": Tensor("y", (1, 2), "int8", quant=quant)}
    forecast = Forecast(window=1, channels=2, recurrence="none", feedback=(1, 0))
    return Graph("echo", tensors, (Op("reshape", ("x",), ("y",)),), "x", "y", (), forecast)


def test_a_model_without_kernels(tmp_path: Path) -> None:
    assert emit(echo(), HASH, "a").kernels == ()
    assert_equals_simulate(Forecaster(echo(), tmp_path), seeds_of(echo(), 2))


def test_encode_rounds_halves_away_from_zero_and_saturates(tmp_path: Path) -> None:
    scale, zero = 0.5, 3
    encode = Forecaster(echo(), tmp_path).library.tqs_encode
    for half, code in ((0.5, 1), (-0.5, -1), (1.5, 2), (-1.5, -2), (2.5, 3), (0.49999997, 0), (-0.49999997, 0)):
        assert encode(half * scale, 0) == zero + code, half
    assert encode(float("inf"), 0) == encode(1e38, 0) == 127
    assert encode(float("-inf"), 0) == encode(-1e38, 0) == -128
    assert encode(float("nan"), 0) == zero


def test_pushing_physical_units_is_pushing_their_codes(tmp_path: Path) -> None:
    graph = scaled(several_channels("windowed"))
    scaling = graph.forecast.scaling
    assert scaling is not None
    forecaster = Forecaster(graph, tmp_path)
    rng = np.random.default_rng(2)
    samples = rng.normal(scaling.mean, scaling.std, (graph.forecast.window, graph.forecast.channels)).astype(np.float32)
    forecaster.push(samples)
    forecast = forecaster.forecast(HORIZON)
    codes = [
        [forecaster.library.tqs_encode(float(value), channel) for channel, value in enumerate(sample)]
        for sample in samples
    ]
    expected = simulate.integer_rollout(graph, np.array(codes, np.int8)[None], HORIZON).outputs[0]
    np.testing.assert_array_equal(forecaster.forecast_codes(HORIZON)[0], expected)
    decoded = [[forecaster.library.tqs_decode(int(c), channel) for channel, c in enumerate(y)] for y in expected]
    np.testing.assert_array_equal(forecast, np.array(decoded, np.float32))


# --- the text ---------------------------------------------------------------------------------------------------------


def test_the_text_is_deterministic_ascii_within_120_columns() -> None:
    graph = model(50, "gru")
    files = emit(graph, HASH, "a").files
    assert files == emit(graph, HASH, "a").files
    assert set(files) == {"model.c", "model.h"}
    for text in files.values():
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 120
        assert not re.search(r"@[A-Z_]+@", text)


def test_names_cannot_break_out_of_comments_and_strings(tmp_path: Path) -> None:
    graph = scaled(model(51, "mlp"))
    columns = tuple(f'*/ "{i} \\ ??/ \N{DEGREE SIGN}C' for i in range(graph.forecast.channels))
    graph = replace(graph, forecast=replace(graph.forecast, columns=columns))
    sources = model_sources(graph, tmp_path, 'a "name" \\ */ ??/ \N{GREEK SMALL LETTER MU}\n#error')
    compile_c(sources[:1], tmp_path / "model.o", ["-c", *include_flags(tmp_path)])
    assert '#define TQS_MODEL_NAME "a \\"name\\" \\\\ */ \\?\\?/ \\?\\?#error"' in (tmp_path / "model.h").read_text()


def test_only_the_kernels_in_use_are_compiled() -> None:
    graph = model(52, "mlp")
    generated = emit(graph, HASH, "a")
    calls = set(re.findall(r"^    (tqs_\w+)\(", generated.files["model.c"], re.MULTILINE))
    assert set(generated.kernels) == {f"kernels/{name}.c" for name in calls}
    assert all((template_root() / source).is_file() for source in generated.kernels)


def test_warm_up_steps_skip_what_only_y_needs() -> None:
    graph = model(53, recurrence="windowed")
    source = emit(graph, HASH, "a").files["model.c"]
    run, advance = (
        re.search(rf"void {name}\(.*?^}}", source, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        for name in ("tqs_graph_run", "tqs_graph_advance")
    )
    assert "&head_y_layer" in run
    assert "&head_y_layer" not in advance
    assert advance.count("tqs_fc_") == run.count("tqs_fc_") - 1


def test_emitted_and_shipped_c_is_formatted(tmp_path: Path) -> None:
    sources = {path for seed, kind in enumerate(KINDS) for path in _rendered(model(60 + seed, kind), tmp_path / kind)}
    root = template_root()
    shipped = [*(root / "kernels").rglob("*.[ch]"), *(root / "core").glob("tqs_model*"), root / "core/tqs_graph.h"]
    style = (root.parent / ".clang-format").as_posix()
    command: list[str | Path] = [
        CLANG_FORMAT,
        "--dry-run",
        "-Werror",
        f"--style=file:{style}",
        *sorted(sources),
        *sorted(shipped),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _rendered(graph: Graph, folder: Path) -> list[Path]:
    folder.mkdir()
    model_sources(graph, folder)
    return [folder / "model.c", folder / "model.h"]


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("arm-none-eabi-gcc", ["-mcpu=cortex-m0", "-mthumb", "-Os"]),
        ("arm-none-eabi-gcc", ["-mcpu=cortex-m4", "-mthumb", "-O2"]),
        ("aarch64-linux-gnu-gcc", ["-O2"]),
        ("gcc", ["-O3"]),
    ],
    ids=["cortex-m0", "cortex-m4", "aarch64", "host"],
)
def test_all_compilers_take_it_without_a_warning(compiler: str, flags: list[str], tmp_path: Path) -> None:
    for recurrence in ("none", "windowed", "stateful"):
        folder = tmp_path / recurrence
        folder.mkdir()
        for source in model_sources(model(70, recurrence=recurrence), folder):
            compile_c([source], folder / "out.o", ["-c", *flags, *include_flags(folder)], compiler)


def test_codes_alone_need_no_floating_point(tmp_path: Path) -> None:
    """On a Cortex-M0 every float operation is a library call: none but tqs_model_float.c makes one."""
    sources = model_sources(model(71, "lstm"), tmp_path)
    for source in sources:
        flags = ["-c", "-mcpu=cortex-m0", "-mthumb", "-Os", *include_flags(tmp_path)]
        output = compile_c([source], tmp_path / "out.o", flags, "arm-none-eabi-gcc")
        symbols = subprocess.run(["arm-none-eabi-nm", "-u", output], capture_output=True, text=True, check=True).stdout
        assert bool(re.search(r"__aeabi_[fd]", symbols)) == (source.name == "tqs_model_float.c"), source


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_float_graph_is_refused() -> None:
    with pytest.raises(ModelError, match="float32"):
        emit(random_graph(np.random.default_rng(0), "mlp"), HASH, "a")


def test_feedback_with_another_scale_is_refused() -> None:
    graph = model(80, "lstm")
    h = graph.states[0].input
    changed = graph.with_tensors({h: replace(graph.tensors[h], quant=Quant(np.array([0.7], np.float32), 1))})
    with pytest.raises(ModelError, match=f"fed back to {h}, but has another scale"):
        emit(changed, HASH, "a")


def test_a_constant_column_is_refused() -> None:
    graph = model(81, "mlp")
    count = graph.forecast.channels
    flat = replace(graph, forecast=replace(graph.forecast, scaling=Scaling((1.0,) * count, (0.0,) * count)))
    with pytest.raises(ModelError, match="standard deviation") as error:
        emit(flat, HASH, "a")
    assert "constant" in error.value.hint


def test_states_and_recurrence_must_agree() -> None:
    graph = model(82, "mlp")
    with pytest.raises(ModelError, match="'stateful' does not go with 0 states"):
        emit(replace(graph, forecast=replace(graph.forecast, recurrence="stateful")), HASH, "a")


def test_a_hash_is_64_digits() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        emit(model(83, "mlp"), HASH[2:], "a")


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs/c-api.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 1
    (tmp_path / "main.c").write_text(examples[0], encoding="ascii")
    graph = scaled(several_channels("stateful"))
    sources = [*model_sources(graph, tmp_path), tmp_path / "main.c"]
    program = compile_c(sources, tmp_path / "main", ["-O2", *include_flags(tmp_path)])

    scaling = graph.forecast.scaling
    assert scaling is not None
    count = graph.forecast.window + 2
    samples = np.random.default_rng(3).normal(scaling.mean, scaling.std, (count, graph.forecast.channels))
    lines = "\n".join(" ".join(f"{value:.9g}" for value in sample) for sample in samples.astype(np.float32))
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    printed = np.array([[float(v) for v in line.split()] for line in done.stdout.splitlines()])
    assert printed.shape == (3 * 4, graph.forecast.channels)

    forecaster = Forecaster(graph, tmp_path)
    forecaster.push(samples)
    np.testing.assert_allclose(printed[-4:], forecaster.forecast(4), rtol=1e-5)


def test_every_function_of_the_header_is_documented() -> None:
    header = (template_root() / "core/tqs_model.h").read_text(encoding="ascii")
    text = (Path(__file__).parent.parent / "docs/c-api.md").read_text(encoding="utf-8")
    functions = re.findall(r"^[a-z].* \*?(tqs_\w+)\(", header, re.MULTILINE)
    assert len(functions) == 18
    for function in functions:
        assert f"`{function}(" in text, function
