"""The paper's Figure 3: the kernels of the first layer, and how much each column cares about colour."""

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.first_layer import FirstLayer
from alexnet.study.charts.drawing import drawing, embedded, words
from alexnet.study.charts.element import Markup, element
from alexnet.study.charts.kernels import COLUMN_NAMES, png, tiles
from alexnet.study.charts.words import signed
from alexnet.study.selectivity import color_selectivity, column_contrast
from alexnet.study.wording import shown_p

ACROSS = 16
"""Kernels in a row, as in the authors' plotting tool: the paper's 48 of a column are three rows."""
ENLARGED = 44
"""Side of a kernel in the picture, pixels."""
HEAD = 26
GAP = 22


def draw(layer: FirstLayer, title: str) -> str:
    """An SVG document with a block for each column.

    One scale for all kernels, from the smallest to the largest weight of all of them, as in the authors' tool: how
    strong a kernel is shows.
    """
    blocks, top, widest = [], float(HEAD), 0.0
    for name, column, squares in zip(COLUMN_NAMES, layer.by_column(), _by_column(layer), strict=False):
        label = f"Column {name}" if layer.columns > 1 else "One column"
        picture = tiles(squares, ACROSS)
        scale = ENLARGED / column.shape[2]
        height, width = (scale * side for side in picture.shape[:2])
        selectivity = color_selectivity(column)
        known = selectivity[~np.isnan(selectivity)]
        mean = f"mean colour selectivity {known.mean():.3f}" if len(known) else "all kernels are zero"
        line = f"{label}: {len(column)} kernels, {mean}"
        blocks.append(words(line, 0, top + 14, "name"))
        image = embedded(
            png(picture), "image/png", x=0, y=top + HEAD, width=width, height=height, label=line, crisp=True
        )
        blocks.append(image)
        top += HEAD + height + GAP
        widest = max(widest, width)
    foot = _contrast(layer, top)
    return drawing(
        title,
        element("g", words(title, 0, 12, "panel"), blocks, foot),
        width=max(widest, 420.0),
        height=top + (0 if foot else -GAP),
    )


def _by_column(layer: FirstLayer) -> list[NDArray[np.uint8]]:
    """The kernels as colours, uint8 [maps, k, k, 3] a column."""
    low, high = float(layer.kernels.min()), float(layer.kernels.max())
    scaled = (layer.kernels - low) / (high - low) if high > low else np.full_like(layer.kernels, 0.5)
    colors = np.round(255 * scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.split(colors, layer.columns)


def _contrast(layer: FirstLayer, top: float) -> Markup | None:
    compared = column_contrast(layer)
    if compared is None:
        return None
    line = f"Selectivity of b minus that of a: {signed(compared.difference)}, permutation p {shown_p(compared.p)}"
    return words(line, 0, top, "muted")
