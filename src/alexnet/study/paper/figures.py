"""The paper's Figures 3 and 4, drawn: kernels, predictions and nearest neighbors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.arrays import FirstLayer
from alexnet.study.charts import Canvas, drawing
from alexnet.study.flags import shown_p
from alexnet.study.kernels import column_contrast, mean_selectivity, tiles
from alexnet.study.wording import signed

MARGIN = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedImage:
    """An image and a net's predictions."""

    image: NDArray[np.uint8]
    """[S, S, 3]."""
    top_predictions: Sequence[tuple[str, float]]
    """Class and probability, most probable first."""
    truth: str | None = None
    """The true class if it is known; written below the image, and its bar has another color."""
    caption: str = ""
    """Written there otherwise."""


@drawing()
def draw_kernels(layer: FirstLayer, title: str) -> str:
    """Draw Figure 3: a block of kernels for each column, and how much each cares about color.

    One scale for all kernels, from the smallest to the largest of all weights, as in the authors' tool: the strength of
    a kernel shows. Rows of 16, also as in their tool: the paper's 48 of a column are three rows.
    """
    low, high = float(layer.kernels.min()), float(layer.kernels.max())
    scaled = (layer.kernels - low) / (high - low) if high > low else np.full_like(layer.kernels, 0.5)
    colors = np.round(255 * scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    sheets = [tiles(squares, 16) for squares in np.split(colors, layer.columns)]
    scale = 44 / layer.kernels.shape[2]
    heights = [26 + scale * sheet.shape[0] + 22 for sheet in sheets]
    compared = column_contrast(layer)
    width = max(420.0, *(scale * sheet.shape[1] for sheet in sheets))
    canvas = Canvas(width + 2 * MARGIN, sum(heights) + 2 * MARGIN + 26 + (0 if compared else -22))
    canvas.text(title, MARGIN, MARGIN + 12, weight="bold")
    top = MARGIN + 26.0
    for name, column, sheet, height in zip("ab", layer.by_column(), sheets, heights, strict=False):
        mean = mean_selectivity(column)
        words = "all kernels are zero" if mean is None else f"mean color selectivity {mean:.3f}"
        label = f"Column {name}" if layer.columns > 1 else "One column"
        canvas.text(f"{label}: {len(column)} kernels, {words}", MARGIN, top + 14, size=14, weight="bold")
        canvas.image(sheet, MARGIN, top + 26, scale * sheet.shape[1], scale * sheet.shape[0])
        top += height
    if compared:
        line = f"Selectivity of b minus that of a: {signed(compared.difference)}, permutation p {shown_p(compared.p)}"
        canvas.text(line, MARGIN, top + 4, color="muted")
    return canvas.svg(title)


@drawing()
def draw_predictions(shown: Sequence[PredictedImage], title: str) -> str:
    """Draw Figure 4, left: images, four in a row, with a bar for each of their most probable classes."""
    side, across, bar = 168, 4, 21
    cell = (side + 24, side + 28 + bar * max((len(one.top_predictions) for one in shown), default=0) + 20)
    rows = -(-len(shown) // across)
    canvas = Canvas(cell[0] * across - 24 + 2 * MARGIN, 28 + cell[1] * rows - 20 + 2 * MARGIN)
    canvas.text(title, MARGIN, MARGIN + 12, weight="bold")
    for place, one in enumerate(shown):
        left = MARGIN + cell[0] * (place % across)
        top = MARGIN + 28.0 + cell[1] * (place // across)
        canvas.photograph(one.image, left, top, side, sharpest=192)
        caption = first_synonym(one.truth) if one.truth else one.caption
        canvas.text(caption, left + side / 2, top + side + 15, size=14, weight="bold", ha="center", most=24)
        for line, (name, probability) in enumerate(one.top_predictions):
            y = top + side + 28 + line * bar
            canvas.rectangle(left, y, side, bar - 3, color="sheet")
            color = "claim" if name == one.truth else "ours"
            canvas.rectangle(left, y, side * float(probability), bar - 3, color=color, alpha=0.45)
            canvas.text(first_synonym(name), left + 4, y + bar - 8, most=19)
            canvas.text(f"{100 * probability:.0f} %", left + side - 4, y + bar - 8, size=12, color="muted", ha="right")
    return canvas.svg(title)


@drawing()
def draw_neighbors(rows: Sequence[Sequence[tuple[NDArray[np.uint8], str]]], title: str) -> str:
    """Draw Figure 4, right: rows of images and classes: a query, a gap, and its neighbors, the nearest first."""
    side, cell, line = 96, 104, 124
    canvas = Canvas(cell * max(map(len, rows)) + 16 + 2 * MARGIN, 20 + len(rows) * line + 2 * MARGIN)
    canvas.text(title, MARGIN, MARGIN + 12, weight="bold")
    for number, row in enumerate(rows):
        top = MARGIN + 28.0 + number * line
        for place, (image, name) in enumerate(row):
            left = MARGIN + cell * place + (24.0 if place else 0)
            canvas.photograph(image, left, top, side, sharpest=128)
            style = {"weight": "bold"} if name == row[0][1] else {"color": "muted"}
            canvas.text(first_synonym(name), left + side / 2, top + side + 15, ha="center", most=13, **style)
    return canvas.svg(title)


def first_synonym(name: str) -> str:
    """Return `Siamese cat` of `Siamese cat, Siamese`; two classes may share it."""
    return name.partition(",")[0]
