"""The chart of error deltas: a line for each ablation, with the claims of the paper and of its authors' log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alexnet.study.charts.canvas import LIGHT, Canvas, drawing
from alexnet.study.comparison import MEASURES, AblationRow, ComparisonTable
from alexnet.study.statistics import Interval
from alexnet.study.wording import (
    MEASURE_NAMES,
    MINUS,
    counted_images,
    heading,
    row_title,
    section,
    shown_seeds,
    signed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHART_FILE = "comparison.svg"
CLIPPING = 3.0
"""An axis reaches at most this many times as far as the median interval of the chart, or as the largest claim: one
ablation that ruins the net would squeeze all others into a point."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes of a chart of deltas, in pixels."""

    width: int
    labels: int
    """Width of the column of names at the left; 0 writes them above their lines."""
    side_by_side: bool
    """Panels (one for each measure) in a row instead of a column."""
    line: int
    """Height of an ablation's line."""


WIDE = Layout(width=1000, labels=236, side_by_side=True, line=46)
NARROW = Layout(width=380, labels=0, side_by_side=False, line=62)
_FIGURES, _GAP, _HEAD, _FOOT = 62, 34, 34, 48
"""Width of the column of deltas in figures; space between panels, above and below the lines."""


def has_deltas(table: ComparisonTable) -> bool:
    """Whether there is anything to draw."""
    return any(row.deltas for row in table.rows)


@drawing()
def delta_chart(table: ComparisonTable, layout: Layout, *, inline: str) -> str:
    """Draw the chart as an element of an HTML report; `inline` is unique on it."""
    canvas = Canvas(layout.width, _height(table, layout))
    _draw_deltas(canvas, table, layout, 0, 0)
    return canvas.svg(f"Change of the error by ablation: {table.experiment}", describe_deltas(table), inline=inline)


@drawing()
def comparison_figure(tables: Sequence[ComparisonTable]) -> str:
    """Draw the charts of all tables below one another, as a file."""
    drawn = [table for table in tables if has_deltas(table)]
    title, margin, head = "What each change does to the error", 28, 62
    canvas = Canvas(WIDE.width + 2 * margin, sum(_height(table, WIDE) + head + margin for table in drawn) or 64)
    top = float(margin)
    for table in drawn:
        canvas.text(title, margin, top + 14, size=21, weight="bold")
        canvas.text(_subject(table), margin, top + 38, color="muted", most=140)
        _draw_deltas(canvas, table, WIDE, margin, top + head)
        top += _height(table, WIDE) + head + margin
    if not drawn:
        canvas.text("No ablation has a baseline to be compared with.", margin, 40)
    return canvas.svg(title, " ".join(map(describe_deltas, drawn)))


def describe_deltas(table: ComparisonTable) -> str:
    """Put the chart into words, for those who do not see it."""
    parts = [
        f"{row.ablation} {mean.delta:+.2f} (95 % interval {mean.interval.low:+.2f} to {mean.interval.high:+.2f})"
        for row in table.rows
        if (mean := row.deltas.get("top1"))
    ]
    return f"{_subject(table)}. Change of the top-1 error in percentage points: {'; '.join(parts)}."


def _subject(table: ComparisonTable) -> str:
    """Return `cifar10, recipe paper: 10,000 test images, ten crops, seeds 0-2`."""
    seeds = sorted({seed for row in table.rows if row.deltas for seed in row.seeds})
    counted = f"{'seed' if len(seeds) == 1 else 'seeds'} {shown_seeds(seeds)}"
    return f"{heading(table)}: {counted_images(table)}, {counted}"


def _height(table: ComparisonTable, layout: Layout) -> float:
    panel = _HEAD + sum(bool(row.deltas) for row in table.rows) * layout.line + _FOOT
    return (32 + panel) if layout.side_by_side else (118 + len(MEASURES) * panel)


def _draw_deltas(canvas: Canvas, table: ComparisonTable, layout: Layout, left: float, top: float) -> None:
    rows = [row for row in table.rows if row.deltas]
    _draw_legend(canvas, rows, layout, left, top)
    room = layout.width - layout.labels
    width = (room - _GAP * (len(MEASURES) - 1)) / len(MEASURES) if layout.side_by_side else room
    height = len(rows) * layout.line
    for index, measure in enumerate(MEASURES):
        x = left + layout.labels + (index * (width + _GAP) if layout.side_by_side else 0)
        y = top + (32 if layout.side_by_side else 118 + index * (_HEAD + height + _FOOT)) + _HEAD
        axes = canvas.axes(x + 8, y, width - 8 - _FIGURES, height)
        reach = _reach(rows, measure)
        axes.set(xlim=reach, ylim=(len(rows), 0), yticks=[])
        lines_from = left if index == 0 or not layout.side_by_side else x
        _draw_frame(canvas, axes, measure, lines_from, x, y, width, height)
        for place, row in enumerate(rows):
            line = y + place * layout.line
            middle = place + (0.5 if layout.labels else 0.68)
            _draw_row(axes, row, measure, reach, middle, 7 / layout.line)
            canvas.text(signed(row.deltas[measure].delta), x + width, y + middle * layout.line + 4.5, size=14,
                        weight="bold", ha="right")  # fmt: skip
            if not layout.labels:
                over_grid = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1}
                canvas.text(row_title(row), left, line + 17, size=14, weight="bold", most=44, bbox=over_grid)
            elif index == 0:
                named = ", ".join(part for part in (row.ablation, section(row)) if part)
                canvas.text(row_title(row), left, line + layout.line / 2 - 3, size=14, weight="bold", most=29)
                canvas.text(named, left, line + layout.line / 2 + 14, color="muted", most=36)


def _reach(rows: Sequence[AblationRow], measure: str) -> Interval:
    """Return what the axis covers: 0, every claim, and the intervals unless one is far longer than the others."""
    intervals = [row.deltas[measure].interval for row in rows]
    reaches = sorted(max(abs(low), abs(high)) for low, high in intervals)
    claims = [value for row in rows for source in ("paper", "log") if (value := row.expected_delta(source, measure))]
    limit = max([CLIPPING * reaches[len(reaches) // 2], *map(abs, claims)])
    low = min([0.0, *claims, *(max(low, -limit) for low, _ in intervals)])
    high = max([0.0, *claims, *(min(high, limit) for _, high in intervals)])
    margin = 0.06 * (high - low)
    return Interval(low - margin, high + margin)


def _draw_frame(
    canvas: Canvas, axes: "Axes", measure: str, lines_from: float, x: float, y: float, width: float, height: float
) -> None:
    """Draw title, grid, zero line and axis of a panel."""
    from matplotlib.ticker import MaxNLocator

    plot = width - 8 - _FIGURES
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", MINUS) if abs(value) > 1e-9 else "0")
    axes.grid(axis="x", color=LIGHT["rule"], linewidth=1, alpha=0.7)
    ends = ((lines_from - x - 8) / plot, (width - 8) / plot)
    for line in range(round(axes.get_ylim()[0]) + 1):
        axes.plot(ends, [line] * 2, color=LIGHT["rule"], lw=1, clip_on=False, transform=axes.get_yaxis_transform())
    axes.plot([0, 0], [-6 / height, 1 + 6 / height], color=LIGHT["ink"], lw=1.5, clip_on=False,
              transform=axes.get_xaxis_transform())  # fmt: skip
    canvas.text(f"{MEASURE_NAMES[measure]} error, change in points", x, y - 14, weight="bold")
    canvas.text("delta", x + width, y - 14, size=12, color="muted", ha="right")
    low, high = axes.get_xlim()
    zero = x + 8 + plot * -low / (high - low)
    foot = y + height + 34
    canvas.text("baseline", zero, foot, size=12, color="muted", ha="center")
    if zero - x > 115:
        canvas.text("\N{LEFTWARDS ARROW} error falls", x + 8, foot, size=12, color="muted")
    if x + 8 + plot - zero > 115:
        canvas.text("error rises \N{RIGHTWARDS ARROW}", x + 8 + plot, foot, size=12, color="muted", ha="right")


def _draw_row(axes: "Axes", row: AblationRow, measure: str, reach: Interval, y: float, above: float) -> None:
    """Draw claims, seeds, interval and mean of one ablation; arrows where its interval exceeds the axis.

    Claims are arrowheads that point at their value from either side, since they mostly coincide, with each other and
    with what is measured.
    """
    mean = row.deltas[measure]
    style: dict[str, Any] = {"clip_on": False, "linestyle": "none"}
    stub = 0.04 * (reach.high - reach.low)
    low = min(max(mean.interval.low, reach.low), reach.high - stub)
    high = max(min(mean.interval.high, reach.high), reach.low + stub)
    for line in _BAND:
        axes.plot([low, high], [y, y], clip_on=False, **line)
    for beyond, end, marker in (
        (mean.interval.low < reach.low, reach.low, 8),  # CARETLEFTBASE
        (mean.interval.high > reach.high, reach.high, 9),  # CARETRIGHTBASE
    ):
        if beyond:
            axes.plot(end, y, marker=marker, color=LIGHT["ours"], markersize=11, **style)
    if len(row.pairs) > 1:
        seeds = [value for one in row.pairs if reach.low <= (value := one.deltas[measure].delta) <= reach.high]
        axes.plot(seeds, [y] * len(seeds), **_SEEDS, **style)
    if reach.low <= mean.delta <= reach.high:
        axes.plot(mean.delta, y, **(_POINT if _excludes_zero(mean.interval) else _OPEN_POINT), **style)
    for source, marks, offset in (("paper", _PAPER, -above), ("log", _LOG, above)):
        if (claim := row.expected_delta(source, measure)) is not None:
            axes.plot(claim, y + offset, **marks, **style)


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


_BAND: tuple[dict[str, Any], ...] = (
    {"color": LIGHT["ours"], "linewidth": 12, "alpha": 0.2, "solid_capstyle": "butt"},
    {"color": LIGHT["ours"], "linewidth": 1.6},
)
_POINT: dict[str, Any] = {"marker": "o", "markersize": 11, "color": LIGHT["ours"], "markeredgecolor": LIGHT["paper"]}
_OPEN_POINT: dict[str, Any] = {
    **_POINT, "markerfacecolor": LIGHT["paper"], "markeredgecolor": LIGHT["ours"], "markeredgewidth": 2.5
}  # fmt: skip
_SEEDS: dict[str, Any] = {"marker": "o", "markersize": 6, "color": LIGHT["ours"], "alpha": 0.6, "markeredgewidth": 0.0}
_PAPER: dict[str, Any] = {"marker": 7, "markersize": 11, "color": LIGHT["claim"]}  # CARETDOWN, centered at its tip
_LOG: dict[str, Any] = {"marker": 6, "markersize": 11, "color": LIGHT["log"]}  # CARETUP


def _draw_legend(canvas: Canvas, rows: Sequence[AblationRow], layout: Layout, left: float, top: float) -> None:
    """Explain the marks that occur."""
    from matplotlib.lines import Line2D

    excluding = {_excludes_zero(mean.interval) for row in rows for mean in row.deltas.values()}
    claimed = {s for row in rows for s in ("paper", "log") for k in MEASURES if row.expected_delta(s, k) is not None}
    band = [Line2D([], [], **line) for line in _BAND]
    entries: list[tuple[bool, Any, str]] = [
        (True in excluding, (*band, Line2D([], [], **_POINT)), "measured, with 95 % interval"),
        (False in excluding, (*band, Line2D([], [], **_OPEN_POINT)), "95 % interval includes 0"),
        (any(len(row.pairs) > 1 for row in rows), Line2D([], [], linestyle="none", **_SEEDS), "single seeds"),
        ("paper" in claimed, Line2D([], [], linestyle="none", **_PAPER), "the paper's claim"),
        ("log" in claimed, Line2D([], [], linestyle="none", **_LOG), "the authors' log"),
    ]
    canvas.figure.legend(
        [mark for occurs, mark, _ in entries if occurs], [words for occurs, _, words in entries if occurs],
        loc="upper left", bbox_to_anchor=(left / canvas.width, 1 - top / canvas.height),
        ncols=5 if layout.side_by_side else 1,
        borderaxespad=0, borderpad=0, columnspacing=1.6, handletextpad=0.6, frameon=False, fontsize=12,
        labelcolor=LIGHT["muted"],
    )  # fmt: skip
