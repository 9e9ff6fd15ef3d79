"""How drawn images (`synthesize.py`) compare with ImageNet's photographs: sizes, bytes, and decoding time.

    python benchmarks/synthetic.py FOLDER-OF-PHOTOGRAPHS

Photographs and pictures are decoded in turn, by one thread; of each, the best of `--rounds` decodings counts.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from synthesize import picture, texture

ROWS = ("width", "height", "kB", "bits per pixel", "PIL decodes in, ms", "simplejpeg decodes in, ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    photographs = [file.read_bytes() for file in sorted(options.photographs.rglob("*.JPEG"))]
    textures = [texture(0, number) for number in range(20)]
    start = time.process_time()
    drawn = [picture(textures, 0, 0, number % 100, number // 100) for number in range(options.pictures)]
    print(f"{options.pictures / (time.process_time() - start):.0f} pictures drawn per core-second, textures apart")
    real, synthetic = measured([photographs, drawn], options.rounds)
    for row, name in enumerate(ROWS):
        a, b = real[:, row], synthetic[:, row]
        medians = f"{np.median(a):8.2f} {np.median(b):8.2f}   ratio {np.median(b) / np.median(a):.2f}"
        print(f"{name:26} medians {medians}   means {a.mean():8.2f} {b.mean():8.2f}")


def measured(sets: list[list[bytes]], rounds: int) -> list[npt.NDArray[np.float64]]:
    """float64 [n, 6] of each set: the rows of the table."""
    best = [np.full((len(jpegs), 2), np.inf) for jpegs in sets]
    for _ in range(rounds):
        for jpegs, times in zip(sets, best, strict=True):
            for index, jpeg in enumerate(jpegs):
                times[index] = np.minimum(times[index], [seconds(pil, jpeg), seconds(simplejpeg.decode_jpeg, jpeg)])
    return [
        np.array([[*size(jpeg), *(1e3 * t)] for jpeg, t in zip(*pair, strict=True)])
        for pair in zip(sets, best, strict=True)
    ]


def seconds(decode: Callable[[bytes], object], jpeg: bytes) -> float:
    start = time.perf_counter()
    decode(jpeg)
    return time.perf_counter() - start


def pil(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def size(jpeg: bytes) -> tuple[float, float, float, float]:
    width, height = Image.open(io.BytesIO(jpeg)).size
    return width, height, len(jpeg) / 1e3, 8 * len(jpeg) / (width * height)


if __name__ == "__main__":
    main()
