"""Reading of series: what a file's text says, its times, holes, long format, several files, Parquet."""

from __future__ import annotations

import csv
import io
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_tqs.errors import ToolError, UsageError
from edge_tqs.project.numerals import parse
from edge_tqs.project.series import origins, read_series, windows
from edge_tqs.project.series_format import UNITS, Long, SeriesFormat, parse_period, period_text

START = datetime(2024, 1, 1)
MINUTES = timedelta(minutes=10)


def write(directory: Path, text: str, name: str = "series.csv", encoding: str = "utf-8") -> Path:
    path = directory / name
    path.write_bytes(text.encode(encoding))
    return path


def rows(count: int, step: timedelta = MINUTES, start: datetime = START) -> list[tuple[datetime, float]]:
    return [(start + i * step, 20 + i % 7 + i / 8) for i in range(count)]


def text_of(pairs: list[tuple[datetime, float]], form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return "time,temp\n" + "".join(f"{at.strftime(form)},{value}\n" for at, value in pairs)


def refusal(path: Path | list[Path], *columns: str, **how) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_series(path, columns, SeriesFormat(**how))
    assert caught.value.hint
    return caught.value


# --- twelve files as they come ----------------------------------------------------------------------------------------


def test_a_hole_is_said_and_no_window_crosses_it(tmp_path):
    """1, a hole: three days are missing."""
    pairs = rows(40)
    path = write(tmp_path, text_of([(at + 3 * 144 * MINUTES if i >= 25 else at, v) for i, (at, v) in enumerate(pairs)]))
    series = read_series(path)
    assert (series.period, series.segments) == (600 * UNITS["s"], ((0, 25), (25, 40)))
    (warning,) = series.warnings
    assert "1 hole in its times (432 samples), before line 27, from 2024-01-01 04:00 to 2024-01-04 04:10" in warning
    assert series.times is not None
    seeds, truth = windows(series, 4, 2, 20, part="train", rows=30)
    whole = np.concatenate([seeds, truth], axis=1)[:, :, 0]
    np.testing.assert_array_equal(whole, [series.values[i : i + 6, 0] for i in range(20)])


def test_windows_that_cross_holes_are_counted(tmp_path):
    pairs = rows(40)
    path = write(tmp_path, text_of(pairs[:10] + pairs[12:30] + pairs[31:]))
    series = read_series(path)
    assert series.segments == ((0, 10), (10, 28), (28, 37))
    found, lost = origins(series, 4, 2, part="train", rows=37)
    spans = [(start, start + 6) for start in range(37 - 5)]
    inside = [a + 4 for a, b in spans if any(s <= a and b <= e for s, e in series.segments)]
    assert (found.tolist(), lost) == (inside, len(spans) - len(inside))
    seeds, truth = windows(series, 4, 2, len(inside), part="train", rows=37)
    for origin, seed, after in zip(inside, seeds, truth, strict=True):
        np.testing.assert_array_equal(np.concatenate([seed, after]), series.values[origin - 4 : origin + 2])
        span = series.times[origin - 4 : origin + 2]
        assert set(np.diff(span)) == {np.timedelta64(600, "s")}
    with pytest.raises(UsageError, match=r"room for 0 windows of 20 rows .* more would cross a hole") as caught:
        windows(series, 20, 2, 1, part="train", rows=37)
    assert "fill" in caught.value.hint


def test_doubled_times_are_refused(tmp_path):
    """2, doubled."""
    pairs = rows(30)
    error = refusal(write(tmp_path, text_of(sorted(pairs + pairs[5:12]))))
    assert "line 8, column time: 2024-01-01 00:50 comes again; 7 times repeat in all" in error.message


def test_reversed_rows_are_turned_round_and_that_is_said(tmp_path):
    """3, reversed."""
    forward = read_series(write(tmp_path, text_of(rows(30))))
    series = read_series(write(tmp_path, text_of(rows(30)[::-1])))
    np.testing.assert_array_equal(series.values, forward.values)
    np.testing.assert_array_equal(series.times, forward.times)
    assert any("turned round" in fact for fact in series.facts)
    pairs = rows(30)
    error = refusal(write(tmp_path, text_of(pairs[:20] + pairs[10:20] + pairs[20:])))
    assert "line 22, column time: the time goes back, from 2024-01-01 03:10 to 2024-01-01 01:40" in error.message


def test_mixed_zones_are_refused_and_mixed_offsets_read(tmp_path):
    """4, mixed zones."""
    lines = [f"{at.isoformat()}{'Z' if i != 7 else ''},{v}" for i, (at, v) in enumerate(rows(20))]
    error = refusal(write(tmp_path, "time,temp\n" + "\n".join(lines)))
    assert "line 9, column time: 2024-01-01 01:10 has no offset from UTC, the rows above have one" in error.message
    shifted = [
        f"{(at + timedelta(hours=2 if i > 9 else 1)).isoformat()}{'+02:00' if i > 9 else '+0100'},{v}"
        for i, (at, v) in enumerate(rows(20))
    ]
    series = read_series(write(tmp_path, "time,temp\n" + "\n".join(shifted)))
    assert series.times[0] == np.datetime64("2024-01-01T00:00")
    assert series.segments == ()
    assert any("+01:00, +02:00" in fact for fact in series.facts)
    assert "time_zone" in refusal(write(tmp_path, "time,temp\n" + "\n".join(shifted)), time_zone="UTC").hint


@pytest.mark.parametrize("minutes", [10, 30, 60])
def test_summer_time(minutes, tmp_path):
    """5, DST: refused where clocks are set back, until the zone is named; then one even axis in UTC."""
    from zoneinfo import ZoneInfo

    utc = [datetime(2024, 10, 26, 12, tzinfo=ZoneInfo("UTC")) + i * timedelta(minutes=minutes) for i in range(200)]
    local = [at.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None) for at in utc]
    path = write(tmp_path, text_of([(at, float(i)) for i, at in enumerate(local)]))
    error = refusal(path)
    assert "as local clocks do when summer time ends" in error.message
    assert "2024-10-27 02:00" in error.message
    assert 'time_zone = "Europe/Berlin"' in error.hint
    series = read_series(path, how=SeriesFormat(time_zone="Europe/Berlin"))
    expected = np.array([at.replace(tzinfo=None) for at in utc], "datetime64[ns]")
    np.testing.assert_array_equal(series.times, expected)
    assert series.segments == ()
    assert "is not known here" in refusal(path, time_zone="Europe/Bern").message
    backwards = write(tmp_path, text_of([(at, float(i)) for i, at in enumerate(local)][::-1]))
    np.testing.assert_array_equal(read_series(backwards, how=SeriesFormat(time_zone="Europe/Berlin")).times, expected)


def test_the_hour_that_spring_skips(tmp_path):
    pairs = rows(30, timedelta(hours=1), datetime(2024, 3, 30, 12))
    gone = [pair for pair in pairs if pair[0] != datetime(2024, 3, 31, 2)]
    series = read_series(write(tmp_path, text_of(gone)))
    assert len(series.segments) == 2
    assert "time_zone" in series.warnings[0]
    assert read_series(write(tmp_path, text_of(gone)), how=SeriesFormat(time_zone="Europe/Berlin")).segments == ()
    error = refusal(write(tmp_path, text_of(pairs)), time_zone="Europe/Berlin")
    assert "line 16, column time: there was no 2024-03-31 02:00 in Europe/Berlin" in error.message


def test_decimal_commas(tmp_path):
    """6, decimal comma: read where it is certain, asked for where thousands may be meant."""
    assert read_series(write(tmp_path, "time;a\n2024-01-01;20,5\n2024-01-02;1.021,25\n")).values[:, 0].tolist() == [
        20.5,
        1021.25,
    ]
    assert read_series(write(tmp_path, 'time,a\n2024-01-01,"20,5"\n2024-01-02,"21"\n')).values[0, 0] == 20.5
    grouped = read_series(write(tmp_path, 'time,a\n2024-01-01,"1,021.5"\n2024-01-02,"1,021"\n'))
    assert grouped.values[:, 0].tolist() == [1021.5, 1021]
    assert read_series(write(tmp_path, "time;a\n2024-01-01;1 021\n2024-01-02;2.5\n")).values[:, 0].tolist() == [
        1021,
        2.5,
    ]
    path = write(tmp_path, "time;a\n2024-01-01;20,000\n2024-01-02;21,500\n")
    error = refusal(path)
    assert "line 2: '20,000' is 20.000 with a decimal comma, and 20000 where commas part thousands" in error.message
    assert '[data] decimal = ","' in error.hint
    assert read_series(path, how=SeriesFormat(decimal=",")).values[:, 0].tolist() == [20, 21.5]
    assert read_series(path, how=SeriesFormat(decimal=".")).values[:, 0].tolist() == [20000, 21500]
    mixed = refusal(write(tmp_path, "time;a\n2024-01-01;20,5\n2024-01-02;21.5\n"))
    assert "line 3, column a: '21.5' is no number" in mixed.message
    assert "20,5 on line 2 has a decimal comma" in mixed.hint
    both = refusal(write(tmp_path, "time;a\n2024-01-01;20,5\n2024-01-02;1,021.5\n"))
    assert "line 3: 1,021.5 and other cells are written with different decimal marks" in both.message


def test_semicolons_and_what_else_separates_cells(tmp_path):
    """7, semicolon."""
    for mark in ";\t|":
        series = read_series(
            write(tmp_path, f"time{mark}a, inner{mark}b\n2024-01-01{mark}1{mark}2\n".replace("\n", "\r\n"))
        )
        assert (series.columns, series.values.tolist()) == (("a, inner", "b"), [[1, 2]])
    series = read_series(write(tmp_path, "sep=;\ntime;temp, C\n2024-01-01;20,5\n2024-01-02;21,5\n"))
    assert series.columns == ("temp, C",)
    assert read_series(write(tmp_path, "time;temp, C\n2024-01-01;20,5\n2024-01-02;21,5\n")).values[1, 0] == 21.5
    trailing = read_series(
        write(tmp_path, "# of the logger\nDate;Time;a;;\n01/02/2024;18.00;2,6;;\n;;;;\n"),
        ["a"],
        SeriesFormat(time=("Date", "Time"), time_format="%d/%m/%Y %H.%M"),
    )
    assert trailing.times.tolist() == np.array(["2024-02-01T18:00"], "datetime64[ns]").tolist()
    error = refusal(write(tmp_path, "time,a\n2024-01-01,20,5\n2024-01-02,21,5\n2024-01-03,21\n"))
    assert "line 2: 3 cells, but the header has 2 columns; line 3 too" in error.message
    assert 'delimiter = ";"' in error.hint
    assert "may both separate its cells ('x,y;z')" in refusal(write(tmp_path, "a,b;c\nx,y;z\n")).message
    assert read_series(write(tmp_path, "a;b,c\n1;2,5\n"), how=SeriesFormat(delimiter=";")).columns == ("a", "b,c")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_utf_16(encoding, tmp_path):
    """8, UTF-16, with and without its mark."""
    series = read_series(write(tmp_path, "time,temp °C\n2024-01-01,1.5\n2024-01-02,2.5\n", encoding=encoding))
    assert (series.columns, series.values[:, 0].tolist()) == (("temp °C",), [1.5, 2.5])


def test_another_encoding_is_asked_for(tmp_path):
    path = write(tmp_path, "time,temp °C\n2024-01-01,1.5\n2024-01-02,2.5\n", encoding="cp1252")
    assert '[data] encoding = "cp1252"' in refusal(path).hint
    assert read_series(path, how=SeriesFormat(encoding="cp1252")).columns == ("temp °C",)
    assert "cannot be read as text" in refusal(path, encoding="klingon").message


def test_text_cells_are_counted_and_named(tmp_path):
    """9, text cell."""
    lines = [f"{at},{'ERR' if i in (3, 5, 9, 20, 21) else v}" for i, (at, v) in enumerate(rows(30))]
    error = refusal(write(tmp_path, "time,temp\n" + "\n".join(lines)))
    assert "line 5, column temp: 'ERR' is no number; line 7, 11 too, 5 in all" in error.message
    error = refusal(write(tmp_path, "time,temp,state\n2024-01-01,1,ok\n2024-01-02,2,bad\n"))
    assert "column 'state' holds text ('ok')" in error.message
    assert 'inputs = ["temp"]' in error.hint
    infinite = refusal(write(tmp_path, "time,temp\n2024-01-01,1\n2024-01-02,-inf\n"))
    assert "line 3, column temp: -inf is not finite" in infinite.message
    assert "1e39 exceeds float32" in refusal(write(tmp_path, "time,temp\n2024-01-01,1\n2024-01-02,1e39\n")).message
    assert "'1_0' is no number" in refusal(write(tmp_path, "time,temp\n2024-01-01,1\n2024-01-02,1_0\n")).message


@pytest.mark.parametrize("spelling", ["", " ", "NA", "NaN", "null", "-", "?", "n/a", "None"])
def test_an_empty_cell_is_a_hole(spelling, tmp_path):
    """10, empty cells: the row is a hole, which is said; fill closes short ones."""
    lines = [f"{at},{spelling if i in (5, 6, 12) else v},{i}" for i, (at, v) in enumerate(rows(20))]
    path = write(tmp_path, "time,temp,load\n" + "\n".join(lines))
    series = read_series(path)
    assert series.segments == ((0, 5), (5, 10), (10, 17))
    assert "3 of 20 rows lack a value and are holes, the first on line 7 (column temp)" in series.warnings[0]
    assert read_series(path, ["load"]).segments == ()
    filled = read_series(path, how=SeriesFormat(fill=1))
    assert filled.segments == ((0, 5), (5, 18))
    assert filled.values[10].tolist() == [filled.values[9, 0], 12]
    assert "1 values in 1 holes of up to 1 samples are filled by the last value" in filled.warnings[0]
    assert read_series(path, how=SeriesFormat(fill=2)).segments == ()


def test_an_empty_file_and_an_empty_column(tmp_path):
    assert "holds no rows" in refusal(write(tmp_path, "")).message
    assert "holds no rows" in refusal(write(tmp_path, "time,a\n\n\n")).message
    error = refusal(write(tmp_path, "time,a,b\n2024-01-01,1,\n2024-01-02,2,\n"))
    assert "every row lacks a value, column b 2 of them" in error.message
    assert "a time is missing" in refusal(write(tmp_path, "time,a\n2024-01-01,1\n,2\n")).message


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_epoch(unit, factor, tmp_path):
    """11, epoch seconds and finer."""
    start = 1704067200
    path = write(tmp_path, "timestamp,a\n" + "".join(f"{(start + 30 * i) * factor},{i}\n" for i in range(20)))
    series = read_series(path)
    assert (series.columns, series.period) == (("a",), 30 * UNITS["s"])
    assert series.times[1] == np.datetime64("2024-01-01T00:00:30")
    assert any(f"times in {unit} since 1970" in fact for fact in series.facts)
    assert read_series(path, ["a", "timestamp"]).times is None  # named as an input, it is one
    error = refusal(write(tmp_path, path.read_text().replace(str((start + 60) * factor), "soon")))
    assert f"line 4, column timestamp: 'soon' is no time in {unit}" in error.message


def test_elapsed_times_need_a_unit(tmp_path):
    path = write(tmp_path, "time,a\n" + "".join(f"{i / 8},{i}\n" for i in range(20)))
    error = refusal(path)
    assert 'time_format = "s"' in error.hint
    assert read_series(path, how=SeriesFormat(time_format="s")).period == 125 * UNITS["ms"]
    named = write(tmp_path, "time_ms,a\n" + "".join(f"{i * 20},{i}\n" for i in range(20)))
    assert read_series(named).period == 20 * UNITS["ms"]


LONG = "time,sensor,value\n" + "".join(
    f"{at},{name},{i + add}\n" for i, (at, _) in enumerate(rows(20)) for name, add in (("in", 0), ("out", 100))
)


def test_long_format(tmp_path):
    """12, long format: refused with the line to write, then read."""
    error = refusal(write(tmp_path, LONG))
    line = 'long = {sensor = "sensor", value = "value"}'
    assert line in error.hint
    assert line in refusal(write(tmp_path, LONG), "value").hint
    how = SeriesFormat(long=Long("sensor", "value"))
    series = read_series(write(tmp_path, LONG), how=how)
    assert (series.columns, series.rows, series.period) == (("in", "out"), 20, 600 * UNITS["s"])
    np.testing.assert_array_equal(series.values, [[i, i + 100] for i in range(20)])
    assert read_series(write(tmp_path, LONG), ["out"], how).values[3].tolist() == [103]
    blocks = LONG.splitlines()
    by_sensor = "\n".join([blocks[0], *sorted(blocks[1:], key=lambda line: line.split(",")[1])])
    np.testing.assert_array_equal(read_series(write(tmp_path, by_sensor), how=how).values, series.values)
    lines = LONG.splitlines()
    holed = read_series(write(tmp_path, "\n".join(lines[:10] + lines[11:])), how=how)
    assert holed.segments == ((0, 4), (4, 19))
    double = refusal(write(tmp_path, "\n".join([*lines[:5], lines[4], *lines[5:]])), long=how.long)
    assert "line 6: sensor 'out' has a second value at 2024-01-01 00:10" in double.message
    assert "Did you mean 'out'?" in refusal(write(tmp_path, LONG), "outt", long=how.long).hint


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S.%f",
        "%Y/%m/%d %H:%M",
        "%Y%m%dT%H%M%S",
        "%d.%m.%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M %p",
        "%d-%m-%y %H:%M",
        "%Y-%m-%dT%H",
    ],
)
def test_dates_are_read_as_the_whole_column_allows(form, tmp_path):
    pairs = rows(60, timedelta(hours=9), datetime(2026, 1, 3))
    series = read_series(write(tmp_path, text_of(pairs, form)))
    assert series.times.tolist() == np.array([at for at, _ in pairs], "datetime64[ns]").tolist()
    assert series.period == 9 * UNITS["h"]


def test_day_and_month(tmp_path):
    ambiguous = write(tmp_path, text_of(rows(100), "%d/%m/%Y %H:%M"))
    error = refusal(ambiguous)
    assert "column time: '01/01/2024 00:00' may have its day or its month first" in error.message
    assert '[data] time_format = "%d/%m/%Y %H:%M" or "%m/%d/%Y %H:%M"' in error.hint
    assert read_series(ambiguous, how=SeriesFormat(time_format="%d/%m/%Y %H:%M")).rows == 100
    daily = write(tmp_path, text_of(rows(10, timedelta(days=1)), "%m/%d/%Y"))  # day first, they would be months apart
    assert read_series(daily).period == UNITS["d"]
    bad = refusal(write(tmp_path, "time,a\n2024-02-28,1\n2024-02-30,2\n"))
    assert "line 3, column time: '2024-02-30' is no date" in bad.message
    odd = refusal(write(tmp_path, "time,a\n2024-02-28,1\nyesterday,2\n"))
    assert "line 3, column time: 'yesterday' is no time" in odd.message
    assert "time_format" in odd.hint
    mixed = refusal(write(tmp_path, "time,a\n2024-02-28,1\n29.02.2024,2\n"))
    assert "line 3, column time: '29.02.2024' has its year elsewhere than '2024-02-28' on line 2" in mixed.message
    late = refusal(write(tmp_path, "time,a\n2024-02-28 23:00,1\n2024-02-28 25:00,2\n"))
    assert "line 3, column time: '2024-02-28 25:00' is no time" in late.message


def test_a_format_of_ones_own(tmp_path):
    path = write(tmp_path, "time;a\n3 Jan 2024 - 14h05;1\n3 Feb 2024 - 14h05;2\n")
    series = read_series(path, how=SeriesFormat(time="time", time_format="%d %b %Y - %Hh%M"))
    assert series.times.tolist() == np.array(["2024-01-03T14:05", "2024-02-03T14:05"], "datetime64[ns]").tolist()
    assert "%Q" in refusal(path, time="time", time_format="%Q").message
    assert "no whole date" in refusal(path, time="time", time_format="%H:%M").message
    assert "'3 Jan 2024 - 14h05' is no time" in refusal(path, time="time", time_format="%d.%m.%Y").message


def test_where_the_times_are(tmp_path):
    assert read_series(write(tmp_path, "a,when\n1,2024-01-01\n2,2024-01-02\n")).columns == ("a",)
    parts = write(tmp_path, "Date,Time,a\n" + "".join(f"{at:%Y-%m-%d},{at:%H:%M},{v}\n" for at, v in rows(300)))
    assert read_series(parts).period == 600 * UNITS["s"]
    numbers = write(
        tmp_path, "year,month,day,hour,a\n" + "".join(f"2024,1,{1 + i // 24},{i % 24},{i}\n" for i in range(99))
    )
    how = SeriesFormat(time=("year", "month", "day", "hour"), time_format="%Y %m %d %H")
    assert read_series(numbers, ["a"], how).period == UNITS["h"]
    assert read_series(numbers, how=how).columns == ("a",)
    counted = read_series(write(tmp_path, ",a\n0,5\n1,6\n2,9\n"))
    assert counted.columns == ("a",)
    assert any("counts the rows" in fact for fact in counted.facts)
    named = read_series(write(tmp_path, "when,a\n3rd of May,5\n4th of May,6\n"))
    assert (named.columns, named.times) == (("a",), None)
    assert "column 'when' ('3rd of May') is text, but no time that is read" in named.warnings[0]
    odd = refusal(write(tmp_path, "date,a\n3rd of May,5\n4th of May,6\n"))
    assert "line 2, column date: '3rd of May' is no time; line 3 too" in odd.message
    clock = refusal(write(tmp_path, "time,a\n00:00,5\n00:10,6\n"))
    assert "'00:00' is a time of day without its date" in clock.message
    none = read_series(write(tmp_path, "time,a\n00:00,5\n00:10,6\n"), how=SeriesFormat(time=False))
    assert (none.times, none.period, none.rows) == (None, None, 2)
    assert "Did you mean 'when'?" in refusal(write(tmp_path, "a,when\n1,2024-01-01\n"), time="wen").hint


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_period(tmp_path):
    path = write(tmp_path, text_of(rows(30)))
    assert read_series(path, how=SeriesFormat(period=parse_period("10min"))).period == 600 * UNITS["s"]
    error = refusal(path, period=parse_period("1h"))
    assert "line 3, column time: rows are 10min apart (2024-01-01 00:00, 2024-01-01 00:10), not the 1h" in error.message
    assert 'period = "10min"' in error.hint
    for text, value in (("1.5s", 1500 * UNITS["ms"]), ("2 h", 2 * UNITS["h"]), ("7d", 7 * UNITS["d"])):
        assert parse_period(text) == value
        assert parse_period(period_text(value)) == value
    for text in ("10", "min", "-1s", "0s", "1 month"):
        with pytest.raises(UsageError, match="is not a period"):
            parse_period(text)


def test_jitter_is_even_and_what_is_not_is_cut_or_refused(tmp_path):
    generator = np.random.default_rng(1)
    jitter = [
        (at + timedelta(seconds=int(s)), v)
        for (at, v), s in zip(rows(60), generator.integers(-20, 20, 60), strict=True)
    ]
    series = read_series(write(tmp_path, text_of(jitter)))
    assert series.segments == ()
    assert any("taken as even" in fact for fact in series.facts)
    late = [(at + timedelta(minutes=4) if i >= 30 else at, v) for i, (at, v) in enumerate(rows(60))]
    cut = read_series(write(tmp_path, text_of(late)))
    assert cut.segments == ((0, 30), (30, 60))
    assert "line 32: 1 steps are no multiple of 10min" in cut.warnings[0]
    wild = [(START + timedelta(seconds=int(s)), 1.0) for s in np.cumsum(generator.integers(1, 900, 60))]
    assert "rows are not evenly spaced" in refusal(write(tmp_path, text_of(wild))).message


def test_fill_closes_short_holes_by_the_last_value(tmp_path):
    pairs = rows(40)
    path = write(tmp_path, text_of(pairs[:10] + pairs[12:30] + pairs[36:]))
    series = read_series(path, how=SeriesFormat(fill=3))
    assert series.segments == ((0, 30), (30, 34))
    assert series.values[9:13, 0].tolist() == [pairs[9][1]] * 3 + [pairs[12][1]]
    assert series.times[:30].tolist() == np.array([at for at, _ in pairs[:30]], "datetime64[ns]").tolist()
    assert any("2 values in 1 holes of up to 3 samples are filled" in text for text in series.warnings)


# --- files ------------------------------------------------------------------------------------------------------------


def test_several_files_in_the_order_of_their_times(tmp_path):
    pairs = rows(60)
    names = [
        write(tmp_path, text_of(part), f"{name}.csv")
        for name, part in (("b", pairs[:20]), ("a", pairs[20:40]), ("c", pairs[45:]))
    ]
    series = read_series(names[::-1])
    assert series.segments == ((0, 40), (40, 55))
    assert series.values[:, 0].tolist() == [v for i, (_, v) in enumerate(pairs) if not 40 <= i < 45]
    assert "c.csv does not join on to a.csv" in series.warnings[0]
    overlap = write(tmp_path, text_of(pairs[10:30]), "d.csv")
    assert "d.csv begins at 2024-01-01 01:40, before" in refusal([names[0], overlap]).message
    slower = write(tmp_path, text_of(rows(9, timedelta(hours=1), START + timedelta(days=9))), "e.csv")
    assert "rows are 1h apart, those of the files before 10min" in refusal([names[0], slower]).message
    other = write(tmp_path, text_of(pairs[20:]).replace("temp", "load"), "f.csv")
    assert "f.csv has the columns load" in refusal([names[0], other]).message
    plain = [write(tmp_path, "a\n1\n2\n3\n", name) for name in ("g.csv", "h.csv")]
    assert read_series(plain).segments == ((0, 3), (3, 6))


def test_parquet_says_what_csv_says(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    pairs = rows(40)
    kept = pairs[:20] + pairs[25:]
    path = tmp_path / "series.parquet"
    columns = {
        "when": [at for at, _ in kept],
        "temp": [v for _, v in kept],
        "count": list(range(35)),
        "note": ["x"] * 35,
    }
    parquet.write_table(pa.table(columns), path)
    series = read_series(path)
    assert (series.columns, series.segments) == (("temp", "count"), ((0, 20), (20, 35)))
    text = read_series(write(tmp_path, text_of(kept)))
    np.testing.assert_array_equal(series.values[:, 0], text.values[:, 0])
    np.testing.assert_array_equal(series.times, text.times)
    assert "holds string, no numbers" in refusal(path, "note").message
    assert "Did you mean 'temp'?" in refusal(path, "tmp").hint
    flat = {
        "ts": [1704067200 + 60 * (i // 2) for i in range(20)],
        "id": ["a", "b"] * 10,
        "v": [float(i) for i in range(20)],
    }
    parquet.write_table(pa.table(flat), path)
    how = SeriesFormat(time="ts", long=Long("id", "v"))
    np.testing.assert_array_equal(read_series(path, how=how).values, np.arange(20).reshape(10, 2))
    again = refusal(path, time="ts").message
    assert "series.parquet, row 2, column ts" in again
    assert "line" not in again
    path.write_bytes(b"PAR1 but no more")
    assert "cannot be read as Parquet" in refusal(path).message
    assert "does not exist" in refusal(tmp_path / "none.parquet").message


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ToolError, match="pyarrow is not installed") as caught:
        read_series(tmp_path / "series.parquet")
    assert "pip install 'edge-tqs[data]'" in caught.value.hint


# --- properties -------------------------------------------------------------------------------------------------------

VALUES = st.integers(-9_999_999, 9_999_999).map(lambda n: n / 100)
FORMS = st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S+0530"])


@st.composite
def files(draw):
    """(text, encoding, instants, values) of an even file in one of many dialects; its month has 31 days."""
    count, channels = draw(st.integers(3, 30)), draw(st.integers(1, 3))
    step = draw(st.sampled_from([1, 10, 60, 600, 3600, 86400]))
    start = datetime(2024, 1, draw(st.integers(13, 28)), draw(st.integers(0, 23)))
    values = [[draw(VALUES) for _ in range(channels)] for _ in range(count)]
    form, comma = draw(FORMS), draw(st.booleans())
    mark = draw(st.sampled_from([";", "\t"] if comma else [",", ";", "\t"]))
    group = draw(st.sampled_from(["", " ", "'", "." if comma else ","]))

    def number(value: float) -> str:
        text = f"{value:,.2f}" if group else f"{value:.2f}"
        swapped = text.replace(",", "G").replace(".", "," if comma else ".")
        return swapped.replace("G", group)

    stream = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(stream, delimiter=mark, quoting=quoting, lineterminator=end)
    writer.writerow(["time", *(f"c{i}" for i in range(channels))])
    instants = [start + i * timedelta(seconds=step) for i in range(count)]
    for at, row in zip(instants, values, strict=True):
        writer.writerow([at.strftime(form), *map(number, row)])
    shift = timedelta(minutes=330) if form.endswith("0530") else timedelta()
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return stream.getvalue(), encoding, [at - shift for at in instants], values, step


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files())
def test_every_dialect_gives_the_same_series(tmp_path, file):
    text, encoding, instants, values, step = file
    series = read_series(write(tmp_path, text, encoding=encoding))
    np.testing.assert_array_equal(series.values, np.array(values, np.float32))
    assert series.times.tolist() == np.array(instants, "datetime64[ns]").tolist()
    assert (series.period, series.segments) == (step * UNITS["s"], ())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_spoilt_cell_is_named_by_its_line(tmp_path, data):
    count = data.draw(st.integers(4, 30))
    lines = text_of(rows(count)).splitlines()
    line, column = data.draw(st.integers(2, count + 1)), data.draw(st.integers(0, 1))
    cells = lines[line - 1].split(",")
    cells[column] = data.draw(st.sampled_from(["x", "12 h", "0x1F", "2024-13-01", "1.2.3", "½", "=A1"]))
    lines[line - 1] = ",".join(cells)
    blank = data.draw(st.integers(0, line - 2))
    error = refusal(write(tmp_path, "\n".join(lines[:1] + [""] * blank + lines[1:])), "temp", time="time")
    assert f"line {line + blank}, column {'temp' if column else 'time'}" in error.message
    assert repr(cells[column]) in error.message


@pytest.mark.parametrize("cell", ["1 000.00", "1'000.00", "1\u202f000,5", "1.000,5"])
def test_a_column_of_thousands_apart_is_one_of_numbers(tmp_path, cell):
    """Also where every cell is of that kind, so that none is a number as it stands."""
    lines = [f"2024-01-01 00:0{minute};{cell};{cell}" for minute in range(4)]
    series = read_series(write(tmp_path, "\n".join(["time;a;b", *lines])))
    np.testing.assert_array_equal(series.values, np.full((4, 2), 1000.5 if "5" in cell else 1000, np.float32))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120) | st.text("0123456789.,;:- \n\t\"'TtZ+eax/\r", max_size=160).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path, noise):
    for head in (b"", b"time,a\n2024-01-01,1\n"):
        path = tmp_path / "noise.csv"
        path.write_bytes(head + noise)
        try:
            series = read_series(path)
        except UsageError:
            continue
        assert np.isfinite(series.values).all()
        assert series.times is None or (np.diff(series.times).astype(int) > 0).all()


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [("1,234.5", 1234.5, None), ("1.234,5", None, 1234.5), ("-0,5", None, -0.5), (".5", 0.5, None),
     ("1'000", 1000, 1000), ("12,34,567", None, None), ("0,123", None, 0.123), ("1\u202f000,5", None, 1000.5)],
)  # fmt: skip
def test_numerals(cell, point, comma):
    assert (parse(cell, "."), parse(cell, ",")) == (point, comma)
