"""What comes beside an exported model, compiled and called: against forecastd's rules, which share no code with it."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import pytest
from forecastd.model import Range
from forecastd.resample import Gap, Grid, Reading, Resampler, Sample
from forecastd.states import Sensors, Watch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exporting import GRAPHS, STRICT, compiled, network, write

from edge_tqs.boards.board import load_board
from edge_tqs.device.device import Device, Times, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.errors import UsageError
from edge_tqs.exporting import texts
from edge_tqs.exporting.helpers import HELPERS, helper_texts
from edge_tqs.exporting.parts import Network
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization.simulate import integer_rollout

TRAINING: dict[str, Any] = {"least": -1.0, "greatest": 3.0, "mean": 1.0, "std": 1.0, "longest": 2, "means": None}
PERIOD = 600


def with_helpers(graph: Graph, *names: str) -> Network:
    columns = graph.forecast.columns or tuple(f"c{channel}" for channel in range(graph.forecast.channels))
    bare = network(graph)
    beside = helper_texts(names, load_board("host"), columns, dict.fromkeys(columns, TRAINING))
    return Network(bare.graph, bare.seeds, bare.name, bare.model_hash, bare.core, beside)


def library(graph: Graph, folder: Path, *names: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    write(folder, texts(with_helpers(graph, *names), "c", "room", self_test=False))
    sources = sorted((folder / "src").glob("*.c"))
    compiled("gcc", *STRICT, *flags, "-fPIC", "-shared", "-Isrc", *sources, "-o", "room.so", cwd=folder)
    return ctypes.CDLL(str(folder / "room.so"))


def two_channels() -> Graph:
    return gateways.graph_of("none")[0]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    flags = ("-DROOM_CARD_LEAD=3", "-DROOM_CARD_ROLLING=8")
    return library(two_channels(), tmp_path_factory.mktemp("room"), "series", "watch", "card", flags=flags)


Step = tuple[str, tuple[float, ...]]


def series_of_c(room: ctypes.CDLL, readings: list[tuple[int, int, float]], fill: int, end: int) -> list[Step]:
    state, sample = ctypes.create_string_buffer(256), (ctypes.c_float * 2)()
    start = 2**32 - 3 * PERIOD  # the counter runs over on the way
    room.room_series_begin(state, ctypes.c_uint32(start), PERIOD, fill)
    made: list[Step] = []

    def take(now: int) -> None:
        while (step := room.room_series_next(state, ctypes.c_uint32(start + now), sample)) != 0:
            made.append(("gap", ()) if step == 3 else ("sample", tuple(sample)))

    for time, channel, value in readings:
        take(time)
        finite = room.room_series_reading(state, ctypes.c_uint32(start + time), channel, ctypes.c_float(value)) & 0xFF
        assert finite == np.isfinite(value)
    take(end)
    return made


def series_of_gateway(readings: list[tuple[int, int, float]], fill: int, end: int) -> list[Step]:
    made = Resampler(gateways.COLUMNS, Grid(PERIOD, most=fill))
    made.resume(0, None)
    steps = []
    for time, channel, value in readings:
        steps += made.tick(time)
        steps += made.take(Reading(time, {gateways.COLUMNS[channel]: float(np.float32(value))}))
    steps += made.tick(end + PERIOD)
    return [("gap", ()) if isinstance(step, Gap) else ("sample", step.values) for step in steps]


def runs(steps: list[Step]) -> list[Step]:
    """Gaps in a row are one: how often it is said is each one's own; and none at the end, which may still be open."""
    kept = [step for n, step in enumerate(steps) if step[0] != "gap" or n == 0 or steps[n - 1][0] != "gap"]
    return kept[:-1] if kept and kept[-1][0] == "gap" else kept


times = st.lists(
    st.tuples(st.integers(1, 2 * PERIOD), st.integers(0, 1), st.sampled_from([0.5, 2.25, -7.0])), max_size=30
)


@settings(max_examples=200, deadline=None)
@given(times, st.integers(0, 3))
def test_samples_are_made_as_the_gateway_makes_them(room: ctypes.CDLL, steps: list[Any], fill: int) -> None:
    now, readings = 0, []
    for wait, channel, value in steps:
        now += wait
        readings.append((now, channel, value))
    end = now + 7 * PERIOD
    assert runs(series_of_c(room, readings, fill, end)) == runs(series_of_gateway(readings, fill, end))


def test_a_reading_that_is_late_or_no_number_is_not_taken(room: ctypes.CDLL) -> None:
    state = ctypes.create_string_buffer(256)
    room.room_series_begin(state, 0, PERIOD, 0)
    for value in (np.nan, np.inf, -np.inf):
        assert not room.room_series_reading(state, 5, 0, ctypes.c_float(value)) & 0xFF
    assert room.room_series_reading(state, PERIOD, 0, ctypes.c_float(1)) & 0xFF  # of the sample that is due now
    assert not room.room_series_reading(state, PERIOD + 1, 0, ctypes.c_float(1)) & 0xFF  # ask for that first


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 3.25, 3.5, -1.5]), max_size=60))
def test_states_of_sensors_are_those_of_the_gateway(room: ctypes.CDLL, values: list[float]) -> None:
    limits = (ctypes.c_float * 6).in_dll(room, "room_watch_limits")
    watch = ctypes.create_string_buffer(64)
    room.room_watch_begin(watch)
    said = Range(**TRAINING)
    gateway = Sensors(("flow", "load"), {"flow": said, "load": said}, Watch())
    names = ("ok", "out of range", "stuck")
    for value in values:
        mine = names[room.room_watch_value(watch, limits, 1, ctypes.c_float(value))]
        assert mine == gateway.of_sample(Sample(0, (0.0, value), (False, True)))["load"]


def test_the_card_judges_each_forecast_once_its_truth_is_there(room: ctypes.CDLL) -> None:
    class Card(ctypes.Structure):
        _fields_ = [("mae", ctypes.c_float * 2), ("naive", ctypes.c_float * 2), ("truths", ctypes.c_uint32 * 2)]

    rng = np.random.default_rng(5)
    memory = ctypes.create_string_buffer(512)
    card = Card.from_buffer(memory)
    room.room_card_begin(memory)
    truth = rng.normal(size=(20, 2)).astype(np.float32)
    forecast = rng.normal(size=(20, 2)).astype(np.float32)
    truth[9, 1] = np.nan  # was not measured
    mae, naive, count = np.zeros(2), np.zeros(2), np.zeros(2, int)
    for n in range(20):
        made = None if n == 4 else (ctypes.c_float * 2)(*forecast[n])
        room.room_card_sample(memory, (ctypes.c_float * 2)(*truth[n]), made)
        for output in range(2):
            if n < 3 or n - 3 == 4 or np.isnan([truth[n, output], truth[n - 3, output]]).any():
                continue
            count[output] = min(count[output] + 1, 8)
            mae[output] += (abs(truth[n, output] - forecast[n - 3, output]) - mae[output]) / count[output]
            naive[output] += (abs(truth[n, output] - truth[n - 3, output]) - naive[output]) / count[output]
        np.testing.assert_allclose([card.mae, card.naive], [mae, naive], rtol=1e-5)
        assert list(card.truths) == list(count)
        worse = [bool(room.room_card_is_worse(memory, output) & 0xFF) for output in range(2)]
        assert worse == [count[output] >= 4 and mae[output] > naive[output] for output in range(2)]
    room.room_card_gap(memory)
    before = list(card.mae)
    for _ in range(3):
        room.room_card_sample(memory, (ctypes.c_float * 2)(5, 5), None)
    assert list(card.mae) == before


@pytest.mark.parametrize("name", GRAPHS)
def test_a_model_goes_on_where_its_snapshot_was_taken(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    forecast = graph.forecast
    room = library(graph, tmp_path, "snapshot")
    size = size_of_snapshot(tmp_path)
    code = ctypes.c_int16 if graph.activations == "int16" else ctypes.c_int8
    rng = np.random.default_rng(0)
    models = [ctypes.create_string_buffer(1 << 18) for _ in range(2)]
    room.room_reset(models[0])
    kept, y = ctypes.create_string_buffer(size), [(code * (forecast.steps * forecast.outputs))() for _ in models]

    def push(count: int, *targets: Any) -> None:
        for _ in range(count):
            sample = (code * forecast.channels)(*rng.integers(-100, 100, forecast.channels).tolist())
            for model in targets:
                room.room_push_q(model, sample)

    push(forecast.window + 3, models[0])
    room.room_snapshot_save(models[0], kept)
    assert room.room_snapshot_load(models[1], kept) & 0xFF
    push(2, *models)
    for model, values in zip(models, y, strict=True):
        room.room_predict_q(model, values)
    assert list(y[0]) == list(y[1])
    assert room.room_pushed(models[1]) == forecast.window + 5
    for place in sorted({0, 3, 10, 20, size // 2, size - 1}):
        damaged = bytearray(kept.raw)
        damaged[place] ^= 4
        assert not room.room_snapshot_load(models[1], bytes(damaged)) & 0xFF
        assert room.room_pushed(models[1]) == 0


def size_of_snapshot(folder: Path) -> int:
    main = 'int main(void) { printf("%u", (unsigned)ROOM_SNAPSHOT_SIZE); }'
    (folder / "size.c").write_text(f'#include <stdio.h>\n#include "room_snapshot.h"\n{main}\n')
    compiled("gcc", "-Isrc", "size.c", "-o", "size", cwd=folder)
    return int(subprocess.run([folder / "size"], capture_output=True, check=True).stdout)


SERVER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include "room_validate.h"

int room_port_rx(void) {
    struct pollfd wire = {0, POLLIN, 0};
    unsigned char byte;
    return poll(&wire, 1, 10) == 1 && read(0, &byte, 1) == 1 ? byte : -1;
}
void room_port_tx(unsigned char byte) {
    if (write(1, &byte, 1) != 1) {
        _exit(1);
    }
}
int main(void) {
    room_validate_begin();
    for (;;) {
        (void)room_validate_poll();
    }
}
"""


@pytest.mark.parametrize("kind", ["c", "amalgamated"])
def test_the_users_own_firmware_is_validated(kind: str, tmp_path: Path) -> None:
    """With two functions of the application, over a real pseudo-terminal."""
    graph = GRAPHS["lstm"]()
    made = with_helpers(graph, "validate")
    write(tmp_path, texts(made, kind, "room", self_test=False))
    (tmp_path / "main.c").write_text(SERVER.replace("room_validate.h", "room.h" if kind != "c" else "room_validate.h"))
    sources: list[str | Path] = sorted((tmp_path / "src").glob("*.c")) or ["room.c"]
    compiled("gcc", "-O1", "-Wall", "-Werror", "-Isrc", "-I.", *sources, "main.c", "-o", "own", cwd=tmp_path)
    master, slave = os.openpty()
    tty.setraw(slave)
    with subprocess.Popen([tmp_path / "own"], stdin=master, stdout=master) as program:
        try:
            with Device(open_port(os.ttyname(slave)), Times(answer=5)) as device:
                device.require_model(made.model_hash)
                assert device.hello().board == "host"
                codes = np.random.default_rng(1).integers(
                    -128, 128, (1, graph.forecast.window, graph.forecast.channels)
                )
                wanted = integer_rollout(graph, codes.astype(np.int8), 5).outputs
                outputs, _, _ = run_rollout(device, codes.astype(np.int8)[0], 5)
                np.testing.assert_array_equal(outputs, wanted[0])
        finally:
            program.kill()
            os.close(master)
            os.close(slave)


@pytest.mark.parametrize(
    ("names", "training", "said"),
    [(["clock"], {}, "there is no helper clock"), (["watch"], {}, "this build has no data")],
)
def test_what_there_is_not(names: list[str], training: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        helper_texts(names, load_board("host"), ("flow",), training)


#: What the pages' lines take from the systems that they are for.
STAND_INS = {
    "zephyr/kernel.h": "#include <stdint.h>\n#define K_SECONDS(s) (s)\n#define DT_ALIAS(name) 0\n"
    "#define DEVICE_DT_GET(node) 0\nuint32_t k_uptime_get_32(void);\nvoid k_sleep(int time);\n",
    "zephyr/drivers/sensor.h": "struct device;\nstruct sensor_value { int val1, val2; };\n"
    "enum sensor_channel { SENSOR_CHAN_AMBIENT_TEMP };\nint sensor_sample_fetch(const struct device *device);\n"
    "int sensor_channel_get(const struct device *device, enum sensor_channel channel, struct sensor_value *value);\n",
    "esp_sleep.h": "#include <stdint.h>\n#define RTC_DATA_ATTR\nvoid esp_deep_sleep(uint64_t time);\n",
}


def test_all_of_them_on_a_microcontroller(tmp_path: Path) -> None:
    make: Callable[[], Graph] = two_channels
    write(tmp_path, texts(with_helpers(make(), *HELPERS), "amalgamated", "room", self_test=True))
    for core in ("cortex-m0plus", "cortex-m4"):
        arm = ("arm-none-eabi-gcc", "-mthumb", f"-mcpu={core}")
        compiled(*arm, *STRICT, "-I.", "-c", "room.c", "-o", "room.o", cwd=tmp_path)
    write(tmp_path, STAND_INS)
    for page in ("helpers", "zephyr", "esp-idf"):
        text = (Path(__file__).parents[1] / f"docs/how-to/{page}.md").read_text()
        loop = text.partition("```c\n")[2].partition("```")[0]
        (tmp_path / "loop.c").write_text(re.sub('#include "room_[a-z]*.h"', '#include "room.h"', loop))
        compiled(*arm, *STRICT, "-I.", "-c", "loop.c", "-o", "loop.o", cwd=tmp_path)
    library = write(tmp_path / "library", texts(with_helpers(make(), *HELPERS), "arduino", "room", self_test=True))
    for source in sorted((library / "src").glob("room_*.c")):
        compiled("avr-gcc", "-mmcu=atmega2560", "-std=gnu99", "-Os", "-Wall", "-c", source, "-o", "r.o", cwd=tmp_path)
