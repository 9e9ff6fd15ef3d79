"""Training and validation errors over the epochs: one small chart for each ablation, with all its seeds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alexnet.runs.collect import Run
from alexnet.runs.metrics import EpochRecord, Metrics, read_metrics
from alexnet.runs.result import BASELINE
from alexnet.study.charts.axis import Axis
from alexnet.study.charts.element import Child, Markup, element, header_row, scrolling
from alexnet.study.charts.words import code

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 12, 42
MOST_POINTS = 300
"""Points of a curve: more would fall on the same pixels."""


@dataclass(frozen=True, kw_only=True)
class RunCurve:
    """A run and what its `metrics.csv` says."""

    run: Run
    metrics: Metrics


def read_curves(runs: Iterable[Run]) -> list[RunCurve]:
    """The curves of the runs, in their order."""
    return [RunCurve(run=run, metrics=read_metrics(run.directory)) for run in runs]


def curves_section(curves: Sequence[RunCurve], *, name: str) -> list[Child]:
    """Charts, what could not be read, and the end of every curve in figures; `name` makes ids unique."""
    drawn = [curve for curve in curves if curve.metrics.epochs]
    by_ablation: dict[str, list[RunCurve]] = defaultdict(list)
    for curve in drawn:
        by_ablation[curve.run.result.ablation].append(curve)
    if not drawn:
        return [element("p", "No run has left curves."), _problems(curves)]
    x, y = _axes(drawn)
    behind = by_ablation.get(BASELINE, [])
    charts = [
        _figure(ablation, those, [] if ablation == BASELINE else behind, x, y, name=f"{name}-{index}")
        for index, (ablation, those) in enumerate(by_ablation.items())
    ]
    return [_legend(), element("div", charts, class_="charts"), _problems(curves), _table(drawn)]


def _axes(curves: Sequence[RunCurve]) -> tuple[Axis, Axis]:
    """The same for all charts, so that they can be compared."""
    epochs = [epoch for curve in curves for epoch in curve.metrics.epochs]
    errors = [
        error for epoch in epochs for error in (epoch.train_top1_error, epoch.val_top1_error) if error is not None
    ]
    # An epoch's errors belong to its end; room for a single epoch and for a flat line.
    low, high = max(min(errors) - 2, 0), min(max(errors) + 2, 100)
    return (
        Axis(low=0, high=max(epoch.epoch for epoch in epochs) + 1, start=LEFT, end=WIDTH - RIGHT),
        Axis(low=low, high=max(high, low + 1), start=HEIGHT - BOTTOM, end=TOP),
    )


def _figure(
    ablation: str, curves: Sequence[RunCurve], behind: Sequence[RunCurve], x: Axis, y: Axis, *, name: str
) -> Markup:
    caption = "baseline" if ablation == BASELINE else ablation
    seeds = ", ".join(str(curve.run.result.seed) for curve in curves)
    chart = element(
        "svg",
        element("title", f"Errors over the epochs: {caption}", id=f"{name}-title"),
        element("desc", _description(curves), id=f"{name}-text"),
        _frame(x, y),
        [_drop(epoch, x) for epoch in sorted({drop for curve in curves for drop in curve.metrics.lr_drops})],
        [_curve(curve.metrics.epochs, "val_top1_error", "curve behind", x, y) for curve in behind],
        [_curve(curve.metrics.epochs, "train_top1_error", "curve train", x, y) for curve in curves],
        [_curve(curve.metrics.epochs, "val_top1_error", "curve val", x, y) for curve in curves],
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title {name}-text",
    )
    counted = f" seed{'' if len(curves) == 1 else 's'} {seeds}"
    return element("figure", element("figcaption", code(caption), counted), chart)


def _description(curves: Sequence[RunCurve]) -> str:
    return " ".join(f"Seed {curve.run.result.seed} ends at {_end(curve.metrics.epochs[-1])}." for curve in curves)


def _end(epoch: EpochRecord) -> str:
    val = "" if epoch.val_top1_error is None else f", validation error {epoch.val_top1_error:.1f} %"
    return f"training error {epoch.train_top1_error:.1f} %{val}"


def _frame(x: Axis, y: Axis) -> list[Markup]:
    rows = [(f"{tick:g}", y.at(tick)) for tick in y.ticks(5)]
    grid = [element("line", x1=x.start, y1=at, x2=x.end, y2=at, class_="grid") for _, at in rows]
    errors = [element("text", words, x=x.start - 7, y=at + 4, class_="tick", text_anchor="end") for words, at in rows]
    epochs = [
        element("text", f"{tick:g}", x=x.at(tick), y=y.start + 16, class_="tick", text_anchor="middle")
        for tick in x.ticks(6)
        if tick == round(tick)
    ]
    base = element("line", x1=x.start, y1=y.start, x2=x.end, y2=y.start, class_="base")
    middle = (x.start + x.end) / 2
    title = element("text", "epochs", x=middle, y=HEIGHT - 8, class_="tick", text_anchor="middle")
    return [*grid, *errors, *epochs, base, title]


def _drop(epoch: int, x: Axis) -> Markup:
    """A vertical line where the rate fell: at the start of an epoch, which is the end of the one before."""
    at = x.at(epoch)
    mark = element("path", d=f"M{at:.1f} {TOP}l-4 -8h8z", class_="drop-mark")
    return element("g", element("line", x1=at, y1=TOP, x2=at, y2=HEIGHT - BOTTOM, class_="drop"), mark)


def _curve(epochs: Sequence[EpochRecord], error: str, kind: str, x: Axis, y: Axis) -> Markup | None:
    """A line through the ends of the epochs; a single epoch is a dot, as a line of no length with round ends."""
    known = [(epoch.epoch + 1, value) for epoch in epochs if (value := getattr(epoch, error)) is not None]
    step = -(-len(known) // MOST_POINTS)
    shown = [*known[:: step or 1], *known[-1:]]
    points = " ".join(f"{x.at(at):.1f},{y.at(value):.1f}" for at, value in shown)
    return element("polyline", points=points, class_=kind) if known else None


def _legend() -> Markup:
    entries = {
        "val": "validation, centre crop",
        "train": "training, augmented crops",
        "behind": "the baseline's validation",
    }
    items: list[Child] = [_legend_item(_sample(kind), words) for kind, words in entries.items()]
    drop = element("path", d="M13 3l-4 -3h8z", class_="drop-mark")
    line = element("line", x1=13, y1=3, x2=13, y2=14, class_="drop")
    items.append(_legend_item([drop, line], "learning rate changes"))
    return element("ul", items, class_="legend")


def _sample(kind: str) -> Markup:
    return element("line", x1=1, y1=7, x2=25, y2=7, class_=f"curve {kind}")


def _legend_item(sample: Child, words: str) -> Markup:
    drawing = element("svg", sample, class_="chart", viewBox="0 0 26 14", width=26, height=14, aria_hidden="true")
    return element("li", drawing, f" {words}")


def _problems(curves: Sequence[RunCurve]) -> Markup | None:
    lines = [
        element("li", code(curve.run.result.run), f": {curve.metrics.problem}")
        for curve in curves
        if curve.metrics.problem
    ]
    return element("ul", lines, class_="problems") if lines else None


def _table(curves: Sequence[RunCurve]) -> Markup:
    headers = ("Run", "Epochs", "Last training error, %", "Last validation error, %", "Lowest validation error, %")
    body = [element("tr", _cells(curve)) for curve in curves]
    table = element("table", element("thead", header_row(headers)), element("tbody", body))
    summary = element("summary", "The ends of the curves in figures")
    return element("details", summary, scrolling(table, label="Ends of the curves"))


def _cells(curve: RunCurve) -> list[Markup]:
    epochs = curve.metrics.epochs
    known: Mapping[int, float] = {
        epoch.epoch: epoch.val_top1_error for epoch in epochs if epoch.val_top1_error is not None
    }
    last = epochs[-1]
    lowest = min(known, key=lambda epoch: known[epoch], default=None)
    figures = (
        str(len(epochs)),
        f"{last.train_top1_error:.2f}",
        "" if last.val_top1_error is None else f"{last.val_top1_error:.2f}",
        "" if lowest is None else f"{known[lowest]:.2f} after {lowest + 1}",
    )
    name = element("th", code(curve.run.result.run), scope="row")
    return [name, *(element("td", figure, class_="number") for figure in figures)]
