"""A synthetic ImageNet: what `alexnet synthesize` writes, class folders or a tar of class tars."""

import shutil
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from alexnet.data.progress import progress, say
from alexnet.data.sources.layouts import MIN_CLASSES
from alexnet.data.synthetic import TEXTURES, Texture, picture, texture
from alexnet.data.threads import available_cpus
from alexnet.errors import UserError

_CHUNK = 256
"""So many pictures are drawn before they are written."""
_MEAN_BYTES = 110_000
_FIRST_ID = 90_000_000
"""Class folders are called n90000000 and so on: like WordNet IDs, but none is one."""

Pictures = Iterator[tuple[str, bytes]]
"""File name and contents."""


def synthesize(
    target: Path,
    *,
    images: int,
    classes: int = 1000,
    val: int = 0,
    seed: int = 0,
    workers: int | None = None,
    show_progress: bool = True,
) -> None:
    """Write `images` pictures for training and `val` for validation, as evenly over the classes as can be.

    `target` becomes a folder of class folders, or, if its name ends in `.tar`, a tar of a tar for each class, as that
    of ILSVRC-2012's training images; with validation images these are under `train/` and `val/`. Pictures depend on
    the seed, their class and their number only, not on `workers` (threads; None: one for each core). It gets its name
    when complete. Raises `UserError` for numbers that cannot be, a target that exists, and a disk that is full.
    """
    _check(target, images, classes, val, seed, workers)
    start = time.perf_counter()
    with ThreadPoolExecutor(workers or available_cpus()) as pool, _new(target) as write:
        textures = _textures(pool, seed, min(classes, TEXTURES), show_progress)
        splits = {"train/": images, "val/": val} if val else {"": images}
        with progress(f"drawing {target.name}", images + val, show=show_progress) as advance:
            for split, (folder, total) in enumerate(splits.items()):
                for label in range(min(classes, total)):
                    draw = partial(picture, textures, seed, split, label)
                    name = f"n{_FIRST_ID + label:08d}"
                    write(folder + name, _drawn(pool, draw, name, len(range(label, total, classes)), advance))
    seconds = time.perf_counter() - start
    rate = f"{seconds:.1f} s, {(images + val) / seconds:.0f} images/s"
    say(f"{target}: {images:,} + {val:,} images of {classes:,} classes, in {rate}", show=show_progress)


def _check(target: Path, images: int, classes: int, val: int, seed: int, workers: int | None) -> None:
    if target.suffix in (".zip", ".gz", ".tgz", ".xz", ".bz2", ".zst"):
        raise UserError(f"{target}: a folder or a plain .tar is written; give a name without {target.suffix}")
    if target.exists():
        raise UserError(f"{target} exists already; delete it or give another target")
    if classes < MIN_CLASSES:
        raise UserError(f"classes={classes}: at least {MIN_CLASSES} are needed")
    if images < classes:
        raise UserError(f"images={images}: at least one for each of the {classes} classes is needed")
    if val < 0 or seed < 0:
        raise UserError(f"val={val}, seed={seed}: neither can be negative")
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: at least 1 is needed")
    needed = (images + val) * _MEAN_BYTES
    free = shutil.disk_usage(next(folder for folder in target.absolute().parents if folder.exists())).free
    if needed > free:
        raise UserError(f"{target} needs about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free there")


def _textures(pool: Executor, seed: int, count: int, show: bool) -> list[Texture]:
    textures = []
    with progress("drawing textures", count, show=show) as advance:
        for drawn in pool.map(partial(texture, seed), range(count)):
            textures.append(drawn)
            advance(1)
    return textures


def _drawn(
    pool: Executor, draw: Callable[[int], bytes], name: str, count: int, advance: Callable[[int], None]
) -> Pictures:
    for first in range(0, count, _CHUNK):
        numbers = range(first, min(first + _CHUNK, count))
        for number, jpeg in zip(numbers, pool.map(draw, numbers), strict=True):
            yield f"{name}_{number}.JPEG", jpeg
            advance(1)


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
