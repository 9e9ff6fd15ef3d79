"""Training and validation errors over the epochs: one small chart for each ablation, with all its seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from alexnet.runs.collect import Run
from alexnet.runs.metrics import Metrics, lr_drops
from alexnet.study.charts.canvas import LIGHT, Canvas, drawing


class RunCurve(NamedTuple):
    """A run and the epochs in its `metrics.csv`."""

    run: Run
    metrics: Metrics


@drawing()
def error_chart(
    curves: Sequence[RunCurve], baseline: Sequence[RunCurve], drawn: Sequence[RunCurve], inline: str
) -> str:
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
    plot: list[tuple[Sequence[RunCurve], str, dict[str, Any]]] = [
        (baseline, "val_top1_error", {"color": LIGHT["muted"], "alpha": 0.45, "linewidth": 1.2}),
        (curves, "train_top1_error", {"color": LIGHT["claim"], "linestyle": (0, (3, 2)), "linewidth": 1.8}),
        (curves, "val_top1_error", {"color": LIGHT["ours"], "linewidth": 1.8}),
    ]
    for curve, name, line in ((curve, name, line) for several, name, line in plot for curve in several):
        # An epoch's errors belong to its end; a single epoch is a dot.
        known = {one.epoch + 1: value for one in curve.metrics.epochs if (value := getattr(one, name)) is not None}
        marker = "o" if len(known) == 1 else ""
        axes.plot(list(known), list(known.values()), **line, clip_on=False, marker=marker, markersize=4)
    ends = " ".join(f"Seed {one.run.result.seed} ends at {_end(one)}." for one in curves)
    return canvas.svg(f"Errors over the epochs: {curves[0].run.result.ablation}", ends, inline=inline)


def _end(curve: RunCurve) -> str:
    last = curve.metrics.epochs[-1]
    val = "" if last.val_top1_error is None else f", validation error {last.val_top1_error:.1f} %"
    return f"training error {last.train_top1_error:.1f} %{val}"
