"""Images to a pack: what `alexnet prepare SOURCE PACK` does."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

import alexnet
from alexnet.config.schema import ENCODINGS
from alexnet.data.jpeg import JpegQuality
from alexnet.data.pack.pack import Pack, is_pack, open_pack
from alexnet.data.pack.writer import PackWriter
from alexnet.data.progress import progress, say
from alexnet.data.sources.holdout import stratified_holdout
from alexnet.data.sources.images import RESIZE, Blob, convert_file, quiet
from alexnet.data.sources.layouts import Source, open_source
from alexnet.data.sources.listing import Items
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.errors import UserError
from alexnet.files import locked

RAW_BYTES = 2**32
"""Up to this size `auto` keeps pixels as they are: they stay in the page cache, and reading them costs nothing."""
_BATCH = 32
"""Images that a thread converts at a time."""


def prepare(
    source: Path,
    pack: Path,
    *,
    size: int,
    val_fraction: float = 0.1,
    test_fraction: float = 0.0,
    seed: int = 0,
    encoding: str = "auto",
    jpeg: JpegQuality | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> Pack:
    """Make a pack of `size` x `size` images from a folder or an archive (layouts: `data.sources.layouts`).

    Where the source has no test split, `test_fraction` of each class is held out of the training images first; where
    it has no validation split, `val_fraction` of those that remain. Both are drawn by `seed`. `encoding` is `raw`,
    `jpeg` (compressed by `jpeg`) or `auto`: raw where that is small. `workers` threads convert images (None: one for
    each core); the pack has the same bytes for any number. Images that cannot be read are left out and listed in
    `rejected.txt`; oddities are listed in `unusual.txt`. Whatever interrupts it, the same call goes on where it
    stopped; where another process is at the same pack, it waits and opens that. Raises `UserError` for a source or
    target that cannot be used.
    """
    _check_arguments(source, pack, size, val_fraction, test_fraction, encoding, workers)
    threads = workers or available_cpus()
    start = time.perf_counter()
    listed = _with_test(open_source(source), test_fraction, seed)
    listed = _with_validation(listed, val_fraction, seed, show_progress)
    shares = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": seed}
    versions = {"alexnet": alexnet.__version__, **{name: version(name) for name in ("pillow", "simplejpeg")}}
    made = {"source": source.resolve().name, "resize": RESIZE, **shares, "versions": versions}
    for note in listed.notes:
        say(note, show=show_progress)
    labels = {split: items.labels for split, items in listed.splits.items()}
    writer = PackWriter(
        pack,
        image_size=size,
        class_names=listed.class_names,
        labels=labels,
        jpeg=None if _is_raw(encoding, size, labels) else jpeg or JpegQuality(),
        job={**made, "names": _names_digest(listed)},
    )
    with _alone(pack, show_progress):
        if is_pack(pack):  # another process has made it, while this one waited
            return open_pack(pack)
        with writer, _interruption_told(writer, show_progress):
            if writer.discarded:
                say(f"{pack}: what an earlier attempt with other options had done is discarded", show=show_progress)
            _write_images(listed, writer, threads, show_progress)
            _check_kept(source, listed, writer)
            with progress("statistics", len(listed.splits["train"]), show=show_progress) as advance:
                done = writer.finish(made, threads=threads, advance=advance)
        _report(done, writer, time.perf_counter() - start, show_progress)
    return done


def _is_raw(encoding: str, size: int, labels: dict[str, npt.NDArray[np.int64]]) -> bool:
    pixels = sum(len(of_split) for of_split in labels.values()) * size * size * 3
    return encoding == "raw" or (encoding == "auto" and pixels <= RAW_BYTES)


def _names_digest(source: Source) -> str:
    digest = hashlib.sha256()
    for split, items in source.splits.items():
        digest.update(f"{split}\n".encode())
        for name, _ in items:
            digest.update(f"{name}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@contextmanager
def _interruption_told(writer: PackWriter, show: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {writer.done:,} images are done, and the same command goes on", show=show)
        raise


@contextmanager
def _alone(pack: Path, show: bool) -> Iterator[None]:
    """Wait until no other process prepares the same pack; makes the folders above it, and removes them if unused."""
    missing = [folder for folder in pack.parents if not folder.exists()]

    def wait(holder: str) -> None:
        say(f"{pack} is being prepared by {holder}: waiting for it", show=show)

    try:
        pack.parent.mkdir(parents=True, exist_ok=True)
        with locked(pack.parent / f".{pack.name}.lock", str(pack), wait=wait):
            yield
    except OSError as error:
        raise UserError(f"the pack {pack} cannot be written: {error.strerror or error}") from error
    finally:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _check_arguments(
    source: Path, pack: Path, size: int, val_fraction: float, test_fraction: float, encoding: str, workers: int | None
) -> None:
    """Refuse at once what would fail, or surprise, after hours."""
    if size < 1:
        raise UserError(f"size={size}: the side of the images must be at least 1 pixel")
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction={val_fraction} must be above 0 and below 1")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test_fraction={test_fraction} must lie in [0, 1)")
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: at least 1 is needed")
    if encoding not in ENCODINGS:
        raise UserError(f"encoding={encoding} is not one of: {', '.join(ENCODINGS)}")
    if is_pack(source):
        raise UserError(f"{source} is a pack already; give the folder or archive of images that it was made from")
    if is_pack(pack):
        raise UserError(f"{pack} is a pack already; delete it or give another target")
    if pack.exists() and not pack.is_dir():
        raise UserError(f"{pack} is a file; give a new directory as the target")
    if pack.is_dir() and any(pack.iterdir()):
        raise UserError(f"{pack} is a directory that holds something else; give a new directory as the target")


def _with_test(source: Source, fraction: float, seed: int) -> Source:
    """The source itself, or with test images held out of its training images."""
    if not fraction:
        return source
    if "test" in source.splits:
        raise UserError(f"test_fraction={fraction}: the source has a test split already; leave test_fraction out")
    train, test = stratified_holdout(source.splits["train"], fraction, seed)
    return _with_splits(source, train=train, test=test)


def _with_validation(source: Source, fraction: float, seed: int, show: bool) -> Source:
    """The source itself, or with validation images held out of its training images."""
    if "val" in source.splits:
        return source
    train, val = stratified_holdout(source.splits["train"], fraction, seed)
    without = len(source.class_names) - len(val.by_class())
    if without:
        what = "no validation split is made" if not len(val) else f"{without} classes have no validation image"
        say(f"note: classes with a single training image keep it for training: {what}", show=show)
    return _with_splits(source, train=train, val=val)


def _with_splits(source: Source, **splits: Items) -> Source:
    """The source with some splits in place of others; without those that are empty."""
    divided = source.splits | splits
    in_order = {name: divided[name] for name in ("train", "val", "test") if name in divided}
    return replace(source, splits={name: items for name, items in in_order.items() if len(items)})


@dataclass(frozen=True)
class _Image:
    """An image of the source on its way into the pack."""

    name: str
    split: str
    slot: int
    blob: Blob
    """Read by the thread that converts it, where that can be done out of turn."""


def _write_images(source: Source, writer: PackWriter, threads: int, show: bool) -> None:
    """Convert what has not come yet, in the order of the source, many at a time."""
    total = sum(map(len, source.splits.values()))
    if writer.done:
        say(f"{writer.path}: {writer.done:,} of {total:,} images are there from an earlier attempt", show=show)
    images = (
        _Image(source.splits[image.split].name(image.place), image.split, image.place, image.blob)
        for image in islice(source.locate(), writer.done, None)
    )
    batches = iter(lambda: list(islice(images, _BATCH)), [])
    work = partial(_convert_batch, writer=writer)
    with (
        progress(f"preparing {writer.path.name}", total, show=show) as advance,
        closing(ParallelMap(work, batches, threads)) as converted,
        quiet(),
    ):
        advance(writer.done)
        for image, result in chain.from_iterable(converted):
            if isinstance(result, str):
                writer.reject(image.name, result)
            else:
                writer.put(image.split, image.slot, result.data, name=image.name, unusual=result.unusual)
            advance(1)


@dataclass(frozen=True)
class _Encoded:
    data: bytes
    unusual: tuple[str, ...]


def _convert_batch(images: list[_Image], writer: PackWriter) -> list[tuple[_Image, _Encoded | str]]:
    return [(replace(image, blob=b""), _convert_one(image, writer)) for image in images]


def _convert_one(image: _Image, writer: PackWriter) -> _Encoded | str:
    converted = convert_file(image.blob, writer.image_size, image.name)
    return converted if isinstance(converted, str) else _Encoded(writer.encode(converted.square), converted.unusual)


def _check_kept(path: Path, source: Source, writer: PackWriter) -> None:
    """Refuse a class that cannot be learnt and a split that is empty."""
    for split in source.splits:
        kept = writer.kept_per_class(split)
        if not kept.any():
            raise UserError(f"{path}: none of the images for {split} can be read; {_example(writer)}")
        if split == "train" and not kept.all():
            name = source.class_names[int(kept.argmin())]
            raise UserError(f"{path}: none of the training images of class {name!r} can be read; {_example(writer)}")


def _example(writer: PackWriter) -> str:
    name, reason = min(writer.rejected.items())
    return f"{len(writer.rejected)} unreadable in all, such as {name}: {reason}"


def _report(pack: Pack, writer: PackWriter, seconds: float, show: bool) -> None:
    counts = ", ".join(f"{name} {len(split):,}" for name, split in pack.splits.items())
    form = f"{pack.image_size} x {pack.image_size}, {len(pack.class_names)} classes"
    say(f"{pack.path}: {counts} images of {form}, {pack.encoding}, in {seconds:.1f} s", show=show)
    if writer.unusual:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in writer.unusual_counts.items())
        say(f"{len(writer.unusual):,} images were unusual ({kinds}): see {pack.path / 'unusual.txt'}", show=show)
    if writer.rejected:
        say(f"{len(writer.rejected):,} images could not be read: see {pack.path / 'rejected.txt'}", show=show)
