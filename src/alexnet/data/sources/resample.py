"""The center square of an image at another size, by Pillow's antialiased bilinear filter, pixel for pixel.

Pillow's algorithm (Resample.c, 8 bits a channel): the weights of every target pixel are the triangle filter as wide as
the reduction, in 22-bit fixed point; rows are filtered first, rounded to 8 bits, then columns. Pillow 13 swaps the two
passes for some shapes, which moves single pixels by one level; here rows always come first, so that a pack does not
depend on the version that made it. Compiled, because half of all time in preparing would go here.
"""

import numpy as np
import numpy.typing as npt

from alexnet.compiled import compiled

_BITS = 22  # fractional bits of a weight: 32 less 8 for the pixel and 2 for the filter's overshoot, as in Pillow

_Pixels = npt.NDArray[np.uint8]
_Taps = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]
"""First source pixel [S] and number of source pixels [S] of each target pixel, and their weights [S, K]."""


def center_square(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Scale uint8 [H, W, 3] to uint8 [size, size, 3]: the shorter side becomes `size`, the longer one is cropped."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    if height == width == size:
        return pixels
    top, left = (height - side) / 2, (width - side) / 2
    across = _taps(width, left, left + side, size)
    down = _taps(height, top, top + side, size)
    first, last = int(down[0][0]), int(down[0][-1] + down[1][-1])
    rows = np.empty((last - first, size * 3), np.uint8)
    _filter_rows(pixels.reshape(height, width * 3)[first:last], *across, rows)
    square = np.empty((size, size * 3), np.uint8)
    _filter_columns(rows, down[0] - first, *down[1:], square)
    return square.reshape(size, size, 3)


@compiled()
def _taps(pixels: int, start: float, stop: float, size: int) -> _Taps:
    """Weight the pixels of a line for `size` target pixels that share its span from `start` to `stop`."""
    scale = (stop - start) / size
    support = max(scale, 1.0)
    first, count = np.empty(size, np.int64), np.empty(size, np.int64)
    weights = np.zeros((size, int(np.ceil(support)) * 2 + 1), np.int32)
    line = np.empty(weights.shape[1])
    for target in range(size):
        center = start + (target + 0.5) * scale
        low = max(0, int(center - support + 0.5))
        high = min(pixels, int(center + support + 0.5))
        total = 0.0
        for tap in range(high - low):
            distance = abs((tap + low - center + 0.5) * (1.0 / support))
            line[tap] = max(0.0, 1.0 - distance)
            total += line[tap]
        for tap in range(high - low):
            weights[target, tap] = int(0.5 + line[tap] / total * (1 << _BITS))
        first[target], count[target] = low, high - low
    return first, count, weights


@compiled()
def _filter_rows(
    source: _Pixels, first: npt.NDArray[np.int64], count: npt.NDArray[np.int64], weights: npt.NDArray[np.int32],
    target: _Pixels,
) -> None:  # fmt: skip
    """Filter uint8 [H, W * 3] to [H, S * 3]. Unsigned indices avoid numba's check for negative ones."""
    half = np.int32(1 << (_BITS - 1))
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for y in range(target.shape[0]):
        row, out = source[y], target[y]
        for x in range(first.shape[0]):
            red, green, blue = half, half, half
            place = np.uint64(3 * first[x])
            for tap in range(np.uint64(count[x])):
                weight = weights[x, tap]
                red += weight * np.int32(row[place])
                green += weight * np.int32(row[place + one])
                blue += weight * np.int32(row[place + two])
                place += three
            end = np.uint64(3 * x)
            out[end] = red >> _BITS
            out[end + one] = green >> _BITS
            out[end + two] = blue >> _BITS


@compiled()
def _filter_columns(
    source: _Pixels, first: npt.NDArray[np.int64], count: npt.NDArray[np.int64], weights: npt.NDArray[np.int32],
    target: _Pixels,
) -> None:  # fmt: skip
    """Filter uint8 [H, W] to [S, W]: whole rows are added up, which the compiler vectorizes."""
    sums = np.empty(source.shape[1], np.int32)
    for y in range(first.shape[0]):
        sums[:] = 1 << (_BITS - 1)
        for tap in range(count[y]):
            weight, row = weights[y, tap], source[first[y] + tap]
            for x in range(len(sums)):
                sums[x] += weight * np.int32(row[x])
        out = target[y]
        for x in range(len(sums)):
            out[x] = sums[x] >> _BITS
