"""`data=shapes`, the built-in data set: textured shapes, drawn from a seed as ordinary image files.

Its 20 classes are the pairs of five outlines and four textures, such as `star_striped`. An object appears at any
place, size, tilt and aspect, in two random colors, under light of a random tint and slope, on mottled ground and among
plain distractors. Color, brightness and place do not depend on the class; outline and texture together determine it,
and a flipped image is as likely as its original: what ImageNet asks of a network, in small.

Every image depends on (seed, split, class, number in the class) only. Edges and textures are drawn from signed
distances, in pixels, through a ramp one pixel wide, which is antialiasing without supersampling.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.config.values import ShapesConfig
from alexnet.data.sources.catalog import SPLITS
from alexnet.terminal import progress

VERSION = 1  # counts up when the drawing changes, so that packs of older drawings are not reused
_SIDES = (64, 131)  # width and height of the images, upper end excluded
_RADII = (0.31, 0.44)  # range of an object's radius, in shorter sides of its image
_TILT = 0.6  # the most radians that outlines are turned either way; textures are turned freely
_PERIODS = (0.34, 0.55)  # range of a texture's period, in radii of its object
_RIM = 0.025  # width of an object's rim, in shorter sides of its image
_CONTRASTS = (0.75, 1.0)  # range of the contrast between an object's two colors
_GROUND = (0.25, 0.75)  # range of the ground's colors; white is 1
_TINTS = (0.65, 1.2)  # range of the light's factor on each channel
_DISTRACTORS = (2, 6)
"""Range of the number of distractors behind the object, upper end excluded; one in front in half of the images."""
_PNG_EVERY = 8  # the others are JPEG

Map = npt.NDArray[np.float32]
"""float32 [H, W]: one number for every pixel."""
Rng = np.random.Generator


def draw(folder: Path, config: ShapesConfig, *, show_progress: bool = True) -> None:
    """Write `folder/{train,val,test}/<class>/*.{jpg,png}`, RGB, 64 to 130 pixels a side."""
    counts = (config.train_per_class, config.val_per_class, config.test_per_class)
    with progress("drawing shapes", len(CLASSES) * sum(counts), show=show_progress) as advance:
        for split, count in enumerate(counts):
            for label, name in enumerate(CLASSES):
                directory = folder / SPLITS[split] / name
                directory.mkdir(parents=True)
                for index in range(count):
                    rng = np.random.default_rng([config.seed, split, label, index])
                    image, stem = Image.fromarray(picture(rng, *name.split("_"))), directory / f"{name}_{index:04d}"
                    if index % _PNG_EVERY == 0:
                        image.save(stem.with_suffix(".png"), compress_level=1)
                    else:
                        image.save(stem.with_suffix(".jpg"), quality=90)
                advance(count)


def picture(rng: Rng, outline: str, texture: str) -> npt.NDArray[np.uint8]:
    """Draw one image of a class, uint8 [H, W, 3]."""
    height, width = (int(side) for side in rng.integers(*_SIDES, size=2))
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    a, b = rng.uniform(*_GROUND, size=(2, 3)).astype(np.float32)
    mix = 0.5 * _noise(rng, x.shape, 3) + 0.3 * _noise(rng, x.shape, 8) + 0.2 * _noise(rng, x.shape, 20)
    canvas: npt.NDArray[np.float32] = a + (b - a) * mix[..., None]
    for _ in range(rng.integers(*_DISTRACTORS)):
        _distractor(rng, canvas, x, y, largest=0.17)
    _object(rng, canvas, x, y, outline, texture)
    for _ in range(rng.integers(2)):
        _distractor(rng, canvas, x, y, largest=0.11)
    # The light: a tint, a slope of brightness, and camera noise.
    tint = rng.uniform(*_TINTS, size=3).astype(np.float32)
    u, _ = _turned(rng, x / width - 0.5, y / height - 0.5)
    canvas *= (1 + np.float32(rng.uniform(0, 0.6)) * u)[..., None]
    canvas *= 255 * tint
    canvas += (rng.random(canvas.shape, np.float32) - np.float32(0.5)) * np.float32(rng.uniform(7, 30))
    return canvas.clip(0, 255).astype(np.uint8)


def _object(rng: Rng, canvas: npt.NDArray[np.float32], x: Map, y: Map, outline: str, texture: str) -> None:
    """Draw the object to be recognized, wholly inside the center square, which preparing keeps."""
    side = min(x.shape)
    radius = side * rng.uniform(*_RADII)
    center_x, center_y = (length / 2 + (side / 2 - radius) * rng.uniform(-1, 1) for length in x.shape[::-1])
    squeeze = rng.uniform(0.8, 1.0)
    where = _window(center_x, center_y, radius + 1)
    u, v = _turned(rng, x[where] - center_x, y[where] - center_y, _TILT)
    distance = _OUTLINES[outline](u / radius, v / (radius * squeeze)) * (radius * squeeze)
    # Two colors of which one is clearly darker, in either order.
    dark, bright = rng.uniform(0.05, 0.4, size=3), rng.uniform(0.6, 0.95, size=3)
    contrast, middle = rng.uniform(*_CONTRASTS), (dark + bright) / 2
    pair = np.stack([middle + (dark - middle) * contrast, middle + (bright - middle) * contrast])
    one, other = rng.permutation(pair).astype(np.float32)
    pattern = _pattern(rng, texture, *_turned(rng, x[where], y[where]), radius * rng.uniform(*_PERIODS))
    _paint(canvas[where], one, distance)  # a rim, without which light parts of a texture would dissolve in the ground
    _paint(canvas[where], one + (other - one) * pattern[..., None], distance + _RIM * side)


def _distractor(rng: Rng, canvas: npt.NDArray[np.float32], x: Map, y: Map, largest: float) -> None:
    """Draw a plain bar, blob or ring, its half axes up to `largest` of the image's shorter side."""
    center_x, center_y = rng.uniform(0, x.shape[1]), rng.uniform(0, x.shape[0])
    a, b = (min(x.shape) * rng.uniform(0.04, largest) for _ in range(2))
    where = _window(center_x, center_y, a + b + 4)
    u, v = _turned(rng, x[where] - center_x, y[where] - center_y)
    bar = rng.random() < 0.5
    distance = np.maximum(np.abs(u) - a, np.abs(v) - b) if bar else (np.hypot(u / a, v / b) - 1) * min(a, b)
    if rng.random() < 0.3:
        distance = np.abs(distance) - rng.uniform(1, 3)
    _paint(canvas[where], rng.uniform(0.1, 0.9, size=3).astype(np.float32), distance)


def _window(x: float, y: float, reach: float) -> tuple[slice, slice]:
    """The part of the image within `reach` of a point; the rest need not be computed."""
    rows, columns = (slice(max(0, int(at - reach)), int(at + reach) + 1) for at in (y, x))
    return rows, columns


def _paint(canvas: npt.NDArray[np.float32], color: npt.NDArray[np.float32], distance: Map) -> None:
    """Paint the canvas where the signed distance, in pixels, is negative."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    canvas += (color - canvas) * cover


def _noise(rng: Rng, shape: tuple[int, ...], cells: int) -> Map:
    """Draw smooth noise from 0 to 1 with about `cells` cells along each side."""
    grid = Image.fromarray(rng.random((cells, cells), np.float32))
    return np.asarray(grid.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)).clip(0, 1)


def _turned(rng: Rng, x: Map, y: Map, most: float = np.pi) -> tuple[Map, Map]:
    """Turn coordinates by a random angle, in radians up to `most` either way."""
    angle = rng.uniform(-most, most)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * c + y * s, y * c - x * s


def _polygon(corners: npt.NDArray[np.float64]) -> Callable[[Map, Map], Map]:
    """Signed distance to a polygon, corners [n, 2] in order, negative inside."""

    def distance(x: Map, y: Map) -> Map:
        nearest = np.full(x.shape, np.inf, np.float32)
        inside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
            ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
            along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
            np.minimum(nearest, (px - ex * along) ** 2 + (py - ey * along) ** 2, out=nearest)
            inside ^= ((ay <= y) != (by <= y)) & ((px * ey - py * ex > 0) == (ey > 0))
        return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(nearest)

    return distance


def _regular(corners: int, inner: float = 1.0, turn: float = 0.0) -> npt.NDArray[np.float64]:
    """Place corners on the unit circle, the first at the top, or `turn` radians from it.

    With `inner` below 1, a star with as many corners again on the circle of that radius.
    """
    points = corners if inner == 1 else 2 * corners
    angles = turn - np.pi / 2 + np.arange(points) * (2 * np.pi / points)
    radii = np.where(np.arange(points) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _cross(arm: float) -> npt.NDArray[np.float64]:
    """A cross with arms twice `arm` wide, its tips on the unit circle."""
    tip = np.sqrt(1 - arm * arm)
    right = np.array([[tip, -arm], [tip, arm], [arm, arm]])
    above = right[:, ::-1] * [-1, 1]
    return np.concatenate([right, above, -right, -above])


def _pattern(rng: Rng, texture: str, u: Map, v: Map, period: float) -> Map:
    """Draw a chessboard, round dots on a square grid, irregular patches, or stripes as wide as the gaps between them.

    From 0 to 1: how much of the object's second color a pixel has.
    """
    if texture == "checked":
        a, b = _stripes(u, 1.4 * period), _stripes(v, 1.4 * period)
        return a + b - 2 * a * b
    if texture == "striped":
        return _stripes(u, period)
    if texture == "dotted":
        dots: Map = np.clip(0.5 + 0.3 * period - np.hypot(_to_middle(u, period), _to_middle(v, period)), 0, 1)
        return dots
    cells = max(4, round(1.6 * max(u.shape) / period))
    patches: Map = np.clip(0.5 + 4 * (_noise(rng, u.shape, cells) - 0.5), 0, 1)
    return patches


def _stripes(u: Map, period: float) -> Map:
    return np.clip(0.5 + period / 4 - np.abs(_to_middle(u, period)), 0, 1)


def _to_middle(u: Map, period: float) -> Map:
    """Distance, in pixels and signed, to the middle of the period that a pixel lies in."""
    to_middle: Map = np.mod(u, np.float32(period)) - np.float32(period / 2)
    return to_middle


_OUTLINES: dict[str, Callable[[Map, Map], Map]] = {
    "cross": _polygon(_cross(0.32)),
    "disc": lambda x, y: np.hypot(x, y) - 1,
    "square": _polygon(_regular(4, turn=np.pi / 4)),
    "star": _polygon(_regular(5, inner=0.45)),
    "triangle": _polygon(_regular(3)),
}
_TEXTURES = ("checked", "dotted", "mottled", "striped")
CLASSES = tuple(f"{outline}_{texture}" for outline in _OUTLINES for texture in _TEXTURES)
"""In the order of their numbers, which is that of their folders' names."""
