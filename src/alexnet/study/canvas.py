"""Drawing basics: matplotlib figures as SVG, and grids of small images.

A figure is a file on light paper, or part of an HTML report, whose colors it then follows. Drawn again with the same
matplotlib it is the same byte for byte.
"""

import base64
import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.errors import printable

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


def kernel_sheet(kernels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Arrange kernels [K, 3, k, k] in one image [height, width, 4]: red, green, blue, opacity.

    Each kernel has its own scale, 0 as middle gray and its largest weight at the end of the range.
    """
    count = len(kernels)
    across = next((number for number in range(12, 5, -1) if count % number == 0), 8)
    peaks = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = 0.5 + 0.5 * kernels / np.where(peaks > 0, peaks, 1)
    return tiles(np.round(255 * scaled).astype(np.uint8).transpose(0, 2, 3, 1), across)


def tiles(squares: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """Arrange squares [n, k, k, 3] in rows of `across`: an image [height, width, 4] with gaps of one clear pixel."""
    count, side, _, _ = squares.shape
    across = min(count, across)
    down, step = math.ceil(count / across), side + 1
    picture = np.zeros((down * across, step, step, 4), dtype=np.uint8)
    picture[:count, :side, :side, :3] = squares
    picture[:count, :side, :side, 3] = 255
    rows = picture.reshape(down, across, step, step, 4).swapaxes(1, 2)
    return rows.reshape(down * step, across * step, 4)[:-1, :-1]


def data_url(picture: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> str:
    """Return an image [height, width, 3 or 4] as an embedded PNG or JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, optimize=True, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
