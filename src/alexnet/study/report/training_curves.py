"""Training error against epochs as SVG, drawn as in the paper's Figure 1: ReLU solid, tanh dashed."""

from collections.abc import Sequence
from html import escape
from math import ceil

from alexnet.study.paper.fitting import Network

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 16, 48
"""Margins around the axes, pixels."""
DASHES = {"relu": "none", "tanh": "9 6", "sigmoid": "2 4", "abs_tanh": "9 4 2 4"}
STYLE = (
    "text{font:13px sans-serif;fill:#222}.axis{stroke:#222;fill:none}.target{stroke:#999}"
    ".mean{stroke:#000;fill:none;stroke-width:2}.seed{stroke:#000;fill:none;opacity:.25}"
)


class _Axes:
    """Epochs and errors to pixels."""

    def __init__(self, nets: Sequence[Network]) -> None:
        curves = [run.errors for net in nets for run in net.runs]
        self.epochs = max(len(errors) for errors in curves)
        self.error = 10 * ceil(max(max(errors) for errors in curves) / 10) or 10
        """The highest error on the axis, percent."""

    def x(self, epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / self.epochs

    def y(self, error: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - error / self.error)


def draw(nets: Sequence[Network], target: float) -> str:
    """An SVG document: each network's mean over seeds, its seeds faintly behind it, and the target as a line."""
    axes = _Axes(nets)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Training error against epochs</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_frame(axes, target),
    ]
    for row, net in enumerate(nets):
        parts += [*_curves(axes, net), *_legend(net, row)]
    return "\n".join([*parts, "</svg>", ""])


def _frame(axes: _Axes, target: float) -> list[str]:
    left, right, bottom, top = axes.x(0), axes.x(axes.epochs), axes.y(0), axes.y(axes.error)
    epochs = range(0, axes.epochs + 1, ceil(axes.epochs / 8))
    return [
        f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>',
        f'<path class="target" d="M{left} {axes.y(target):.1f}H{right}"/>',
        f'<text x="{(left + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">Epochs</text>',
        f'<text transform="translate(16 {(top + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        "Training error, %</text>",
        *(f'<text x="{axes.x(n):.1f}" y="{bottom + 18}" text-anchor="middle">{n}</text>' for n in epochs),
        *(
            f'<text x="{left - 8}" y="{axes.y(error) + 4:.1f}" text-anchor="end">{error}</text>'
            for error in range(0, axes.error + 1, 10)
        ),
    ]


def _curves(axes: _Axes, net: Network) -> list[str]:
    curves = [run.errors for run in net.runs]
    # As far as every seed goes: beyond, the mean would jump where a seed ends.
    mean = [sum(errors) / len(errors) for errors in zip(*curves, strict=False)]
    lines = [(errors, "seed") for errors in curves if len(curves) > 1] + [(mean, "mean")]
    return [_line(axes, errors, kind, DASHES[net.activation]) for errors, kind in lines]


def _line(axes: _Axes, errors: Sequence[float], kind: str, dashes: str) -> str:
    points = " ".join(f"{axes.x(epoch):.1f},{axes.y(error):.1f}" for epoch, error in enumerate(errors, start=1))
    return f'<polyline class="{kind}" stroke-dasharray="{dashes}" points="{points}"/>'


def _legend(net: Network, row: int) -> list[str]:
    x, y = WIDTH - RIGHT - 190, TOP + 16 + 20 * row
    return [
        f'<path class="mean" stroke-dasharray="{DASHES[net.activation]}" d="M{x} {y - 4}h36"/>',
        f'<text x="{x + 44}" y="{y}">{escape(net.activation)}, rate {net.rate:g}</text>',
    ]
