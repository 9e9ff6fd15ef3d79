"""The paper's Figure 4: images with the five most probable classes, and images with their nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet.study.charts.drawing import drawing, photograph, shortened, words
from alexnet.study.charts.element import Markup, element
from alexnet.study.charts.palette import COLORS

ACROSS = 4
SIDE = 168
"""Of an image in the left panel, pixels."""
CELL = SIDE + 24
BAR = 21
SMALL_SIDE = 96
"""Of an image in the right panel."""
SMALL_CELL = SMALL_SIDE + 8
CAPTION = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedImage:
    """An image and what a net makes of it."""

    image: NDArray[np.uint8]
    """[S, S, 3]."""
    caption: str = ""
    """Written under it where its true class is not known."""
    guesses: Sequence[tuple[str, float]]
    """Class and probability, most probable first."""
    truth: str | None = None
    """The true class where it is known; written under the image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """An image and its nearest neighbours, each with its class."""

    query: tuple[NDArray[np.uint8], str]
    neighbours: Sequence[tuple[NDArray[np.uint8], str]]


def draw_guesses(shown: Sequence[PredictedImage], title: str) -> str:
    """An SVG document of images, four in a row, with a bar for each of their most probable classes."""
    height = SIDE + CAPTION + 8 + BAR * max((len(one.guesses) for one in shown), default=0) + 20
    cells = [
        element("g", _cell(one), transform=f"translate({CELL * (place % ACROSS)} {28 + height * (place // ACROSS)})")
        for place, one in enumerate(shown)
    ]
    rows = -(-len(shown) // ACROSS)
    return drawing(
        title, [words(title, 0, 12, "panel"), *cells], width=CELL * ACROSS - 24, height=28 + height * rows - 20
    )


def first_synonym(name: str) -> str:
    """`Siamese cat` of `Siamese cat, Siamese`; two classes may share it."""
    return name.partition(",")[0]


def _cell(one: PredictedImage) -> list[Markup]:
    label = first_synonym(one.truth) if one.truth else one.caption
    caption = words(shortened(label, 24), SIDE / 2, SIDE + 15, "name", anchor="middle")
    bars = [
        element("g", _bar(name, probability, right=name == one.truth), transform=f"translate(0 {y})")
        for (name, probability), y in zip(one.guesses, range(SIDE + CAPTION + 8, 10_000, BAR), strict=False)
    ]
    return [photograph(one.image, x=0, y=0, side=SIDE, label=label), caption, *bars]


def _bar(name: str, probability: float, *, right: bool) -> list[Markup]:
    color = COLORS["claim" if right else "ours"][0]
    return [
        element("rect", width=float(SIDE), height=BAR - 3, fill=COLORS["sheet"][0]),
        element("rect", width=SIDE * float(probability), height=BAR - 3, fill=color, fill_opacity=0.45),
        words(shortened(first_synonym(name), 19), 4, BAR - 8, ""),
        words(f"{100 * probability:.0f} %", SIDE - 4, BAR - 8, "tick", anchor="end"),
    ]


def draw_neighbours(rows: Sequence[Neighbourhood], title: str) -> str:
    """An SVG document with a row for each query: itself, a gap, and its neighbours, the nearest first."""
    most = max(len(row.neighbours) for row in rows)
    drawn = [words(title, 0, 12, "panel")]
    for number, row in enumerate(rows):
        top = 28.0 + number * (SMALL_CELL + CAPTION)
        places = [0.0, *(SMALL_CELL * place + 24.0 for place in range(1, most + 1))]
        for (image, name), left in zip([row.query, *row.neighbours], places, strict=False):
            drawn.append(photograph(image, x=left, y=top, side=SMALL_SIDE, label=name))
            style = "name" if name == row.query[1] else "muted"
            caption = words(
                shortened(first_synonym(name), 13), left + SMALL_SIDE / 2, top + SMALL_SIDE + 15, style, anchor="middle"
            )
            drawn.append(caption)
    return drawing(
        title,
        drawn,
        width=SMALL_CELL * (most + 1) + 24 - 8,
        height=28 + len(rows) * (SMALL_CELL + CAPTION) - 8,
    )
