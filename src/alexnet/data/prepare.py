"""Images to a pack: what `alexnet prepare SOURCE PACK` does."""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import PIL

import alexnet
from alexnet.data.holdout import hold_out
from alexnet.data.images import RESIZE, Blob, Square, convert
from alexnet.data.pack import Pack, is_pack
from alexnet.data.progress import progress, say
from alexnet.data.sources import Source, open_source
from alexnet.data.writer import PackWriter
from alexnet.errors import UserError

_BATCH = 32
_IMAGES_PER_WORKER = 2000
"""Below this many, starting another process takes longer than it saves."""


def prepare(
    source: Path,
    pack: Path,
    *,
    size: int,
    val_fraction: float = 0.1,
    test_fraction: float = 0.0,
    seed: int = 0,
    workers: int | None = None,
    show_progress: bool = True,
) -> Pack:
    """Make a pack of `size` x `size` images from a folder or an archive (`alexnet.data.sources` lists the layouts).

    Where the source has no test split, `test_fraction` of each class is held out of the training images first; where
    it has no validation split, `val_fraction` of those that remain. Both are drawn by `seed`. `workers` processes
    convert images (None: as many as pay and the machine has); the pack is the same for any number. Images that cannot
    be read are left out and listed in `rejected.txt`. An error or an interruption leaves nothing behind. Raises
    `UserError` for a source or target that cannot be used.
    """
    _check_arguments(source, pack, size, val_fraction, test_fraction, workers)
    start = time.perf_counter()
    listed = _with_test(open_source(source), test_fraction, seed)
    listed = _with_validation(listed, val_fraction, seed, show_progress)
    shares = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": seed}
    made = {"source": source.resolve().name, "resize": RESIZE, **shares}
    versions = {"alexnet": alexnet.__version__, "pillow": PIL.__version__}
    labels = {split: np.array([label for _, label in items], np.int64) for split, items in listed.splits.items()}
    with PackWriter(pack, image_size=size, class_names=listed.class_names, labels=labels) as writer:
        _write_images(listed, writer, workers or _useful_workers(listed), show_progress)
        _check_kept(source, listed, writer)
        done = writer.finish({**made, "versions": versions})
        _report(done, writer.rejected, time.perf_counter() - start, show_progress)
    return done


def _check_arguments(
    source: Path, pack: Path, size: int, val_fraction: float, test_fraction: float, workers: int | None
) -> None:
    """Refuse at once what would fail, or surprise, after hours."""
    if size < 1:
        raise UserError(f"size={size}: the side of the images must be at least 1 pixel")
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction={val_fraction} must lie between 0 and 1")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test_fraction={test_fraction} must lie in [0, 1)")
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: at least 1 is needed")
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
    train, test = hold_out(source.splits["train"], fraction, seed)
    splits = source.splits | {"train": train, "test": test}
    return replace(source, splits={name: items for name, items in splits.items() if items})


def _with_validation(source: Source, fraction: float, seed: int, show: bool) -> Source:
    """The source itself, or with validation images held out of its training images."""
    if "val" in source.splits:
        return source
    train, val = hold_out(source.splits["train"], fraction, seed)
    without = len(source.class_names) - len({label for _, label in val})
    if without:
        what = "no validation split is made" if not val else f"{without} classes have no validation image"
        say(f"note: classes with a single training image keep it for training: {what}", show=show)
    splits = {"train": train, "val": val, "test": source.splits.get("test", [])}
    return replace(source, splits={name: items for name, items in splits.items() if items})


def _write_images(source: Source, writer: PackWriter, workers: int, show: bool) -> None:
    slots = {name: (split, slot) for split, items in source.splits.items() for slot, (name, _) in enumerate(items)}
    with (
        progress(f"preparing {writer.path.name}", len(slots), show=show) as advance,
        closing(_converted(source.read(), writer.image_size, workers)) as batches,
    ):
        for name, result in chain.from_iterable(batches):
            if isinstance(result, str):
                writer.reject(name, result)
            else:
                writer.put(*slots[name], result)
            advance(1)


_Named = list[tuple[str, Blob]]
_Result = tuple[str, Square | str]


def _converted(blobs: Iterator[tuple[str, Blob]], size: int, workers: int) -> Generator[list[_Result], None, None]:
    """Every image by its name, converted, or the reason why not; in batches, in the order of `blobs`."""
    batches = iter(lambda: list(islice(blobs, _BATCH)), [])
    work = partial(_convert_named, size=size)
    yield from map(work, batches) if workers == 1 else _in_pool(work, batches, workers)


def _convert_named(named: _Named, size: int) -> list[_Result]:
    return list(zip((name for name, _ in named), convert([blob for _, blob in named], size), strict=True))


def _in_pool(
    work: Callable[[_Named], list[_Result]], batches: Iterator[_Named], workers: int
) -> Iterator[list[_Result]]:
    """`map` over processes, in order, with few batches under way at a time.

    Processes are not forked from this one, which may hold torch's threads.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), _leave_interrupts_to_parent)
    waiting: deque[Future[list[_Result]]] = deque()
    try:
        for batch in batches:
            waiting.append(pool.submit(work, batch))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError("a process that converts images was killed, perhaps for want of memory: use fewer") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _useful_workers(source: Source) -> int:
    images = sum(len(items) for items in source.splits.values())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, max(1, images // _IMAGES_PER_WORKER))


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


def _report(pack: Pack, rejected: dict[str, str], seconds: float, show: bool) -> None:
    counts = ", ".join(f"{name} {len(split):,}" for name, split in pack.splits.items())
    form = f"{pack.image_size} x {pack.image_size}, {len(pack.class_names)} classes"
    say(f"{pack.path}: {counts} images of {form}, in {seconds:.1f} s", show=show)
    if rejected:
        say(f"{len(rejected):,} images could not be read: see {pack.path / 'rejected.txt'}", show=show)
