"""Original photographs to a finished pack of JPEG files: images per core and second, beside Pillow's resizing alone.

python benchmarks/preparing.py --images FOLDER [--rounds 5] [--threads]

FOLDER holds original photographs in class folders. Time is that of the process on one core; the files are in the page
cache. `--threads` compares one and two threads by the clock instead, which needs two idle cores.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.images import JpegQuality, convert_file, encode, suppress_pil_warnings
from measuring import Parts, copied, interleaved, one_core, photographs, print_table, save, timed

SIZE = 256
COPIES = 1000
"""Photographs in the source of a whole pack: the same again and again."""
PROJECTED = {"ILSVRC-2012, 1.28 million": 1_281_167, "Fall 2011, 15 million": 15_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", action="store_true")
    options = parser.parse_args()
    files = photographs(options.images)
    with tempfile.TemporaryDirectory() as folder:
        source = copied(files, Path(folder), COPIES)
        if options.threads:
            _by_threads(source, options.rounds)
        else:
            one_core()
            _by_step(files, source, options.rounds)


def _pillow(file: Path) -> np.ndarray:
    """Exactly antialiased, and no more than the square that is kept."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box))


def _pillow_whole(file: Path) -> np.ndarray:
    """As scripts do: the whole image, then the centre of it."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = SIZE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)))


def _equal_to_pillow(file: Path) -> bool:
    """Whether our pixels are those of Pillow's two passes, rows first; one call would choose their order by shape."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    filtering = Image.Resampling.BILINEAR
    narrow = image.resize((SIZE, image.height), filtering, box=(left, 0, left + side, image.height))
    expected = np.asarray(narrow.resize((SIZE, SIZE), filtering, box=(0, top, SIZE, top + side)))
    return np.array_equal(_square(file), expected)


def _by_step(files: list[Path], source: Path, rounds: int) -> None:
    def all_files(work: Callable[[Path], object]) -> Callable[[], None]:
        def execute() -> None:
            for file in files:
                work(file)

        return execute

    ways = {
        "Pillow: decode, resize all, crop": (len(files), all_files(_pillow_whole)),
        "Pillow: decode, resize what is kept": (len(files), all_files(_pillow)),
        "ours: decode, resize": (len(files), all_files(lambda file: convert_file(file, SIZE))),
        "ours: decode, resize, encode": (len(files), all_files(lambda file: encode(_square(file), JpegQuality()))),
        "ours: a finished pack": (COPIES, lambda: _pack(source, 1)),
    }

    def write(seconds: dict[str, Parts]) -> list[dict[str, Any]]:
        rates = {name: images / seconds[name]["all"].cpu for name, (images, _) in ways.items()}
        pillow = rates["Pillow: decode, resize all, crop"]
        rows = [{"way": name, "images_per_core_second": rate, "ratio": rate / pillow} for name, rate in rates.items()]
        save("preparing", rounds, rows, equal_to_pillow=equal, photographs=len(files))
        return rows

    with suppress_pil_warnings():
        equal = sum(map(_equal_to_pillow, files))
        print(f"{equal} of {len(files)} photographs have the very pixels of Pillow's", flush=True)
        measured = interleaved({name: timed(execute) for name, (_, execute) in ways.items()}, rounds, so_far=write)
    rows = write(measured)
    print_table(
        ["way", "images per core and second", "times Pillow"],
        ([str(row["way"]), f"{row['images_per_core_second']:,.0f}", f"{row['ratio']:.2f}"] for row in rows),
    )
    whole = rows[-1]["images_per_core_second"]
    for name, images in PROJECTED.items():
        print(
            f"{name} images: {images / whole / 3600:.1f} core-hours, {images / whole / 3600 / 16:.2f} hours on 16 cores"
        )


def _square(file: Path) -> np.ndarray:
    converted = convert_file(file, SIZE)
    assert not isinstance(converted, str)
    return converted.square


def _pack(source: Path, threads: int) -> None:
    """Everything: listing, reading, converting, writing, statistics, checksums, and opening the pack."""
    target = source.parent / "pack"
    prepare(source, target, size=SIZE, encoding="jpeg", workers=threads, show_progress=False)
    shutil.rmtree(target)


def _by_threads(source: Path, rounds: int) -> None:
    seen: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads, rates in seen.items():
            start = time.perf_counter()
            _pack(source, threads)
            rates.append(COPIES / (time.perf_counter() - start))
    ratio = median(two / one for one, two in zip(seen[1], seen[2], strict=True))
    print(f"one thread {median(seen[1]):,.0f} images/s, two threads {median(seen[2]):,.0f}, ratio {ratio:.2f}")
    print(save("preparing_threads", rounds, [{"one": median(seen[1]), "two": median(seen[2]), "ratio": ratio}]))


if __name__ == "__main__":
    main()
