"""The augmentation of a training batch on a CPU, compiled: one pass from uint8 in a pack to the network's input.

Bit for bit what `Augmenter` computes in several passes, each of which takes as long as this one.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.compiled import compiled
from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.batches.augment import CropGeometry, color_scale, pca_directions
from alexnet.data.batches.plan import EpochPlan
from alexnet.data.pack.splits import Split
from alexnet.data.pack.statistics import PixelStats


class NumbaAugmenter:
    """Crop, flip, mean image and PCA color augmentation (sections 2 and 4.1); several threads may call it at once."""

    def __init__(
        self, statistics: PixelStats, geometry: CropGeometry, *, crops: CropsConfig, color: ColorConfig, color_on: bool
    ) -> None:
        self.geometry, self.crops = geometry, crops
        # Flipped images subtract the flipped mean image, so that both are read forward.
        self.mean_images = np.stack([statistics.mean_image, statistics.mean_image[:, ::-1]]).reshape(-1)
        self.directions = pca_directions(statistics, color) if color_on else torch.zeros(3, 3)
        self.scale = np.float32(color_scale(color) if color_on else 1.0)

    def __call__(self, split: Split, plan: EpochPlan, part: slice, out: npt.NDArray[np.float32]) -> Tensor:
        """Augment the images `part` of the plan: float32 [N, 3, crop, crop], channels last, in the memory of `out`.

        `out` is float32 [M, crop, crop, 3] with M >= N.
        """
        indices = plan.order[part]
        n, center = len(indices), self.geometry.center
        offsets = plan.crop_offsets[part] if self.crops.random else np.full((n, 2), center)
        flips = plan.flips[part] if self.crops.flip else np.zeros(n, np.bool_)
        shifts = (torch.from_numpy(plan.colors[part]) @ self.directions).numpy()
        for images, rows, places in split.blocks(indices):
            _augment(
                images.reshape(-1), rows, places, offsets, flips, self.mean_images, shifts, self.scale,
                center if self.crops.center_mean else -1, self.geometry.image_size, out,
            )  # fmt: skip
        return torch.from_numpy(out[:n]).permute(0, 3, 1, 2)


@compiled()
def _augment(
    images: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    flips: npt.NDArray[np.bool_],
    means: npt.NDArray[np.float32],
    shifts: npt.NDArray[np.float32],
    scale: np.float32,
    center: int,
    size: int,
    out: npt.NDArray[np.float32],
) -> None:
    """Fill `out[places[k]]` from image `rows[k]`: float32 [N, crop, crop, 3] from uint8 [M * size * size * 3].

    `means` is the mean image as it is and flipped, float32 [2 * size * size * 3]; with `center` >= 0 it is cropped
    there, unflipped. Lines are read by the places of their first values: slices take longer in numba. Places are
    unsigned: signed ones are checked for being negative, which takes several times longer.
    """
    crop, three = out.shape[1], np.uint64(3)
    width, image = 3 * crop, size * size * 3
    target = out.reshape(-1)
    shift, line = np.empty(width, np.float32), np.empty(width, np.uint8)
    for k in range(len(rows)):
        place = places[k]
        top, left, flip = offsets[place, 0], offsets[place, 1], flips[place]
        for x in range(width):
            shift[x] = shifts[place, x % 3]
        first = rows[k] * image + 3 * (top * size + left)
        if center >= 0:
            first_mean = 3 * (center * size + center)
        elif flip:
            first_mean = image + 3 * (top * size + size - crop - left)
        else:
            first_mean = 3 * (top * size + left)
        for y in range(crop):
            pixel, mean = np.uint64(first + 3 * y * size), np.uint64(first_mean + 3 * y * size)
            to = np.uint64((place * crop + y) * width)
            for column in range(crop):
                at, source = three * np.uint64(column), three * np.uint64(crop - 1 - column if flip else column)
                for channel in range(3):
                    line[at + np.uint64(channel)] = images[pixel + source + np.uint64(channel)]
            for value in range(width):
                at = np.uint64(value)
                target[to + at] = (np.float32(line[at]) - means[mean + at] + shift[at]) * scale
