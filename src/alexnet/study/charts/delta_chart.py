"""The chart of error deltas: one line for each ablation, with what the paper and its authors' log claim beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from alexnet.study.charts.axis import Axis
from alexnet.study.charts.element import Markup, element
from alexnet.study.charts.palette import COLORS, with_light_colors
from alexnet.study.charts.words import MINUS, counted_images, heading, row_title, section, signed
from alexnet.study.comparison import MEASURES, Group, Row, claimed
from alexnet.study.statistics import Interval
from alexnet.study.wording import MEASURE_NAMES, shown_interval, shown_points, shown_seeds

CHART_FILE = "comparison.svg"
CLIPPING = 3.0
"""An axis reaches at most this many times as far as the median line of the chart, or as the largest claim: one ablation
that ruins the net would squeeze all others into a point."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes of a chart in pixels."""

    width: int
    labels: int
    """Width of the column of names at the left; 0 writes them above their lines."""
    beside: bool
    """The panels (one for each measure) beside one another, instead of one below the other."""
    line: int
    """Height of an ablation's line."""


WIDE = Layout(width=1000, labels=236, beside=True, line=46)
NARROW = Layout(width=380, labels=0, beside=False, line=62)
FIGURES = 62
"""Width of the column of figures at the right of a panel."""
GAP = 34
STUB = 12
HEAD = 34
FOOT = 48


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Where one measure is drawn."""

    measure: str
    axis: Axis
    top: float
    """Upper edge of the first line."""
    right: float
    """Right edge of the column of figures."""


def has_deltas(group: Group) -> bool:
    """Whether there is anything to draw."""
    return any(row.deltas for row in group.rows)


def inline_chart(group: Group, layout: Layout, *, name: str) -> Markup:
    """The chart as an element of a page that has its styles; `name` makes its ids unique."""
    body, height = _chart(group, layout)
    labels = f"{name}-title {name}-text"
    return element(
        "svg",
        element("title", f"Change of the error by ablation: {group.experiment}", id=f"{name}-title"),
        element("desc", description(group), id=f"{name}-text"),
        body,
        class_="chart",
        viewBox=f"0 0 {layout.width} {height}",
        role="img",
        aria_labelledby=labels,
    )


def picture(groups: Sequence[Group]) -> str:
    """The charts of all groups one below the other as a picture of its own, on light paper."""
    drawn, top = [], 28.0
    for group in groups:
        if not has_deltas(group):
            continue
        body, height = _chart(group, WIDE)
        titles = [
            _text("What each change does to the error", 0, 14, "heading"),
            _text(_subject(group), 0, 38, "muted"),
        ]
        drawn.append(element("g", titles, element("g", body, transform="translate(0 62)"), transform=_shift(28, top)))
        top += height + 90
    if not drawn:
        drawn, top = [_text("No ablation has a baseline to be compared with.", 28, 40, "")], 64.0
    width = WIDE.width + 56
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + element(
        "svg",
        element("title", "What each change does to the error"),
        element("desc", " ".join(description(group) for group in groups if has_deltas(group))),
        element("style", Markup(with_light_colors(chart_css()))),
        element("rect", width=width, height=top, fill=COLORS["paper"][0]),
        drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {top:.0f}",
        width=width,
        height=top,
        class_="chart",
        role="img",
    )


def chart_css() -> str:
    """The stylesheet of the charts, with `$name` for every colour."""
    return resources.files("alexnet.study.charts").joinpath("chart.css").read_text(encoding="utf-8")


def description(group: Group) -> str:
    """The chart in words, for those who do not see it."""
    parts = []
    for row in group.rows:
        if mean := row.deltas.get("top1"):
            low, high = mean.interval
            parts.append(f"{row.ablation} {mean.delta:+.2f} (95 % interval {low:+.2f} to {high:+.2f})")
    return f"{_subject(group)}. Change of the top-1 error in points: {'; '.join(parts)}."


def _subject(group: Group) -> str:
    """`cifar10, recipe paper: 10,000 test images, ten crops, seeds 0-2`."""
    seeds = sorted({seed for row in group.rows if row.deltas for seed in row.seeds})
    counted = f"{'seed' if len(seeds) == 1 else 'seeds'} {shown_seeds(seeds)}"
    return f"{heading(group)}: {counted_images(group)}, {counted}"


def _chart(group: Group, layout: Layout) -> tuple[list[Markup], int]:
    """Everything that is drawn, and the height that it takes."""
    rows = [row for row in group.rows if row.deltas]
    legend, legend_height = _legend(rows, layout)
    panels, height = _panels(rows, layout, legend_height)
    drawn: list[Markup] = [legend]
    for panel in panels:
        drawn += _frame(panel, len(rows), layout)
        for index, row in enumerate(rows):
            center = panel.top + (index + 0.5) * layout.line + (0 if layout.labels else 11)
            drawn.append(element("g", _marks(row, panel, center), class_="row"))
    for panel in panels[:1] if layout.beside else panels:
        drawn += [_name(row, panel.top + index * layout.line, layout) for index, row in enumerate(rows)]
    return drawn, height


def _panels(rows: Sequence[Row], layout: Layout, top: int) -> tuple[list[Panel], int]:
    height = HEAD + len(rows) * layout.line + FOOT
    room = layout.width - layout.labels
    width = (room - GAP * (len(MEASURES) - 1)) / len(MEASURES) if layout.beside else room
    panels = []
    for index, measure in enumerate(MEASURES):
        left = layout.labels + (index * (width + GAP) if layout.beside else 0)
        low, high = _reach(rows, measure)
        axis = Axis(low=low, high=high, start=left + 8, end=left + width - FIGURES)
        upper = top + HEAD + (0 if layout.beside else index * height)
        panels.append(Panel(measure=measure, axis=axis, top=upper, right=left + width))
    return panels, top + height * (1 if layout.beside else len(MEASURES))


def _reach(rows: Sequence[Row], measure: str) -> Interval:
    """What the axis covers: 0, every claim, and the intervals unless one is far longer than the others."""
    intervals = [row.deltas[measure].interval for row in rows]
    reaches = sorted(max(abs(low), abs(high)) for low, high in intervals)
    claims = [value for row in rows for source in ("paper", "log") if (value := claimed(row, source, measure))]
    limit = max([CLIPPING * reaches[len(reaches) // 2], *map(abs, claims)])
    low = min([0.0, *claims, *(max(low, -limit) for low, _ in intervals)])
    high = max([0.0, *claims, *(min(high, limit) for _, high in intervals)])
    margin = 0.06 * (high - low)
    return Interval(low - margin, high + margin)


def _frame(panel: Panel, rows: int, layout: Layout) -> list[Markup]:
    """Title, grid, zero line and axis of a panel."""
    axis, bottom = panel.axis, panel.top + rows * layout.line
    # The first panel's lines lead over from the names.
    left = 0 if axis.start - 8 <= layout.labels else axis.start - 8
    ticks = axis.ticks(7 if layout.beside else 6)
    grid = [_line(axis.at(tick), panel.top, axis.at(tick), bottom, "grid") for tick in ticks]
    rules = [
        _line(left, panel.top + index * layout.line, panel.right, panel.top + index * layout.line, "rule")
        for index in range(rows + 1)
    ]
    numbers = [_text(_shown_tick(tick, ticks), axis.at(tick), bottom + 17, "tick", anchor="middle") for tick in ticks]
    zero = axis.at(0)
    return [
        *grid,
        *rules,
        _line(zero, panel.top - 6, zero, bottom + 5, "zero"),
        *numbers,
        _text(f"{MEASURE_NAMES[panel.measure]} error, change in points", axis.start - 8, panel.top - 14, "panel"),
        _text("delta", panel.right, panel.top - 14, "tick", anchor="end"),
        _text("baseline", zero, bottom + 34, "tick", anchor="middle"),
        *_directions(axis, bottom + 34),
    ]


def _directions(axis: Axis, y: float) -> list[Markup]:
    """Which side is which, where there is room for the words."""
    zero, room = axis.at(0), 95
    worse = _text("error rises \N{RIGHTWARDS ARROW}", axis.end, y, "tick", anchor="end")
    better = _text("\N{LEFTWARDS ARROW} error falls", axis.start, y, "tick")
    return [*([better] if zero - axis.start > room else []), *([worse] if axis.end - zero > room + 10 else [])]


def _shown_tick(value: float, ticks: Sequence[float]) -> str:
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = next((places for places in range(4) if abs(step * 10**places - round(step * 10**places)) < 1e-6), 4)
    return f"{value:+.{decimals}f}".replace("-", MINUS) if abs(value) > step / 2 else "0"


def _name(row: Row, top: float, layout: Layout) -> Markup:
    """The ablation's title, and its name and section, in the column at the left or above its line."""
    if not layout.labels:
        return _text(_cut(row_title(row), 44), 0, top + 17, "name over")
    middle = top + layout.line / 2
    below = ", ".join(part for part in (row.ablation, section(row)) if part)
    return element(
        "g", _text(_cut(row_title(row), 32), 0, middle - 3, "name"), _text(_cut(below, 38), 0, middle + 14, "muted")
    )


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _marks(row: Row, panel: Panel, y: float) -> list[Markup]:
    """Claims, seeds, interval and point of one ablation, and its delta in figures."""
    axis, mean = panel.axis, row.deltas[panel.measure]
    seeds = [replicate.deltas[panel.measure].delta for replicate in row.replicates if replicate.deltas]
    marks = [_tooltip(row, panel.measure), *_interval(axis, mean.interval, y), *_arrows(axis, mean.interval, y)]
    if len(seeds) > 1:
        marks += [_circle(axis.at(value), y, 3.2, "seed") for value in seeds if axis.low <= value <= axis.high]
    if axis.low <= mean.delta <= axis.high:
        marks.append(_circle(axis.at(mean.delta), y, 5.5, "point" if _excludes_zero(mean.interval) else "point open"))
    for source, shape in CLAIMS.items():
        if (value := claimed(row, source, panel.measure)) is not None:
            marks.append(shape(axis.at(value), y))
    marks.append(_text(signed(mean.delta), panel.right, y + 4.5, "figure", anchor="end"))
    return marks


def _tooltip(row: Row, measure: str) -> Markup:
    mean = row.deltas[measure]
    words = f"{row.ablation}, {MEASURE_NAMES[measure]}: {mean.delta:+.2f} {shown_interval(mean.interval)}"
    for source in CLAIMS:
        if shown := shown_points(claimed(row, source, measure)):
            words += f", {source} {shown}"
    return element("title", words)


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def _interval(axis: Axis, interval: Interval, y: float) -> list[Markup]:
    """A band with a line in it, as far as the axis goes; at its end a stub of one that lies beyond altogether."""
    low, high = (min(max(axis.at(end), axis.start), axis.end) for end in interval)
    low, high = min(low, axis.end - STUB), max(high, axis.start + STUB)
    return _band(low, high, y)


def _band(low: float, high: float, y: float) -> list[Markup]:
    band = element("rect", x=low, y=y - 6, width=high - low, height=12, rx=3, class_="band")
    return [band, _line(low, y, high, y, "interval")]


def _arrows(axis: Axis, interval: Interval, y: float) -> list[Markup]:
    """Where an interval goes on beyond the axis."""
    arrows = []
    if interval.low < axis.low:
        arrows.append(element("path", d=f"M{axis.start:.1f} {y - 6:.1f}l-8 6l8 6z", class_="beyond"))
    if interval.high > axis.high:
        arrows.append(element("path", d=f"M{axis.end:.1f} {y - 6:.1f}l8 6l-8 6z", class_="beyond"))
    return arrows


def _from_above(x: float, y: float) -> Markup:
    return element("path", d=f"M{x:.1f} {y - 7:.1f}l5.5 -10h-11z", class_="claim")


def _from_below(x: float, y: float) -> Markup:
    return element("path", d=f"M{x:.1f} {y + 7:.1f}l5.5 10h-11z", class_="log")


CLAIMS: dict[str, Callable[[float, float], Markup]] = {"paper": _from_above, "log": _from_below}
"""How a source of claims is drawn, at x on the line at y: as an arrowhead that points at its value from one side, since
the two claims mostly coincide, with each other and with what is measured."""


def _legend(rows: Sequence[Row], layout: Layout) -> tuple[Markup, int]:
    """What the marks mean, and the height of it."""
    drawn, x, y = [], 14.0, 8.0
    for marks, words, width in _keys(rows):
        drawn.append(element("g", marks, _text(words, 22, 4.5, "key"), transform=_shift(x, y)))
        x, y = (x + width, y) if layout.beside else (x, y + 22)
    return element("g", drawn), int(y) + (24 if layout.beside else 6)


def _keys(rows: Sequence[Row]) -> list[tuple[list[Markup], str, int]]:
    """The marks that occur, around 0, their meaning, and the width of both."""
    several = any(len(row.replicates) > 1 for row in rows)
    known = {source for row in rows for source in CLAIMS for k in MEASURES if claimed(row, source, k) is not None}
    are_open = {not _excludes_zero(mean.interval) for row in rows for mean in row.deltas.values()}
    keys = [
        (False in are_open, [*_band(-13, 13, 0), _circle(0, 0, 5.5, "point")], "measured, with 95 % interval", 236),
        (True in are_open, [*_band(-13, 13, 0), _circle(0, 0, 5.5, "point open")], "95 % interval includes 0", 208),
        (several, [_circle(-6, 0, 3.2, "seed"), _circle(5, 0, 3.2, "seed")], "single seeds", 136),
        ("paper" in known, [_from_above(0, 12)], "the paper's claim", 150),
        ("log" in known, [_from_below(0, -12)], "the authors' log", 140),
    ]
    return [(marks, words, width) for occurs, marks, words, width in keys if occurs]


def _shift(x: float, y: float) -> str:
    return f"translate({x:g} {y:g})"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=kind)


def _circle(x: float, y: float, radius: float, kind: str) -> Markup:
    return element("circle", cx=float(x), cy=float(y), r=float(radius), class_=kind)


def _text(words: str, x: float, y: float, kind: str, *, anchor: str | None = None) -> Markup:
    return element("text", words, x=float(x), y=float(y), class_=kind or None, text_anchor=anchor)
