"""Bar and line plots as SVG text: no dependency, no script, the same bytes for the same figures.

Colours are CSS variables with the light value as fallback; ``STYLE`` holds both schemes. A plot for a page takes them
from there; ``standalone=True`` puts them into the SVG itself, for a picture that is shown by <img>.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760

#: Okabe and Ito's colours, which the colour-blind can tell apart, lightened for dark backgrounds.
_LIGHT = {
    "ink": "#1b1f24",
    "soft": "#5c6670",
    "grid": "#e3e6ea",
    "back": "#ffffff",
    "float": "#1b1f24",
    "int8": "#0072b2",
    "int4": "#d55e00",
    "mixed": "#00835f",
    "device": "#a8508a",
    "truth": "#9aa3ad",
}
_DARK = {
    "ink": "#e8ebee",
    "soft": "#a0a9b3",
    "grid": "#30363d",
    "back": "#14181d",
    "float": "#e8ebee",
    "int8": "#56b4e9",
    "int4": "#f28c4b",
    "mixed": "#2fc79a",
    "device": "#dd9bc4",
    "truth": "#6f7983",
}


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


#: The variables of both schemes, for a page's <style>.
STYLE = (
    f":root{{color-scheme:light dark;{_variables(_LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(_DARK)}}}}}\n"
)


@dataclass(frozen=True)
class Line:
    """One curve. ``colour`` is a key of the palette; None in ``values`` leaves a gap.

    ``start`` is the x of the first value, ``every`` the distance to the next.
    ``dash`` is an SVG dash pattern; ``marks`` draws a circle every so many
    values instead of a line, for a curve that is expected to lie on another one.
    """

    label: str
    colour: str
    values: Sequence[float | None]
    start: int = 0
    dash: str = ""
    marks: int = 0
    every: int = 1


@dataclass(frozen=True)
class Bar:
    """One horizontal bar; ``note`` is written behind it. None draws no bar."""

    label: str
    colour: str
    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Points:
    """Points (x, y) of one kind; ``joined`` draws lines between them, ``note`` is written beside the first."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    joined: bool = False
    radius: float = 3.2
    note: str = ""


def point_plot(
    series: Sequence[Points],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    height: int = 380,
    standalone: bool = False,
) -> str:
    """Points over a linear x axis and a logarithmic y axis; a point that is not above 0 is left out."""
    kept = [[(x, y) for x, y in kind.points if y > 0] for kind in series]
    xs = [x for points in kept for x, _ in points] or [0.0, 1.0]
    ys = [y for points in kept for _, y in points] or [0.1, 1.0]
    across, up = _LinearAxis.over(min(xs), max(xs)), _LogAxis.over(min(ys), max(ys))
    left, right, top, bottom = 64, WIDTH - 32, 64, height - 48

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + across.place(point[0]) * (right - left), bottom - up.place(point[1]) * (bottom - top)

    parts = _legend([(kind.label, kind.colour, "", not kind.joined) for kind in series if not kind.note], 40)
    for tick, text in up.ticks():
        at = bottom - up.place(tick) * (bottom - top)
        parts += [_rule(left, at, right, at, "grid"), _words(left - 8, at + 4, text, "soft", anchor="end")]
    for tick, _ in across.ticks():
        at = left + across.place(tick) * (right - left)
        parts.append(_rule(at, bottom, at, bottom + 5, "soft"))
        parts.append(_words(at, bottom + 20, f"{tick:,.0f}", "soft", anchor="middle"))
    parts.append(_rule(left, bottom, right, bottom, "soft"))
    parts.append(_words((left + right) / 2, height - 8, x_label, "soft", anchor="middle"))
    parts.append(_sideways((top + bottom) / 2, y_label))
    for kind, points in zip(series, kept, strict=True):
        placed = [place(point) for point in points]
        if kind.joined:
            parts += _paths(Line(kind.label, kind.colour, ()), placed)
        fill = _colour(kind.colour if kind.note else "back")
        style = f"fill:{fill};stroke:{_colour(kind.colour)};stroke-width:1.6"
        parts += [f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(kind.radius)}" style="{style}"/>' for x, y in placed]
        if kind.note and placed:
            x, y = placed[0]
            beyond = x > (left + right) / 2
            parts.append(
                _words(x - 9 if beyond else x + 9, y - 8, kind.note, "ink", anchor="end" if beyond else "start")
            )
    return _svg(parts, height, ident, title, description, standalone)


def line_plot(
    lines: Sequence[Line],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    height: int = 340,
    log: bool | None = None,
    from_zero: bool = False,
    standalone: bool = False,
) -> str:
    """Curves over whole-numbered steps.

    ``log``: None takes a logarithmic y axis where the curves' maxima differ more than twentyfold. ``from_zero``: a
    linear y axis begins at 0. ``ident`` prefixes the ids of title and description and must be unique on a page.
    """
    tops = [max((v for v in line.values if v is not None and v > 0), default=0.0) for line in lines]
    if log is None:
        log = from_zero and min(tops, default=0) > 0 and max(tops) > 20 * min(tops)
    values = [v for line in lines for v in line.values if v is not None and (not log or v > 0)] or [0.0, 1.0]
    low, high = min(values), max(values)
    axis = _LogAxis.over(low, high) if log else _LinearAxis.over(0.0 if from_zero else low, high)
    left, right, top, bottom = 64, WIDTH - 16, 64, height - 48
    first = min((line.start for line in lines), default=0)
    last = max((line.start + (len(line.values) - 1) * line.every for line in lines), default=1)
    span = max(1, last - first)

    def x(step: float) -> float:
        return left + (step - first) / span * (right - left)

    def y(value: float) -> float:
        return bottom - axis.place(value) * (bottom - top)

    parts = _legend([(line.label, line.colour, line.dash, line.marks > 0) for line in lines], 40)
    for tick, text in axis.ticks():
        parts.append(_rule(left, y(tick), right, y(tick), "grid"))
        parts.append(_words(left - 8, y(tick) + 4, text, "soft", anchor="end"))
    for step in _steps(first, last):
        parts.append(_rule(x(step), bottom, x(step), bottom + 5, "soft"))
        parts.append(_words(x(step), bottom + 20, str(step), "soft", anchor="middle"))
    if first < 0 < last:
        parts.append(_rule(x(0), top, x(0), bottom, "soft", dash="2 3"))
    parts.append(_rule(left, bottom, right, bottom, "soft"))
    parts.append(_words((left + right) / 2, height - 8, x_label, "soft", anchor="middle"))
    parts.append(_sideways((top + bottom) / 2, y_label))
    for line in lines:
        points = [
            None if v is None or (log and v <= 0) else (x(line.start + i * line.every), y(v))
            for i, v in enumerate(line.values)
        ]
        parts += _circles(line, points) if line.marks else _paths(line, points)
    return _svg(parts, height, ident, title, description, standalone)


def bar_plot(
    bars: Sequence[Bar],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    legend: Sequence[tuple[str, str]] = (),
    standalone: bool = False,
) -> str:
    """Horizontal bars on a logarithmic axis, in the order given. ``legend``: (label, colour) pairs.

    The axis ends six decades below the longest bar: what is shorter has its label and note alone.
    """
    positive = [bar.value for bar in bars if bar.value is not None and bar.value > 0] or [1.0]
    low, high = min(positive), max(positive)
    axis = _LogAxis.over(max(low / 2, high * 1e-6), high)
    row, top = 30, 64
    bottom = top + row * len(bars)
    height = bottom + 48
    names = [_shorten(bar.label, 34) for bar in bars]
    left = 24 + 7 * max((len(name) for name in names), default=0)
    right = WIDTH - 24 - 7 * max((len(bar.note) for bar in bars), default=0)
    parts = _legend([(label, colour, "", False) for label, colour in legend], 40)
    for tick, text in axis.ticks():
        at = left + axis.place(tick) * (right - left)
        parts.append(_rule(at, top - 6, at, bottom, "grid"))
        parts.append(_words(at, bottom + 18, text, "soft", anchor="middle"))
    for index, (bar, name) in enumerate(zip(bars, names, strict=True)):
        at = top + row * index
        parts.append(_words(left - 10, at + 16, name, "ink", anchor="end"))
        length = axis.place(bar.value) * (right - left) if bar.value is not None and bar.value > 0 else 0.0
        if length > 0:
            parts.append(
                f'<rect x="{_n(left)}" y="{_n(at + 2)}" width="{_n(length)}" height="{row - 10}" rx="2" '
                f'style="fill:{_colour(bar.colour)}"/>'
            )
        parts.append(_words(left + length + 8, at + 16, bar.note, "soft"))
    parts.append(_rule(left, top - 6, left, bottom, "soft"))
    parts.append(_words((left + right) / 2, height - 8, x_label, "soft", anchor="middle"))
    return _svg(parts, height, ident, title, description, standalone)


@dataclass(frozen=True)
class _LinearAxis:
    low: float
    high: float
    step: float

    @staticmethod
    def over(low: float, high: float) -> _LinearAxis:
        """Limits on the 1, 2, 5 grid that gives four to eight intervals."""
        if high <= low:
            low, high = low - 0.5, low + 0.5
        rough = (high - low) / 5
        decade = 10.0 ** math.floor(math.log10(rough))
        step = next(decade * m for m in (1, 2, 5, 10) if decade * m >= rough * 0.999)
        return _LinearAxis(math.floor(low / step) * step, math.ceil(high / step) * step, step)

    def place(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        count = round((self.high - self.low) / self.step)
        digits = max(0, -math.floor(math.log10(self.step)))
        return [(v, f"{v + 0.0:.{digits}f}") for v in (round(self.low + i * self.step, 12) for i in range(count + 1))]


@dataclass(frozen=True)
class _LogAxis:
    low: int
    high: int

    @staticmethod
    def over(low: float, high: float) -> _LogAxis:
        """Whole decades around positive limits, twelve at most."""
        top = math.ceil(math.log10(high) - 1e-9)
        bottom = max(math.floor(math.log10(low) + 1e-9), top - 12)
        return _LogAxis(min(bottom, top - 1), top)

    def place(self, value: float) -> float:
        return min(1.0, max(0.0, (math.log10(value) - self.low) / (self.high - self.low)))

    def ticks(self) -> list[tuple[float, str]]:
        every = 1 + (self.high - self.low) // 7
        return [(10.0**e, _power(e)) for e in range(self.low, self.high + 1, every)]


def _power(exponent: int) -> str:
    if -3 <= exponent <= 3:
        return f"{10.0**exponent:.{max(0, -exponent)}f}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _steps(first: int, last: int) -> list[int]:
    """Labels of the x axis: multiples of a readable step."""
    every = next(s for s in (1, 2, 4, 8, 12, 24, 48, 96, 240, 480, 10**4, 10**6) if (last - first) / s <= 10)
    return list(range(-(-first // every) * every, last + 1, every))


def _paths(line: Line, points: Sequence[tuple[float, float] | None]) -> list[str]:
    data, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        data.append(f"{pen}{_n(point[0])} {_n(point[1])}")
        pen = "L"
    dash = f"stroke-dasharray:{line.dash};" if line.dash else ""
    style = f"fill:none;stroke:{_colour(line.colour)};stroke-width:2;stroke-linejoin:round;{dash}"
    return [f'<path d="{"".join(data)}" style="{style}"/>'] if data else []


def _circles(line: Line, points: Sequence[tuple[float, float] | None]) -> list[str]:
    style = f"fill:{_colour('back')};stroke:{_colour(line.colour)};stroke-width:1.6"
    return [
        f'<circle cx="{_n(point[0])}" cy="{_n(point[1])}" r="3.2" style="{style}"/>'
        for point in points[line.marks - 1 :: line.marks]
        if point
    ]


def _legend(entries: Sequence[tuple[str, str, str, bool]], y: float) -> list[str]:
    parts, x = [], 64.0
    for label, colour, dash, marks in entries:
        if marks:
            parts.append(
                f'<circle cx="{_n(x + 11)}" cy="{_n(y - 4)}" r="3.2" '
                f'style="fill:{_colour("back")};stroke:{_colour(colour)};stroke-width:1.6"/>'
            )
        else:
            parts.append(_rule(x, y - 4, x + 22, y - 4, colour, dash=dash, width=3))
        parts.append(_words(x + 28, y, label, "ink"))
        x += 28 + 7.2 * len(label) + 20
    return parts


def _svg(parts: Sequence[str], height: int, ident: str, title: str, description: str, standalone: bool) -> str:
    name = escape(ident, quote=True)
    font = "font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
    inside = [f'<title id="{name}-t">{escape(title)}</title>', f'<desc id="{name}-d">{escape(description)}</desc>']
    if standalone:
        inside.append(f"<style>{STYLE}</style>")
        inside.append(f'<rect width="{WIDTH}" height="{height}" style="fill:{_colour("back")}"/>')
    inside.append(f'<text x="64" y="18" style="fill:{_colour("ink")};font-weight:600">{escape(title)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{name}-t {name}-d" style="{font}">\n' + "\n".join([*inside, *parts]) + "\n</svg>\n"
    )


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "", width: float = 1) -> str:
    pattern = f";stroke-dasharray:{dash}" if dash else ""
    return (
        f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" '
        f'style="stroke:{_colour(colour)};stroke-width:{_n(width)}{pattern}"/>'
    )


def _words(x: float, y: float, text: str, colour: str, *, anchor: str = "start") -> str:
    if not text:
        return ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" style="fill:{_colour(colour)}">{escape(text)}</text>'


def _sideways(y: float, text: str) -> str:
    """Words along the y axis."""
    return (
        f'<text transform="translate(14 {_n(y)}) rotate(-90)" text-anchor="middle" '
        f'style="fill:{_colour("soft")}">{escape(text)}</text>'
    )


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]


def _colour(name: str) -> str:
    return f"var(--{name},{_LIGHT[name]})"


def _n(value: float) -> str:
    """Coordinates to a tenth of a unit, without a negative zero or a trailing one."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
