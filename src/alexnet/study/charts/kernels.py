"""The kernels of the first layer as pictures, and how much each column cares about colour."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.first_layer import FirstLayer, read_first_layer
from alexnet.study.charts.element import Child, Markup, element, header_row, scrolling
from alexnet.study.charts.words import code, signed
from alexnet.study.selectivity import ColumnContrast, color_selectivity, column_contrast
from alexnet.study.wording import shown_p

MOST_BYTES = 1_000_000
"""Of all pictures of kernels on a page; the figures of the runs beyond are in the table all the same."""
COLUMN_NAMES = "ab"


@dataclass(frozen=True, kw_only=True)
class RunKernels:
    """A run and its first layer, or why there is none."""

    run: Run
    layer: FirstLayer | None = None
    contrast: ColumnContrast | None = None
    """None also where there are no two columns to compare."""
    problem: str | None = None


class Budget:
    """How many bytes of pictures may still be put on a page."""

    def __init__(self, left: int = MOST_BYTES) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """Whether `size` bytes still fit; they count from then on."""
        if size > self.left:
            return False
        self.left -= size
        return True


def read_kernels(runs: Iterable[Run]) -> list[RunKernels]:
    """The first layers of the finished runs among `runs`."""
    return [_read(run) for run in runs if run.finished]


def _read(run: Run) -> RunKernels:
    try:
        layer = read_first_layer(run.directory)
    except UserError as error:
        return RunKernels(run=run, problem=str(error))
    return RunKernels(run=run, layer=layer, contrast=column_contrast(layer))


def kernels_section(kernels: Sequence[RunKernels], budget: Budget) -> list[Child]:
    """Pictures of one run of each ablation, a table of all, and the files that are missing."""
    found = [one for one in kernels if one.layer]
    problems = [one for one in kernels if one.problem]
    first = {one.run.result.ablation: one for one in reversed(found)}
    shown = [picture for one in found if first[one.run.result.ablation] is one for picture in [_pictures(one, budget)]]
    pictures = [picture for picture in shown if picture]
    parts: list[Child] = [_reading()] if found else [element("p", "No run has left its first layer.")]
    if pictures:
        parts.append(element("div", pictures, class_="kernels"))
    if len(pictures) < len(shown):
        parts.append(element("p", "Further pictures are left out, to keep this page small."))
    return [*parts, _table(found) if found else None, _missing(problems)]


def _reading() -> Markup:
    return element(
        "p",
        "Section 6.1 of the paper: the kernels of one column become largely colour-agnostic, those of the other "
        "largely colour-specific, in every run. Colour selectivity is the share of a kernel's "
        "energy that is not along grey: 0 sees brightness alone, 1 sees colour alone, random weights have 0.67. "
        "p: how often a random split of the kernels into two columns differs by as much; which column is which "
        "is arbitrary. Pictures: the first seed of each ablation, each kernel on its own scale around mid-grey.",
        class_="prose",
    )


def _pictures(one: RunKernels, budget: Budget) -> Markup | None:
    """One run's columns side by side, unless they no longer fit."""
    assert one.layer is not None
    columns = one.layer.by_column()
    files = [png(sheet(column)) for column in columns]
    if not budget.take(sum(map(len, files))):
        return None
    result = one.run.result
    images = []
    for index, (column, file) in enumerate(zip(columns, files, strict=True)):
        height, width = sheet(column).shape[:2]
        label = f"Column {COLUMN_NAMES[index]}" if len(columns) == 2 else "All kernels"
        mean = _mean(color_selectivity(column))
        images.append(
            element(
                "figure",
                element(
                    "img",
                    src=f"data:image/png;base64,{base64.b64encode(file).decode()}",
                    alt=f"{len(column)} kernels of {column.shape[2]} by {column.shape[3]} pixels",
                    width=width,
                    height=height,
                ),
                element("figcaption", f"{label}: colour selectivity {mean}"),
            )
        )
    heading = element("h4", code(result.ablation), f" seed {result.seed}", _contrast(one.contrast))
    return element("div", heading, element("div", images, class_="columns"), class_="net")


def _contrast(compared: ColumnContrast | None) -> Markup | None:
    if compared is None:
        return None
    words = f"b \N{MINUS SIGN} a: {signed(compared.difference)}, p {shown_p(compared.p)}"
    return element("span", words, class_="contrast")


def sheet(kernels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Kernels [maps, 3, k, k] side by side as one picture [height, width, 4]: red, green, blue, opacity.

    Each kernel has its own scale, 0 as mid-grey and its largest weight at the end of the range; the gaps between
    kernels, one pixel wide, are transparent.
    """
    maps = len(kernels)
    across = next((count for count in range(12, 5, -1) if maps % count == 0), 8)
    peaks = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = 0.5 + 0.5 * kernels / np.where(peaks > 0, peaks, 1)
    return tiles(np.round(255 * scaled).astype(np.uint8).transpose(0, 2, 3, 1), across)


def tiles(squares: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """Squares of colour [n, k, k, 3] in rows of `across`, as one picture [height, width, 4] with transparent gaps."""
    count, side, _, _ = squares.shape
    across = min(count, across)
    step = side + 1
    picture = np.zeros((math.ceil(count / across) * step - 1, across * step - 1, 4), dtype=np.uint8)
    for index, square in enumerate(squares):
        top, left = step * (index // across), step * (index % across)
        picture[top : top + side, left : left + side, :3] = square
        picture[top : top + side, left : left + side, 3] = 255
    return picture


def png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of a picture [height, width, 4]."""
    file = io.BytesIO()
    Image.fromarray(picture, "RGBA").save(file, "PNG", optimize=True)
    return file.getvalue()


def _mean(values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    return f"{known.mean():.3f}" if len(known) else "unknown"


def _table(found: Sequence[RunKernels]) -> Markup:
    headers = ("Ablation", "Seed", "Kernels", "Column a", "Column b", "b \N{MINUS SIGN} a", "p")
    body = [element("tr", _cells(one)) for one in found]
    table = element("table", element("thead", header_row(headers)), element("tbody", body))
    summary = element("summary", "Mean colour selectivity of every run in figures")
    return element("details", summary, scrolling(table, label="Colour selectivity"))


def _cells(one: RunKernels) -> list[Markup]:
    assert one.layer is not None
    means = [_mean(color_selectivity(column)) for column in one.layer.by_column()]
    figures = [str(one.run.result.seed), str(len(one.layer.kernels)), *means]
    figures += [signed(one.contrast.difference), shown_p(one.contrast.p)] if one.contrast else []
    figures += [""] * (6 - len(figures))
    name = element("th", code(one.run.result.ablation), scope="row")
    return [name, *(element("td", figure, class_="number") for figure in figures)]


def _missing(problems: Sequence[RunKernels]) -> Markup | None:
    lines = [element("li", code(one.run.result.run), ": ", element("bdi", one.problem)) for one in problems]
    summary = element("summary", f"{len(lines)} finished {'run' if len(lines) == 1 else 'runs'} without a first layer")
    return element("details", summary, element("ul", lines, class_="problems")) if lines else None
