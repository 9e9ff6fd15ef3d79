"""A drawn ImageNet, to rehearse preparing and training at full size without the photographs.

    python benchmarks/synthesize.py TARGET --images N [--val N] [--classes N] [--seed N] [--workers N]

TARGET becomes a folder of class folders or, if its name ends in `.tar`, a tar with one tar per class, as ILSVRC-2012's
training images are published; with validation images these are under `train/` and `val/`. Images depend on the seed,
their class and their number only, not on `--workers`. The target gets its name when it is complete.

Each image is a piece of a large texture, flipped or not, under tinted light, as a JPEG that costs a program what a
photograph of ImageNet costs. Textures are noise whose spectrum falls with the frequency, as in photographs, under discs
that hide each other (edges, as in the dead leaves model), plus camera noise. Texture and tint depend on the class, so a
net can learn it. Sizes, qualities and chroma subsampling follow 100 photographs of ImageNet, one per class: the median
is 500 x 375 and 94 kB, most are 4:4:4 at a quality near 95, a third 4:2:0, one in twelve gray. Sides above 1,024 are
not drawn.
"""

import argparse
import shutil
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.fft
import simplejpeg

from alexnet.data.threads import available_cpus
from alexnet.errors import UserError, one_line_errors
from alexnet.terminal import print_status, progress

TEXTURES = 40
"""Textures of 3 MiB each; fewer where there are fewer classes."""
_SIDE = 1024
_LUMA, _CHROMA = 40, 16
"""Standard deviations of a texture's brightness and colors, in gray levels."""
_LEAVES = 120
_USUAL_SIZES = np.array([(500, 375)] * 5 + [(500, 333)] * 3 + [(375, 500)] * 2 + [(333, 500)])
_P_USUAL, _P_LARGE = 0.6, 0.12
_SMALL, _LARGE = (120, 700), (640, _SIDE)
"""Ranges of the longer side of other images, in pixels."""
_P_GRAY, _P_420 = 0.08, 0.3
_TINTS, _LIGHTS = (0.7, 1.3), (0.9, 1.1)
"""Ranges of the factors of a channel, for a class and for each image of it."""
_CHUNK = 256
"""Images drawn before they are written."""
_MEAN_BYTES = 110_000
_FIRST_ID = 90_000_000
"""Class folders are called n90000000 and so on: like WordNet IDs, but none is one."""

Rng = np.random.Generator
Field = npt.NDArray[np.float32]
Texture = npt.NDArray[np.uint8]
"""uint8 [1024, 1024, 3]."""
Pictures = Iterator[tuple[str, bytes]]
"""File name and contents."""


def synthesize(
    target: Path, *, images: int, classes: int = 1000, val: int = 0, seed: int = 0, workers: int | None = None
) -> None:
    """Write `images` training and `val` validation images, as evenly over the classes as possible.

    Raises:
        UserError: the numbers are impossible, the target exists, or the disk is full.
    """
    _check(target, images, classes, val, seed)
    start = time.perf_counter()
    with ThreadPoolExecutor(workers or available_cpus()) as pool, _new(target) as write:
        textures = list(pool.map(partial(texture, seed), range(min(classes, TEXTURES))))
        splits = {"train/": images, "val/": val} if val else {"": images}
        with progress(f"drawing {target.name}", images + val, show=True) as advance:

            def drawn(split: int, label: int, count: int) -> Pictures:
                draw = partial(picture, textures, seed, split, label)
                for first in range(0, count, _CHUNK):
                    numbers = range(first, min(first + _CHUNK, count))
                    for number, jpeg in zip(numbers, pool.map(draw, numbers), strict=True):
                        yield f"n{_FIRST_ID + label:08d}_{number}.JPEG", jpeg
                        advance(1)

            for split, (folder, total) in enumerate(splits.items()):
                for label in range(min(classes, total)):
                    count = len(range(label, total, classes))
                    write(f"{folder}n{_FIRST_ID + label:08d}", drawn(split, label, count))
    seconds = time.perf_counter() - start
    rate = f"{seconds:.1f} s, {(images + val) / seconds:.0f} images/s"
    print_status(f"{target}: {images:,} + {val:,} images of {classes:,} classes, in {rate}", show=True)


def _check(target: Path, images: int, classes: int, val: int, seed: int) -> None:
    if target.suffix in (".zip", ".gz", ".tgz", ".xz", ".bz2", ".zst"):
        raise UserError(f"{target}: only a folder or a plain .tar can be written; give a name without {target.suffix}")
    if target.exists():
        raise UserError(f"{target} exists already; delete it or give another target")
    if images < classes:
        raise UserError(f"images={images}: at least one for each of the {classes} classes is needed")
    if min(classes, val, seed) < 0:
        raise UserError(f"classes={classes}, val={val}, seed={seed}: none can be negative")
    needed = (images + val) * _MEAN_BYTES
    free = shutil.disk_usage(next(folder for folder in target.absolute().parents if folder.exists())).free
    if needed > free:
        raise UserError(f"{target} needs about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free there")


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
    filled: Texture = (picture + 118).clip(0, 255).astype(np.uint8)
    return filled


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
    """Discs of other places of the ground, dimmer and in other colors, laid over it."""
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
    piece = textures[label % len(textures)][y : y + height, x : x + width]
    return _encoded(rng, _lit(piece[:, ::-1] if rng.random() < 0.5 else piece, tint * rng.uniform(*_LIGHTS, 3)))


def _size(rng: Rng) -> tuple[int, int]:
    """Width and height in pixels."""
    kind = rng.random()
    if kind < _P_USUAL:
        width, height = rng.choice(_USUAL_SIZES)
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
    if kind < _P_GRAY:
        gray = np.ascontiguousarray(pixels[..., 1:2])
        jpeg = simplejpeg.encode_jpeg(gray, int(rng.integers(75, 97)), "GRAY", "Gray")
    elif kind < _P_GRAY + _P_420:
        jpeg = simplejpeg.encode_jpeg(pixels, int(rng.integers(75, 94)), "RGB", "420")
    else:
        jpeg = simplejpeg.encode_jpeg(pixels, int(rng.integers(90, 97)), "RGB", "444")
    return bytes(jpeg)


Write = Callable[[str, Pictures], None]
"""Writes the pictures of one class under the name of its folder."""


@contextmanager
def _new(target: Path) -> Iterator[Write]:
    """Written under a temporary name beside the target, and renamed at the end; an error leaves nothing behind."""
    part = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _tar(part) if target.suffix.lower() == ".tar" else nullcontext(partial(_write_folder, part)) as write:
            yield write
        part.rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)


@contextmanager
def _tar(path: Path) -> Iterator[Write]:
    with path.open("xb") as file:
        yield partial(_write_tar, file)
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def _write_folder(root: Path, folder: str, pictures: Pictures) -> None:
    (root / folder).mkdir(parents=True)
    for name, jpeg in pictures:
        (root / folder / name).write_bytes(jpeg)


def _write_tar(file: BinaryIO, folder: str, pictures: Pictures) -> None:
    """A class tar in place; its header in the tar around it is written last, when its length is known."""
    start = file.tell()
    file.write(bytes(tarfile.BLOCKSIZE))
    with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, jpeg in pictures:
            archive.addfile(_member(name, len(jpeg)), BytesIO(jpeg))
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every picture
    end = file.tell()
    file.seek(start)
    file.write(_member(f"{folder}.tar", end - start - tarfile.BLOCKSIZE).tobuf(tarfile.GNU_FORMAT))
    file.seek(end)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder to make, or, with a name in .tar, a tar of class tars")
    parser.add_argument("--images", type=int, required=True, help="images for training")
    parser.add_argument("--val", type=int, default=0, help="images for validation (default 0)")
    parser.add_argument("--classes", type=int, default=1000, help="default 1000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--workers", type=int, default=None, help="threads (default: one per core)")
    with one_line_errors():
        synthesize(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
