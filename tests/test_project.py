"""edge-tqs.toml, CSV columns, scaling and windows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from edge_tqs.api.request import plan_request
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Scaling
from edge_tqs.project.budget import AskedPlan, parse_budget
from edge_tqs.project.file import init_project, load_project, read_data
from edge_tqs.project.series import read_columns, read_series, standard_scaling, train_rows, windows
from edge_tqs.project.series_format import Long, SeriesFormat

SERIES = "timestamp,temperature,load\n" + "".join(f"2024-01-01 {i:02}:00,{20 + i},{i * i}\n" for i in range(20))


def write(directory: Path, text: str, name: str = "series.csv") -> Path:
    path = directory / name
    path.write_bytes(text.encode())
    return path


def project(directory: Path, text: str):
    return load_project(write(directory, text, "edge-tqs.toml"))


# --- series ---------------------------------------------------------------------------------------------------------


def test_columns_skip_the_timestamp_and_keep_their_order(tmp_path):
    path = write(tmp_path, SERIES)
    assert read_columns(path) == ("temperature", "load")
    series = read_series(path, ["load", "temperature"])
    assert series.values.dtype == np.float32
    assert series.values[3].tolist() == [9.0, 23.0]
    assert read_series(path).columns == ("temperature", "load")


def test_a_numeric_first_column_is_data(tmp_path):
    assert read_series(write(tmp_path, "a,b\n1,2\n3,4\n")).values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("text", ["a;b\r\n1;2\r\n\r\n3;4\r\n", "a\tb\n1\t2\n3\t4", "\ufeffa,b\n1,2\n3,4\n\n"])
def test_other_dialects(tmp_path, text):
    series = read_series(write(tmp_path, text))
    assert series.columns == ("a", "b")
    assert series.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,a\nx,\ny,\n", "every row lacks a value, column a 2 of them"),
        ("t,a\nx,1\n\ny,NaN?\n", "line 4, column a: 'NaN\\?' is no number"),
        ("t,a\nx,1\ny,inf\n", "line 3, column a: inf is not finite"),
        ("t,a\nx,1\ny,warm\n", "line 3, column a: 'warm' is no number"),
        ("t,a\nx,1\ny,1,2\n", "line 3: 3 cells, but the header has 2"),
        ("1,2\n3,4\n", "no header"),
        ("t,a,a\nx,1,2\n", "names the column 'a' twice"),
        ("t,a\n", "no rows"),
        ("", "no rows"),
        ("t\n2024-01-01\n", "no column of numbers"),
    ],
)
def test_a_bad_csv_names_the_place(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_series(write(tmp_path, text))
    assert "series.csv" in caught.value.message
    assert caught.value.hint


def test_a_missing_file_a_binary_and_a_misspelt_column(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_series(tmp_path / "none.csv")
    (tmp_path / "model.bin").write_bytes(b"\x80\xff\x00\x81")
    with pytest.raises(UsageError, match="cannot be read as text"):
        read_series(tmp_path / "model.bin")
    with pytest.raises(UsageError, match="no column 'temprature'") as caught:
        read_series(write(tmp_path, SERIES), ["temprature"])
    assert "temperature" in caught.value.hint


def test_split_and_scaling_use_the_training_part_alone(tmp_path):
    series = read_series(write(tmp_path, SERIES))
    assert train_rows(series) == 16
    assert train_rows(series, test_rows=5) == 15
    scaling = standard_scaling(series, 15)
    np.testing.assert_allclose(scaling.mean[0], 27.0)
    np.testing.assert_allclose(scaling.std[0], np.arange(15).std())
    with pytest.raises(UsageError, match="20 rows cannot be split"):
        train_rows(series, test_rows=20)
    constant = read_series(write(tmp_path, "a\n5\n5\n5\n"))
    assert standard_scaling(constant, 2) == Scaling((5.0,), (1.0,))


def test_windows_are_followed_by_their_truth_and_respect_the_border(tmp_path):
    series = read_series(write(tmp_path, SERIES), ["temperature"])
    seeds, truth = windows(series, 4, 2, 3, rows=16)
    assert (seeds.shape, truth.shape) == ((3, 4, 1), (3, 2, 1))
    assert truth[:, :, 0].tolist() == [[36, 37], [37, 38], [38, 39]]
    assert seeds[0, :, 0].tolist() == [32, 33, 34, 35]
    seeds, truth = windows(series, 4, 2, 5, part="train", rows=16)
    assert seeds.min() == 20
    assert truth.max() == 35
    assert windows(series, 4, 2, 5, part="train", rows=16)[0].tobytes() == seeds.tobytes()
    with pytest.raises(UsageError, match="room for 3 windows"):
        windows(series, 4, 2, 4, rows=16)
    with pytest.raises(UsageError, match="room for 0 windows"):
        windows(series, 4, 200, 1, rows=16)


def test_windows_are_normalised(tmp_path):
    series = read_series(write(tmp_path, SERIES), ["temperature"])
    seeds, truth = windows(series, 2, 1, 1, rows=16, scaling=Scaling((20.0,), (2.0,)))
    assert seeds.dtype == np.float32
    assert (seeds[0, :, 0].tolist(), truth[0, 0, 0]) == ([7.0, 7.5], 8.0)


# --- budgets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("24576", 24576), ("24KB", 24576), ("24 KiB", 24576), ("24k", 24576), ("1.5MB", 1572864), (" 7 bytes ", 7)],
)
def test_parse_budget(text, size):
    assert parse_budget(text) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "KB", "24GB", "1e3", "twelve", "0.0001KB"])
def test_parse_budget_refuses(text):
    with pytest.raises(UsageError, match="number of bytes"):
        parse_budget(text)


# --- edge-tqs.toml --------------------------------------------------------------------------------------------------

FULL = """
[model]
path = "m.keras"
[forecast]
window = 4
horizon = 2
recurrence = "stateful"
output = "near"
[data]
csv = "series.csv"
inputs = ["temperature"]
outputs = ["temperature"]
test_rows = 5
[scaling]
mean = [27]
std = [2.5]
[plan]
budget = "24KB"
activations = "int16"
ranges = "minmax"
[validate]
rollouts = 3
horizon = 5
max_rmse_vs_float = 1
"""


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ('tolerance = "5%"', {"tolerance": 0.05}),
        ("tolerance = 0.05", {"tolerance": 0.05}),
        ("bits = 4", {"bits": 4}),
        ("mean_bits = 5", {"mean_bits": 5.0}),
        ("max_divergence = 0.1", {"max_divergence": 0.1}),
        ('budget = "2KB"', {"budget_bytes": 2048}),
    ],
)
def test_what_a_project_says_of_its_plan_holds_until_a_command_says_more(tmp_path, line, asked):
    plan = project(tmp_path, f'[model]\npath = "m.keras"\n[plan]\n{line}\n').plan
    assert plan_request(plan) == plan_request(
        **{"budget" if key == "budget_bytes" else key: v for key, v in asked.items()}
    )
    assert all(getattr(plan_request(plan), key) == value for key, value in asked.items())
    assert plan_request(plan, budget="none").free
    assert plan_request(plan, bits=8) == plan_request(bits=8)


def test_a_latency_of_the_project_holds_beside_a_plan_of_the_command(tmp_path):
    plan = project(tmp_path, '[model]\npath = "m.keras"\n[plan]\nlatency = "0.8 ms"\n').plan
    assert plan_request(plan).latency == plan_request(plan, bits=8).latency == pytest.approx(0.8)
    assert plan_request(plan, latency="2ms").latency == 2.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('latency = "5"', "'plan.latency' must be a time with its unit"),
        ("tolerance = 0", "'plan.tolerance' must be a share above 0"),
        ('tolerance = "much"', "'plan.tolerance' must be a share above 0"),
        ("bits = 6", "'plan.bits' must be one of 8, 4"),
        ("mean_bits = 9", "'plan.mean_bits' must be a number from 4 to 8"),
        ('bits = 8\ntolerance = "5%"', "tolerance and bits exclude each other"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, lines, message):
    with pytest.raises(UsageError, match=message) as caught:
        project(tmp_path, f'[model]\npath = "m.keras"\n[plan]\n{lines}\n')
    assert caught.value.hint


def test_every_key_arrives(tmp_path):
    write(tmp_path, SERIES)
    loaded = project(tmp_path, FULL)
    assert loaded.model == tmp_path / "m.keras"
    assert (loaded.forecast.window, loaded.forecast.horizon, loaded.forecast.recurrence) == (4, 2, "stateful")
    assert loaded.forecast.output == "near"
    assert loaded.data is not None
    assert (loaded.data.columns, loaded.data.test_rows) == (("temperature",), 5)
    assert loaded.plan.budget == 24576
    assert (loaded.activations, loaded.ranges) == ("int16", "minmax")
    assert (loaded.validate.rollouts, loaded.validate.horizon, loaded.validate.max_rmse_vs_float) == (3, 5, 1.0)
    data = read_data(loaded)
    assert data is not None
    assert data.train_rows == 15
    assert data.scaling == Scaling((27.0,), (2.5,))
    assert load_project(tmp_path) == loaded


READING = """
[model]
path = "m.keras"
[data]
csv = ["b.csv", "logs/*.csv"]
time = ["date", "clock"]
time_format = "%Y-%m-%d %H:%M"
time_zone = "Europe/Berlin"
period = "10min"
fill = 3
decimal = ","
delimiter = ";"
encoding = "cp1252"
long = {sensor = "name", value = "value"}
"""


def test_how_data_is_read_arrives(tmp_path):
    data = project(tmp_path, READING).data
    assert data is not None
    assert data.csv == (tmp_path / "b.csv", tmp_path / "logs/*.csv")
    assert data.series_format == SeriesFormat(
        time=("date", "clock"),
        time_format="%Y-%m-%d %H:%M",
        time_zone="Europe/Berlin",
        period=600 * 10**9,
        fill=3,
        decimal=",",
        delimiter=";",
        encoding="cp1252",
        long=Long("name", "value"),
    )
    for name in ("time = false", 'time = "when"'):
        data = project(tmp_path, READING.replace('time = ["date", "clock"]', name)).data
        assert data is not None
        assert data.series_format.time == (False if "false" in name else "when")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'time = ["date", "clock"]',
            "time = true",
            "'data.time' must be a column, a list of columns, or false",
        ),
        ('"10min"', '"ten"', "'ten' is not a period"),
        ("fill = 3", "fill = 0", "'data.fill' must be a number of 1 or more"),
        ('decimal = ","', 'decimal = ";"', "'data.decimal' must be one of"),
        ('delimiter = ";"', 'delimiter = ";;"', "'data.delimiter' must be one character"),
        ("sensor =", "name =", "unknown key 'data.long.name'"),
    ],
)
def test_what_is_wrong_in_how_data_is_read_is_named(tmp_path, old, new, message):
    assert old in READING
    with pytest.raises(UsageError, match=message):
        project(tmp_path, READING.replace(old, new))


def test_files_by_a_glob(tmp_path):
    (tmp_path / "logs").mkdir()
    for name, day in (("logs/b", 1), ("logs/a", 3), ("c", 2)):
        hours = "".join(f"2024-01-0{day} {hour:02}:00,{day * 100 + hour}\n" for hour in range(24))
        write(tmp_path, "time,a\n" + hours, f"{name}.csv")
    text = '[model]\npath = "m.keras"\n[data]\ncsv = ["logs/*.csv", "c.csv"]\n'
    data = read_data(project(tmp_path, text))
    assert data is not None
    assert (data.series.rows, data.series.segments) == (72, ())
    assert (data.series.values[0, 0], data.series.values[-1, 0]) == (100, 323)
    with pytest.raises(UsageError, match="no file is called"):
        read_data(project(tmp_path, text.replace("logs", "log")))


def test_init_writes_what_it_found_and_what_it_could_not_read(tmp_path):
    write(tmp_path, SERIES.replace("2024-01-01 07:00", "2024-01-01 06:58"))
    write(tmp_path, "", "m.keras")
    said: list[str] = []
    path = init_project(tmp_path, say=said.append)
    text = path.read_text()
    assert '\nperiod = "1h"' in text
    assert "20 rows 1h apart by column 'timestamp'" in text
    assert [("20 rows 1h apart" in line, "by up to 2min" in line) for line in said] == [(True, False), (False, True)]
    assert load_project(path).data.series_format.period == 3600 * 10**9
    path.unlink()
    write(tmp_path, "time;a\n2024-01-01;20,000\n")
    said.clear()
    text = init_project(tmp_path, say=said.append).read_text()
    assert said[0].startswith("series.csv is not read yet: series.csv, line 2: '20,000'")
    assert '## Write [data] decimal = ","' in text
    assert load_project(path).data is not None
    write(tmp_path, text.replace("[scaling]", 'decimal = ","\n[scaling]'), "edge-tqs.toml")
    data = read_data(
        load_project(path), write(tmp_path, "time;a\n2024-01-01;20,000\n2024-01-02;21,000\n2024-01-03;22,000\n")
    )
    assert data is not None
    assert data.series.values[:, 0].tolist() == [20, 21, 22]


def test_the_model_alone_is_enough(tmp_path):
    loaded = project(tmp_path, '[model]\npath = "m.keras"\n')
    assert (loaded.data, loaded.plan, loaded.scaling) == (None, AskedPlan(), None)
    assert loaded.activations is None
    assert read_data(loaded) is None
    data = read_data(loaded, write(tmp_path, SERIES))
    assert data is not None
    assert data.train_rows == 16
    assert data.scaling is None


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("[forecast]", "[forcast]", "unknown key 'forcast'", "Did you mean 'forecast'?"),
        ("horizon = 2", "horizont = 2", r"unknown key 'forecast\.horizont'", "Did you mean 'forecast.horizon'?"),
        ("horizon = 2", "horizon = 0", r"'forecast\.horizon' must be a number of 1 or more, not 0", "init"),
        ("horizon = 2", "horizon = true", r"'forecast\.horizon' must be an integer, not True", "init"),
        ('"stateful"', '"statefull"', r"recurrence' must be one of auto, windowed, stateful, not 'statefull'", "init"),
        (
            'inputs = ["temperature"]',
            'inputs = ["a", "a"]',
            r"data\.inputs' must be a list without repet",
            "init",
        ),
        ("test_rows = 5", "test_rows = 5\ntest_fraction = 0.5", "both test_rows", "Keep one"),
        (
            "test_rows = 5",
            "test_fraction = 1.0",
            r"'data\.test_fraction' must be a number between 0 and 1, not 1\.0",
            "init",
        ),
        ("std = [2.5]", "std = [0.0]", r"'scaling\.std\[0\]' must be a number above 0, not 0\.0", "init"),
        ("std = [2.5]", "std = [1, 2]", "one length", "mean"),
        ("std = [2.5]", "", "needs mean and std", "mean"),
        ("std = [2.5]", "std = [2.5]\nmin = [0]\nmax = [1]", "min and max", "min"),
        ("mean = [27]\nstd = [2.5]", "min = [3]\nmax = [3]", "each max must be above its min", "min"),
        ("std = [2.5]", "std = [2.5]\noutputs = {mean = [1]}", r"\[scaling\] outputs needs", "mean"),
        ("horizon = 2", "horizon = 2\nlead = -1", r"'forecast\.lead' must be a number of 0 or more", "init"),
        (
            "horizon = 2",
            'horizon = 2\nkind = "open"',
            r"kind' must be one of closed loop, direct, driven",
            "init",
        ),
        (
            "horizon = 2",
            'horizon = 2\noutputs = [{name = "a", quantile = 1.5}]',
            r"'forecast\.outputs\[0\] \(a\)\.quantile' must be a number between 0 and 1",
            "init",
        ),
        ("std = [2.5]", 'std = [1]\nmethod = "none"', "no method beside", "method"),
        ('"24KB"', '"many"', "not a number of bytes", "24KB"),
        ('"int16"', '"int4"', r"'plan\.activations' must be one of int8, int16, mixed, not 'int4'", "init"),
        ('"24KB"', "-3", r"'plan\.budget' must be a number of bytes, or text like \"24KB\", not -3", "init"),
        ('path = "m.keras"', "", r"the key 'model\.path' is missing", "init"),
        ('csv = "series.csv"', "", r"the key 'data\.csv' is missing", "init"),
        ("[plan]", "[plan", "not TOML", "init"),
        ('[model]\npath = "m.keras"', 'model = "m.keras"', "'model' must be a table, not 'm.keras'", "init"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message, hint):
    assert old in FULL
    with pytest.raises(UsageError, match=message) as caught:
        project(tmp_path, FULL.replace(old, new))
    assert hint in caught.value.hint


def test_a_scaling_for_other_columns_is_refused(tmp_path):
    write(tmp_path, SERIES)
    loaded = project(tmp_path, FULL.replace('inputs = ["temperature"]', "").replace('outputs = ["temperature"]', ""))
    with pytest.raises(UsageError, match="is for 1 columns"):
        read_data(loaded)


def test_init_fills_in_what_the_files_say_and_can_be_loaded(tmp_path):
    write(tmp_path, SERIES)
    write(tmp_path, "", "m.keras")
    path = init_project(tmp_path)
    loaded = load_project(path)
    assert loaded.model == tmp_path / "m.keras"
    assert loaded.data is not None
    assert loaded.data.columns == ("temperature", "load")
    assert loaded.scaling is None
    assert all(line.count("#") <= 1 for line in path.read_text().splitlines() if not line.startswith("#"))


def test_init_without_data_and_with_odd_names(tmp_path):
    model = write(tmp_path, "", 'a "b".keras')
    loaded = load_project(init_project(tmp_path, model=model))
    assert loaded.model == model
    assert loaded.data is None
    assert loaded.scaling == "none"


def test_every_commented_key_of_init_is_a_real_one(tmp_path):
    text = init_project(tmp_path, model=tmp_path / "m.keras").read_text()
    enabled = [
        line[2:] if line.startswith("# ") and ("=" in line or "[data]" in line) else line for line in text.splitlines()
    ]
    picked = [line for line in enabled if not line.startswith(("mean", "std"))]
    tomllib.loads("\n".join(picked))
    loaded = load_project(write(tmp_path, "\n".join(picked), "all.toml"))
    assert loaded.data is not None
    assert loaded.plan.budget == 24576
    assert loaded.forecast.window == 24


@pytest.mark.parametrize("model", ["a.keras", "a.h5", "saved/saved_model.pb", "a.tflite"])
def test_init_finds_each_kind_of_model(model, tmp_path):
    """The first of a kind that is there once: two .tflite files beside it are made of it, and no choice."""
    for name in (model, "b.tflite", "c.tflite") if model != "a.tflite" else (model,):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = tmp_path / ("saved" if model.startswith("saved/") else model)
    assert load_project(init_project(tmp_path)).model == expected


def test_init_never_overwrites_and_asks_for_a_model(tmp_path):
    with pytest.raises(UsageError, match="exactly one"):
        init_project(tmp_path)
    write(tmp_path, "mine", "edge-tqs.toml")
    with pytest.raises(UsageError, match="exists already"):
        init_project(tmp_path, model=tmp_path / "m.keras")
    assert (tmp_path / "edge-tqs.toml").read_text() == "mine"
    with pytest.raises(UsageError, match="not a directory"):
        init_project(tmp_path / "nowhere", model=tmp_path / "m.keras")


def test_no_project(tmp_path):
    with pytest.raises(UsageError, match="does not exist") as caught:
        load_project(tmp_path)
    assert "init" in caught.value.hint
