"""Pictures that cost a program what photographs of ImageNet cost it, drawn from a seed: rehearsals without ImageNet.

Each picture is a piece of a large texture, mirrored or not, in tinted light, as a JPEG. Textures are noise with a
spectrum that falls with the frequency, as that of photographs does, under discs of it that hide each other (edges, as
in the dead leaves model), and the noise of a camera. Texture and tint say what the class is, so a net can learn it.

Sizes, qualities and subsampling follow 100 photographs of ImageNet, one of each of 100 classes: the median is 500 x 375
and 94 kB, most are 4:4:4 at a quality near 95, a third 4:2:0, one in twelve grey. Sides above 1,024 are not drawn.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import simplejpeg

TEXTURES = 40
"""So many are drawn, or one for each class where there are fewer classes: 3 MiB each."""
_SIDE = 1024
_LUMA, _CHROMA = 40, 16
"""Standard deviations of a texture's brightness and colours, in grey levels."""
_LEAVES = 120
_USUAL = np.array([(500, 375)] * 5 + [(500, 333)] * 3 + [(375, 500)] * 2 + [(333, 500)])
_P_USUAL, _P_LARGE = 0.6, 0.12
_SMALL, _LARGE = (120, 700), (640, _SIDE)
"""Ranges of the longer side of other pictures, in pixels."""
_P_GREY, _P_420 = 0.08, 0.3
_TINTS, _LIGHTS = (0.7, 1.3), (0.9, 1.1)
"""Ranges of the factors of a channel, for a class and for each picture of it."""

Rng = np.random.Generator
Field = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Texture:
    """uint8 [1024, 1024, 3]."""

    pixels: npt.NDArray[np.uint8]


def texture(seed: int, number: int) -> Texture:
    """One of the textures of a seed, in about 0.3 s."""
    rng = np.random.default_rng([seed, 0, number])
    turn, squeeze, fall = rng.uniform(0, np.pi), rng.uniform(1, 3), rng.uniform(1.0, 1.4)
    directions = rng.normal(size=(2, 3))
    directions -= directions.mean(1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ground = _LUMA * _noise(rng, fall, turn, squeeze)[..., None]
    for direction in directions.astype(np.float32):
        ground = ground + _CHROMA * direction * _noise(rng, 1.5, turn, squeeze)[..., None]
    picture = _leaves(rng, ground) + rng.normal(0, rng.uniform(1, 6), (_SIDE, _SIDE, 1)).astype(np.float32)
    return Texture((picture + 118).clip(0, 255).astype(np.uint8))


def _noise(rng: Rng, fall: float, turn: float, squeeze: float) -> Field:
    """float32 [1024, 1024] of unit variance: amplitudes fall with this power of the frequency, slower across `turn`."""
    y = np.fft.fftfreq(_SIDE, 1 / _SIDE).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(_SIDE, 1 / _SIDE).astype(np.float32)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    frequency = np.hypot(x * c + y * s, (y * c - x * s) * np.float32(squeeze)) + 1
    phase = rng.random(frequency.shape, np.float32) * np.float32(2 * np.pi)
    field = scipy.fft.irfft2(np.exp(1j * phase) / frequency ** np.float32(fall), (_SIDE, _SIDE))
    normed: Field = (field / field.std()).astype(np.float32)
    return normed


def _leaves(rng: Rng, ground: Field) -> Field:
    """Discs of other places of the ground, dimmer and in other colours, laid over it."""
    picture = ground.copy()
    for _ in range(_LEAVES):
        radius = int(min(15 * rng.random() ** -0.6, 250))
        y, x = rng.integers(0, _SIDE - 2 * radius, (2, 2))
        rows, columns = np.mgrid[-radius:radius, -radius:radius]
        inside = (rows * rows + columns * columns < radius * radius)[..., None]
        leaf = ground[y[0] :, x[0] :][: 2 * radius, : 2 * radius] * np.float32(rng.uniform(0.3, 1))
        place = picture[y[1] :, x[1] :][: 2 * radius, : 2 * radius]
        place[...] = np.where(inside, leaf + rng.normal(0, 30, 3).astype(np.float32), place)
    return picture


def picture(textures: list[Texture], seed: int, split: int, label: int, number: int) -> bytes:
    """Picture `number` of a class in a split, a JPEG; it depends on these numbers only."""
    tint = np.random.default_rng([seed, 1, label]).uniform(*_TINTS, 3)
    rng = np.random.default_rng([seed, 2, split, label, number])
    width, height = _size(rng)
    y, x = rng.integers(0, _SIDE - height + 1), rng.integers(0, _SIDE - width + 1)
    piece = textures[label % len(textures)].pixels[y : y + height, x : x + width]
    return _encoded(rng, _lit(piece[:, ::-1] if rng.random() < 0.5 else piece, tint * rng.uniform(*_LIGHTS, 3)))


def _size(rng: Rng) -> tuple[int, int]:
    """Width and height in pixels."""
    kind = rng.random()
    if kind < _P_USUAL:
        width, height = rng.choice(_USUAL)
        return int(width), int(height)
    long = np.exp(rng.uniform(*np.log(_LARGE if kind > 1 - _P_LARGE else _SMALL)))
    short = long * rng.uniform(0.6, 1)
    return (int(long), int(short)) if rng.random() < 0.7 else (int(short), int(long))


def _lit(piece: npt.NDArray[np.uint8], light: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Each channel times a factor: by tables, which is the quickest way for bytes."""
    tables = (np.arange(256) * light[:, None]).clip(0, 255).astype(np.uint8)
    out = np.empty(piece.shape, np.uint8)
    for channel, table in enumerate(tables):
        np.take(table, piece[..., channel], out=out[..., channel])
    return out


def _encoded(rng: Rng, pixels: npt.NDArray[np.uint8]) -> bytes:
    kind = rng.random()
    if kind < _P_GREY:
        grey = np.ascontiguousarray(pixels[..., 1:2])
        jpeg = simplejpeg.encode_jpeg(grey, int(rng.integers(75, 97)), "GRAY", "Gray")
    elif kind < _P_GREY + _P_420:
        jpeg = simplejpeg.encode_jpeg(pixels, int(rng.integers(75, 94)), "RGB", "420")
    else:
        jpeg = simplejpeg.encode_jpeg(pixels, int(rng.integers(90, 97)), "RGB", "444")
    return bytes(jpeg)
