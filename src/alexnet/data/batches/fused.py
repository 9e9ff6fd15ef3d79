"""The augmentation of a training batch on a CPU in one pass over its pixels: uint8 in a pack to the network's input.

Bit for bit what `Augmenter` computes in several passes, each of which costs as much as this one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from alexnet.config.groups import ColorConfig, CropsConfig
from alexnet.data.batches.augment import CropGeometry, color_scale, pca_directions
from alexnet.data.batches.past_cache import LINE_BYTES, VALUES, fetch_ahead, settle, store_past_cache
from alexnet.data.batches.plan import EpochPlan
from alexnet.data.pack.splits import Split
from alexnet.data.pack.statistics import PixelStats

_CACHED_BYTES = 2**24
"""Batches up to this size may well still lie in a cache when the network reads them, and are stored there."""


class FusedAugmenter:
    """Crop, mirror, mean image and colour noise (sections 2 and 4.1); may be used from several threads at once."""

    def __init__(
        self, statistics: PixelStats, geometry: CropGeometry, *, crops: CropsConfig, color: ColorConfig, color_on: bool
    ) -> None:
        """`color_on` is whether images get their colour noise now."""
        self.geometry, self.crops = geometry, crops
        self.mean_images = np.stack([statistics.mean_image, statistics.mean_image[:, ::-1]]).reshape(-1)
        self.directions = pca_directions(statistics, color) if color_on else None
        self.scale = np.float32(color_scale(color) if color_on else 1.0)

    def __call__(self, split: Split, plan: EpochPlan, part: slice, out: npt.NDArray[np.float32]) -> Tensor:
        """The images `part` of the plan as float32 [n, 3, crop, crop], channels last, in the memory of `out`.

        `out` is float32 [m, crop, crop, 3] with m >= n.
        """
        indices = plan.order[part]
        n, centre = len(indices), self.geometry.center
        offsets = plan.offsets[part] if self.crops.random else np.full((n, 2), centre)
        flips = plan.flips[part] if self.crops.flip else np.zeros(n, np.bool_)
        shifts, size = self._shifts(plan, part), self.geometry.image_size
        for images, rows, places in split.blocks(indices):
            _augment(
                images.reshape(-1), rows, places, offsets, flips, self.mean_images, shifts, self.scale,
                centre if self.crops.center_mean else -1, size, out, _goes_past_cache(out),
            )  # fmt: skip
        return torch.from_numpy(out[:n]).permute(0, 3, 1, 2)

    def _shifts(self, plan: EpochPlan, part: slice) -> npt.NDArray[np.float32]:
        """The colour that is added to each image, float32 [n, 3]."""
        colors = torch.from_numpy(plan.colors[part])
        directions = torch.zeros(3, 3) if self.directions is None else self.directions
        shifts: npt.NDArray[np.float32] = (colors @ directions).numpy()
        return shifts


def _goes_past_cache(out: npt.NDArray[np.float32]) -> bool:
    """Whether the batch is too large for a cache, and its lines can be stored past it."""
    in_lines = out.ctypes.data % LINE_BYTES == 0 and out[0, 0].size % VALUES == 0
    return in_lines and out.nbytes > _CACHED_BYTES


@njit(cache=True, nogil=True)
def _augment(
    images: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    flips: npt.NDArray[np.bool_],
    means: npt.NDArray[np.float32],
    shifts: npt.NDArray[np.float32],
    scale: np.float32,
    centre: int,
    size: int,
    out: npt.NDArray[np.float32],
    past_cache: bool,
) -> None:
    """Fill `out[places[k]]` from image `rows[k]`, float32 [n, crop, crop, 3] from uint8 [m * size * size * 3].

    `means` is the mean image as it is and mirrored, float32 [2 * size * size * 3], so that both are read forwards. With
    `centre` >= 0 it is taken there, whatever the crop and as it is.

    Memory is what this takes its time for. So the next image is fetched ahead, and with `past_cache` results go past
    the cache. Lines are given by the places of their first values rather than as slices: numba counts references to a
    slice atomically, and each time waits for all that is on its way to memory.
    """
    crop = out.shape[1]
    width, image = 3 * crop, size * size * 3
    target = out.reshape(-1)
    shift, line = np.empty(width, np.float32), np.empty(width, np.uint8)
    values = np.empty(width, np.float32)
    for k in range(len(rows)):
        place, next_k = places[k], min(k + 1, len(rows) - 1)
        top, left, flip = offsets[place, 0], offsets[place, 1], flips[place]
        for x in range(width):
            shift[x] = shifts[place, x % 3]
        pixel = rows[k] * image + 3 * (top * size + left)
        next_place = places[next_k]
        next_pixel = rows[next_k] * image + 3 * (offsets[next_place, 0] * size + offsets[next_place, 1])
        if centre >= 0:
            subtracted = 3 * (centre * size + centre)
        elif flip:
            subtracted = image + 3 * (top * size + size - crop - left)
        else:
            subtracted = 3 * (top * size + left)
        for y in range(crop):
            to, down = (place * crop + y) * width, 3 * y * size
            _fetch_line(images, next_pixel + down, width)
            mean = subtracted + down
            if flip:
                _mirror(images, pixel + down, line)
                _normalise(line, 0, means, mean, shift, scale, values)
            else:
                _normalise(images, pixel + down, means, mean, shift, scale, values)
            _store_line(values, target, to, past_cache)
    settle()  # type: ignore[call-arg]


@njit(cache=True, nogil=True)
def _normalise(
    pixels: Any, start: int, means: Any, subtracted: int, shift: Any, scale: np.float32, values: Any
) -> None:
    """Fill `values`, one line, from the pixels that begin at `start`.

    Here and below places are unsigned: for signed ones numba checks whether they are negative, which is several times
    slower.
    """
    pixel, mean = np.uint64(start), np.uint64(subtracted)
    for place in range(len(values)):
        x = np.uint64(place)
        values[x] = (np.float32(pixels[pixel + x]) - means[mean + x] + shift[x]) * scale


@njit(cache=True, nogil=True)
def _mirror(pixels: Any, start: int, line: Any) -> None:
    """Fill `line` with as many values from `start` on, the pixels in reverse; reads forwards, as memory likes it."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    width = np.uint64(len(line))
    for place in range(width // three):
        before = three * np.uint64(place)
        source, to = np.uint64(start) + before, width - three - before
        line[to] = pixels[source]
        line[to + one] = pixels[source + one]
        line[to + two] = pixels[source + two]


@njit(cache=True, nogil=True)
def _fetch_line(pixels: Any, start: int, width: int) -> None:
    for x in range(0, width, LINE_BYTES):
        fetch_ahead(pixels, np.uint64(start + x))  # type: ignore[call-arg]


@njit(cache=True, nogil=True)
def _store_line(values: Any, target: Any, to: int, past_cache: bool) -> None:
    """All of `values` to `target` from place `to` on."""
    if past_cache:
        for x in range(0, len(values), VALUES):
            store_past_cache(values, np.uint64(x), target, np.uint64(to + x))  # type: ignore[call-arg]
    else:
        for x in range(len(values)):
            target[np.uint64(to + x)] = values[np.uint64(x)]
