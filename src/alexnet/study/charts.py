"""Drawing: charts of errors, the delta of each ablation with its claims, and the errors over the epochs of each run.

A panel of deltas shows one measure. A page places its panels next to or below one another, as its width allows. A
figure is a file on light paper, or part of an HTML report, whose colors it then follows. Drawn again with the same
matplotlib it is the same byte for byte.
"""

import base64
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.errors import printable
from alexnet.runs.collect import Run
from alexnet.runs.metrics import lr_drops
from alexnet.study import wording
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.pairing import MEASURES
from alexnet.study.verdict import RESOLVED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {
    "paper": ("#fdfcf9", "#15171b"),
    "sheet": ("#f5f2eb", "#1d2026"),
    "ink": ("#1b1d21", "#e9e6df"),
    "muted": ("#5c6169", "#a3a9b3"),
    "rule": ("#ddd8cc", "#353a43"),
    "ours": ("#0a5c99", "#74b8ee"),
    "claim": ("#c14a09", "#f29a5c"),
    "log": ("#1b7a57", "#5fcaa0"),
    "alarm": ("#a3162b", "#ff8f98"),
}
"""Name -> on light paper, on dark. `claim` is the paper's claim, `alarm` is what went wrong.

The hues of ours, claim and log are those of Okabe and Ito (2008), distinct for readers with the common forms of color
blindness; each also has its own shape."""
LIGHT = {name: light for name, (light, _) in COLORS.items()}
STYLE = "*{stroke-linejoin:round}text{unicode-bidi:isolate}"
FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"


class Canvas:
    """A matplotlib figure measured in pixels from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._photographs = False
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=LIGHT["paper"])
        self._page = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False, zorder=1)
        self._page.set_axis_off()

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Add a frameless plot with its data area at these pixels."""
        w, h = self.width, self.height
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def text(self, words: str, x: float, y: float, *, most: int = 1000, color: str = "ink", **style: Any) -> None:
        """Write a line at a baseline, at most so many characters of it, the last then an ellipsis."""
        words = " ".join(printable(words, lines=True).split())
        shown = words if len(words) <= most else f"{words[: most - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
        self._page.text(x, y, shown, color=LIGHT[color], va="baseline", **style)

    def rectangle(self, left: float, top: float, width: float, height: float, *, color: str, alpha: float = 1) -> None:
        """Fill a rectangle."""
        self._page.bar(left, height, width, top, align="edge", color=LIGHT[color], alpha=alpha, linewidth=0)

    def image(self, pixels: NDArray[np.uint8], left: float, top: float, width: float, height: float) -> None:
        """Show pixels [height, width, 3 or 4] with sharp edges."""
        extent = (left, left + width, top + height, top)
        self._page.imshow(pixels, interpolation="none", aspect="auto", extent=extent)

    def photograph(self, pixels: NDArray[np.uint8], left: float, top: float, side: float, *, sharpest: int) -> None:
        """Show a photograph [S, S, 3]; embed at most `sharpest` pixels a side, as JPEG to save space."""
        self._photographs = True
        image = Image.fromarray(pixels)
        image.thumbnail((sharpest, sharpest))
        self.image(np.asarray(image), left, top, side, side)

    def printed(self, kind: str) -> bytes:
        """Return the figure as a file to print: `pdf`, or `png` at 300 pixels an inch."""
        file = io.BytesIO()
        dates = {"pdf": {"CreationDate": None, "Producer": None}}
        self.figure.savefig(file, format=kind, dpi=300, metadata=dates.get(kind))
        return file.getvalue()

    def svg(self, title: str, description: str = "", *, inline: str | None = None) -> str:
        """Return the SVG document, or with `inline`, a unique name, an element of HTML that follows its colors."""
        import matplotlib

        file = io.StringIO()
        with matplotlib.rc_context({"svg.hashsalt": inline or "alexnet"}):
            metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self.figure.savefig(file, format="svg", facecolor="none" if inline else LIGHT["paper"], metadata=metadata)
        drawn = re.sub(r"^.*?<svg[^>]*>", "", file.getvalue(), flags=re.DOTALL)
        # The ids of groups are the same in every chart of a page; the others are hashes that `inline` makes unique.
        drawn = re.sub(r'(?<=<g) id="[^"]*"|font-family: [^;]*; |xlink:(?=href)|\n *(?=<)', "", drawn)
        # Hundredths of a pixel are enough, and a third of the size.
        drawn = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+|\n", r"\1", path[0]), drawn)
        drawn = re.sub("<style.*?</style>", "" if inline else f"<style>{STYLE}</style>", drawn)
        for name, color in LIGHT.items() if inline else ():
            drawn = drawn.replace(f": {color}", f": var(--{name})")
        if self._photographs:
            drawn = re.sub(r'data:image/png;base64,([^"]*)', lambda png: _as_jpeg(png[1]), drawn)
        label, description = (escape(printable(text, lines=True)) for text in (title, description))
        of_file = f'xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" height="{self.height:g}"'
        return (
            f'<svg {"" if inline else of_file} viewBox="0 0 {self.width:g} {self.height:g}" class="chart" role="img" '
            f'aria-label="{label}" font-family="{FONTS}"><title>{label}</title><desc>{description}</desc>{drawn}'
        )


def _as_jpeg(png: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return data_url(np.asarray(image), "JPEG", quality=85)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of this project, not in the user's; ignore characters that matplotlib's font lacks."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # an unwritable font cache is harmless
    import matplotlib.style

    colors = {
        "grid.color": LIGHT["rule"],
        "text.color": LIGHT["ink"],
        "xtick.labelcolor": LIGHT["muted"],
        "ytick.labelcolor": LIGHT["muted"],
    }
    with warnings.catch_warnings(), matplotlib.style.context(["default", "alexnet.study.figure", colors]):
        warnings.simplefilter("ignore")
        yield


def data_url(picture: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> str:
    """Return an image [height, width, 3 or 4] as an embedded PNG or JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, optimize=True, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


CHART_FILE = "comparison.svg"
_TITLE = "What each change does to the error"
CLIPPING = 3.0
"""An axis reaches at most this many times as far as the median interval of the chart, or as the largest claim: one
ablation that ruins the net would squeeze all others into a point."""


PANEL, LINE = 400, 60
"""Width of a panel and height of an ablation's line, in pixels."""
_LEGEND, _HEAD, _FOOT, _FIGURES, _GAP = 70, 34, 48, 70, 34
"""Room above, below and to the right of a panel's plot, and between panels."""


@drawing()
def delta_chart(table: ComparisonTable, measure: str, *, inline: str) -> str:
    """Draw one panel as an element of an HTML report; `inline` is unique on it."""
    canvas = Canvas(PANEL, _height(table))
    _draw_panel(canvas, table, measure, 0, 0)
    title = f"Change of the {wording.MEASURE_NAMES[measure]} error by ablation: {table.experiment}"
    return canvas.svg(title, describe_deltas(table, measure), inline=inline)


@drawing()
def comparison_figure(tables: Sequence[ComparisonTable]) -> str:
    """Draw the panels of all tables below one another, as an SVG file."""
    described = [describe_deltas(table, "top1") for table in tables if table.compared]
    return _all_panels(tables).svg(_TITLE, " ".join(described))


@drawing()
def printed_comparison(tables: Sequence[ComparisonTable], kind: str) -> bytes:
    """Draw the same as a `pdf` or `png` file."""
    return _all_panels(tables).printed(kind)


def _all_panels(tables: Sequence[ComparisonTable]) -> Canvas:
    drawn = [table for table in tables if table.compared]
    margin, head = 28, 62
    width = len(MEASURES) * (PANEL + _GAP) - _GAP + 2 * margin
    canvas = Canvas(width, sum(_height(table) + head + margin for table in drawn) or 64)
    top = margin
    for table in drawn:
        canvas.text(_TITLE, margin, top + 14, size=21, weight="bold")
        canvas.text(_subject(table), margin, top + 38, color="muted", most=140)
        for place, measure in enumerate(table.measures):
            _draw_panel(canvas, table, measure, margin + place * (PANEL + _GAP), top + head)
        top += _height(table) + head + margin
    if not drawn:
        canvas.text("No ablation has a baseline to be compared with.", margin, 40)
    return canvas


def describe_deltas(table: ComparisonTable, measure: str) -> str:
    """Put a panel into words, for those who do not see it."""
    parts = [
        f"{row.ablation} {one.delta:+.2f} ({100 * one.confidence:g} % interval {wording.shown_interval(one.interval)})"
        for row in table.compared
        for one in (row.assessments[measure],)
    ]
    change = f"Change of the {wording.MEASURE_NAMES[measure]} error in percentage points"
    return f"{_subject(table)}. {change}: {'; '.join(parts)}."


def _subject(table: ComparisonTable) -> str:
    """Return `cifar10, recipe paper: 10,000 test images, ten crops, seeds 0-2`."""
    counted = wording.named_seeds(seed for row in table.compared for seed in row.seeds)
    return f"{wording.heading(table)}: {wording.counted_images(table)}, {counted}"


def _height(table: ComparisonTable) -> int:
    return _LEGEND + _HEAD + len(table.compared) * LINE + _FOOT


def _draw_panel(canvas: Canvas, table: ComparisonTable, measure: str, left: int, top: int) -> None:
    from matplotlib.ticker import MaxNLocator

    rows = table.compared
    first, right, plot = top + _LEGEND + _HEAD, left + PANEL, PANEL - 8 - _FIGURES
    axes = canvas.axes(left + 8, first, plot, len(rows) * LINE)
    low, high = _reach(rows, measure)
    axes.set(xlim=(low, high), ylim=(len(rows), 0), yticks=range(len(rows) + 1), yticklabels=[])
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:+g}".replace("-", wording.MINUS) if abs(value) > 1e-9 else "0"
    )
    axes.grid()
    axes.axvline(0, color=LIGHT["ink"], lw=1.5)
    canvas.text(f"{wording.MEASURE_NAMES[measure]} error, change in points", left, first - 14, weight="bold")
    canvas.text("delta", right, first - 14, size=12, color="muted", ha="right")
    levels = sorted({row.assessments[measure].confidence for row in rows})
    whisker = _WHISKER | {"label": f"{' or '.join(f'{100 * level:g} %' for level in levels)} interval"}
    over_grid = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1}
    for place, row in enumerate(rows):
        line, middle = first + place * LINE, place + 0.68
        _draw_row(axes, row, measure, middle, whisker)
        room = int((PANEL - 6.5 * min(len(row.ablation), 24)) / 8)
        canvas.text(wording.row_title(row), left, line + 17, size=14, weight="bold", most=room, bbox=over_grid)
        canvas.text(row.ablation, right, line + 17, size=12, color="muted", most=24, ha="right", bbox=over_grid)
        delta = wording.signed(row.assessments[measure].delta)
        canvas.text(delta, right, first + middle * LINE + 4.5, size=14, weight="bold", ha="right")
    foot: dict[str, Any] = {"y": first + len(rows) * LINE + 34, "size": 12, "color": "muted"}
    zero = plot * -low / (high - low)
    canvas.text("baseline", left + 8 + zero, ha="center", **foot)
    if zero > 107:
        canvas.text("\N{LEFTWARDS ARROW} error falls", left + 8, **foot)
    if plot - zero > 107:
        canvas.text("error rises \N{RIGHTWARDS ARROW}", left + 8 + plot, ha="right", **foot)
    handles, labels = axes.get_legend_handles_labels()
    marks = dict(zip(labels, handles, strict=True))  # each once
    canvas.figure.legend(
        list(marks.values()), list(marks), loc="upper left", ncols=2,
        bbox_to_anchor=(left / canvas.width, 1 - top / canvas.height), borderaxespad=0, borderpad=0,
        columnspacing=1.6, handletextpad=0.6, frameon=False, fontsize=12, labelcolor=LIGHT["muted"],
    )  # fmt: skip


def _reach(rows: Sequence[AblationRow], measure: str) -> tuple[float, float]:
    """Return what the axis covers: 0, every claim, and the intervals unless one is far longer than the others."""
    intervals = [row.assessments[measure].interval for row in rows]
    reaches = sorted(max(abs(low), abs(high)) for low, high in intervals)
    claims = [value for row in rows for value in row.claims[measure].values()]
    limit = max([CLIPPING * reaches[len(reaches) // 2], *map(abs, claims)])
    low = min([0.0, *claims, *(max(low, -limit) for low, _ in intervals)])
    high = max([0.0, *claims, *(min(high, limit) for _, high in intervals)])
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _draw_row(axes: "Axes", row: AblationRow, measure: str, y: float, whisker: dict[str, Any]) -> None:
    """Draw claims, seeds, interval and mean of one ablation; arrows where its interval exceeds the axis.

    Claims are arrowheads that point at their value from either side, since they mostly coincide, with each other and
    with what is measured.
    """
    mean = row.assessments[measure]
    left, right = axes.get_xlim()
    for line in (_BAND, whisker):
        axes.plot(mean.interval, [y, y], **line)
    baseline = row.errors[measure] - mean.delta
    seeds = [one.errors[measure] - baseline for one in row.runs] if len(row.runs) > 1 else []
    marks = [(seed, y, _SEEDS) for seed in seeds]
    marks += [
        (mean.delta, y, _OPEN_POINT if mean.direction not in RESOLVED else _DOUBTFUL_POINT if mean.doubts else _POINT)
    ]
    marks += [(claim, y + _CLAIMS[name][1], _CLAIMS[name][0]) for name, claim in row.claims[measure].items()]
    marks += [(left, y, _BEYOND | {"marker": 8})] if mean.interval.low < left else []
    marks += [(right, y, _BEYOND | {"marker": 9})] if mean.interval.high > right else []
    for x, height, style in marks:
        if left <= x <= right:
            axes.plot(x, height, linestyle="none", clip_on=False, **style)


_BAND: dict[str, Any] = {"color": LIGHT["ours"], "linewidth": 12, "alpha": 0.2, "solid_capstyle": "butt"}
_WHISKER: dict[str, Any] = {"color": LIGHT["ours"], "linewidth": 1.6}
_DOT: dict[str, Any] = {"marker": "o", "color": LIGHT["ours"]}
_POINT = _DOT | {"label": "measured", "markersize": 11, "markeredgecolor": LIGHT["paper"]}
_OPEN_POINT = _DOT | {
    "label": "measured, not resolved", "markersize": 11, "markerfacecolor": LIGHT["paper"],
    "markeredgewidth": 2.5,
}  # fmt: skip
_DOUBTFUL_POINT = _POINT | {"label": "measured, in doubt", "color": LIGHT["muted"]}
_SEEDS = _DOT | {"label": "single seeds", "markersize": 6, "alpha": 0.6, "markeredgewidth": 0.0}
_BEYOND = _DOT | {"markersize": 11}
_CLAIMS: dict[str, tuple[dict[str, Any], float]] = {
    "paper": ({"label": "the paper's claim", "marker": 7, "markersize": 11, "color": LIGHT["claim"]}, -7 / LINE),
    "log": ({"label": "the authors' log", "marker": 6, "markersize": 11, "color": LIGHT["log"]}, 7 / LINE),
}
"""Markers and their distance from the line; 6 to 9 are carets: up and down from their tips, left and right."""


@drawing()
def error_chart(curves: Sequence[Run], baseline: Sequence[Run], drawn: Sequence[Run], inline: str) -> str:
    """Draw the errors of one ablation's runs over the epochs, with the baseline behind them.

    The axes hold all curves that are `drawn` on the page, so that charts can be compared.
    """
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(340, 220)
    axes = canvas.axes(40, 12, 290, 166)
    epochs = [epoch for curve in drawn for epoch in curve.metrics.epochs]
    errors = [
        error for epoch in epochs for error in (epoch.train_top1_error, epoch.val_top1_error) if error is not None
    ]
    low, high = max(min(errors) - 2, 0), min(max(errors) + 2, 100)
    axes.set(xlim=(0, max(epoch.epoch for epoch in epochs) + 1), ylim=(low, max(high, low + 1)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
    axes.spines["bottom"].set(visible=True, color=LIGHT["ink"])
    canvas.text("epochs", 185, 212, size=12, color="muted", ha="center")
    for epoch in sorted({first.epoch for curve in curves for first in lr_drops(curve.metrics.epochs)}):
        style: dict[str, Any] = {"color": LIGHT["log"], "clip_on": False, "transform": axes.get_xaxis_transform()}
        axes.plot([epoch] * 2, [0, 1], linestyle=":", linewidth=1.2, **style)
        axes.plot(epoch, 1, marker=7, markersize=7, linestyle="none", **style)
    plot: list[tuple[Sequence[Run], str, dict[str, Any]]] = [
        (baseline, "val_top1_error", {"color": LIGHT["muted"], "alpha": 0.45, "linewidth": 1.2}),
        (curves, "train_top1_error", {"color": LIGHT["claim"], "linestyle": (0, (3, 2)), "linewidth": 1.8}),
        (curves, "val_top1_error", {"color": LIGHT["ours"], "linewidth": 1.8}),
    ]
    for curve, name, line in ((curve, name, line) for several, name, line in plot for curve in several):
        # An epoch's errors belong to its end; a single epoch is a dot.
        known = {one.epoch + 1: value for one in curve.metrics.epochs if (value := getattr(one, name)) is not None}
        marker = "o" if len(known) == 1 else ""
        axes.plot(list(known), list(known.values()), **line, clip_on=False, marker=marker, markersize=4)
    ends = " ".join(f"Seed {one.result.seed} ends at {_end(one)}." for one in curves)
    return canvas.svg(f"Errors over the epochs: {curves[0].result.ablation}", ends, inline=inline)


def _end(run: Run) -> str:
    last = run.metrics.epochs[-1]
    val = "" if last.val_top1_error is None else f", validation error {last.val_top1_error:.1f} %"
    return f"training error {last.train_top1_error:.1f} %{val}"
