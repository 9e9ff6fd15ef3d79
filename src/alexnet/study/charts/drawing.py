"""Pictures with photographs in them, as SVG files that need nothing else."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.study.charts.delta_chart import chart_css
from alexnet.study.charts.element import Child, Markup, element
from alexnet.study.charts.palette import COLORS, with_light_colors

MARGIN = 28
SHARPEST_SIDE = 192
"""Photographs are embedded with at most so many pixels a side, to keep pictures small."""


def drawing(title: str, body: Child, *, width: float, height: float) -> str:
    """An SVG document on light paper; the body is `width` by `height` pixels, the margins come on top."""
    whole = (width + 2 * MARGIN, height + 2 * MARGIN)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + element(
        "svg",
        element("title", title),
        element("style", Markup(with_light_colors(chart_css()))),
        element("rect", width=whole[0], height=whole[1], fill=COLORS["paper"][0]),
        element("g", body, transform=f"translate({MARGIN} {MARGIN})"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {whole[0]:g} {whole[1]:g}",
        width=whole[0],
        height=whole[1],
        class_="chart",
        role="img",
    )


def words(said: str, x: float, y: float, class_: str, *, anchor: str = "start") -> Markup:
    """A line of text."""
    return element("text", said, x=x, y=y, class_=class_, text_anchor=anchor)


def shortened(said: str, characters: int) -> str:
    """At most so many characters, the last one an ellipsis where some are left out."""
    return said if len(said) <= characters else f"{said[: characters - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def photograph(pixels: NDArray[np.uint8], *, x: float, y: float, side: float, label: str) -> Markup:
    """A square of pixels [S, S, 3], embedded."""
    image = Image.fromarray(pixels)
    image.thumbnail((SHARPEST_SIDE, SHARPEST_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, subsampling=0)
    return embedded(file.getvalue(), "image/jpeg", x=x, y=y, width=side, height=side, label=label)


def embedded(
    file: bytes, kind: str, *, x: float, y: float, width: float, height: float, label: str, crisp: bool = False
) -> Markup:
    """An image file of a media type; `crisp` keeps the edges of its pixels when it is enlarged."""
    return element(
        "image",
        href=f"data:{kind};base64,{base64.b64encode(file).decode()}",
        x=x,
        y=y,
        width=width,
        height=height,
        style="image-rendering: pixelated" if crisp else None,
        aria_label=label,
    )
