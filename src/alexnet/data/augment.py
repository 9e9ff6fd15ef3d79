"""Augmentation (sections 2 and 4.1): what an epoch draws up front, and the crops, flips and colors of a batch.

The draws follow from the seed and the epoch number. Because nothing else is random in the data path, a run is the same
for any number of devices or interruptions, and two ablations with one seed see the same images in the same order with
the same draws: paired runs.

`Augmenter` takes several passes over a whole batch on its device. On a CPU each would take as long as the single one of
`NumbaAugmenter`, compiled, from the uint8 of a pack to the network's input, with the same numbers bit for bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet import philox
from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.pack.splits import Split
from alexnet.data.pack.statistics import PixelStats
from alexnet.jit import compiled


class RawBatch(NamedTuple):
    """Training images with what the epoch plan drew for them; images are uint8 [n, S, S, 3]."""

    images: Tensor
    labels: Tensor
    """int64 [n]"""
    crop_offsets: Tensor
    """int64 [n, 2]: row and column of the crop"""
    flips: Tensor
    """bool [n]"""
    colors: Tensor
    """float32 [n, 3]: standard normal"""


class AugmentedBatch(NamedTuple):
    """Training images that have been augmented while they were loaded (`alexnet.data.augment`)."""

    inputs: Tensor
    """float32 [n, 3, crop, crop], channels last"""
    labels: Tensor
    """int64 [n]"""


@dataclass(frozen=True, kw_only=True)
class CropGeometry:
    """Where crops of `crop_size` can lie in images of `image_size`, in pixels."""

    image_size: int
    crop_size: int

    @property
    def margin(self) -> int:
        """The largest offset at which a crop still fits."""
        return self.image_size - self.crop_size

    @property
    def center(self) -> int:
        return self.margin // 2

    def positions(self, crops: CropsConfig) -> int:
        """Offsets per axis that random crops are drawn from: 32 of the 33 that fit, as the paper counts them."""
        return self.margin + 1 if crops.include_last_offset else max(1, self.margin)


class Augmenter(nn.Module):
    """uint8 images to the network's input, float32 [n, 3, crop, crop], channels last: 0-255 minus the mean image.

    The mean image of the training set is subtracted pixel by pixel before cropping (section 2), or its center after
    cropping (`crops.center_mean`, 2012 source). Inputs are never divided by a standard deviation. The statistics are
    saved in the checkpoint.
    """

    mean_image: Tensor
    pca_directions: Tensor
    color_on: bool = True
    """Whether training images get their color noise now: the 2012 source switches it off late in training."""

    def __init__(
        self, statistics: PixelStats, geometry: CropGeometry, *, crops: CropsConfig, color: ColorConfig
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.crops = crops
        self.color_scale = color_scale(color)
        self.register_buffer("mean_image", torch.from_numpy(statistics.mean_image.copy()))
        self.register_buffer("pca_directions", pca_directions(statistics, color))

    def forward(self, batch: RawBatch) -> Tensor:
        """Augment a training batch with its own draws."""
        offsets = batch.crop_offsets if self.crops.random else torch.full_like(batch.crop_offsets, self.geometry.center)
        flips = batch.flips if self.crops.flip else torch.zeros_like(batch.flips)
        crops = self._crop(batch.images, offsets, flips)
        if not self.color_on:
            return crops
        # Once per image and use, the same for all of its pixels.
        with torch.autocast(crops.device.type, enabled=False):  # bfloat16 would round the shifts of some 20 gray levels
            shifts = batch.colors @ self.pca_directions
        noisy = crops + shifts[:, :, None, None]
        return noisy if self.color_scale == 1.0 else noisy * self.color_scale

    def crop_at(self, images: Tensor, row: int, column: int, flipped: bool) -> Tensor:
        """Cut the same crop out of every image and subtract the mean image; for views, without color noise."""
        size, center = self.geometry.crop_size, self.geometry.center
        pixels = images[:, row : row + size, column : column + size]
        if self.crops.center_mean:
            mean = self.mean_image[center : center + size, center : center + size]
        else:
            mean = self.mean_image[row : row + size, column : column + size]
            mean = mean.flip(1) if flipped else mean
        pixels = pixels.flip(2) if flipped else pixels
        return pixels.float().sub_(mean).permute(0, 3, 1, 2)

    def _crop(self, images: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
        """Gather a crop of each image at its own offset, and subtract the mean image."""
        steps = torch.arange(self.geometry.crop_size, device=images.device)
        rows = offsets[:, 0, None] + steps
        columns = offsets[:, 1, None] + torch.where(flips[:, None], steps.flip(0), steps)
        chosen = torch.arange(len(images), device=images.device)[:, None, None]
        rows, columns = rows[:, :, None], columns[:, None, :]
        if self.crops.center_mean:
            center = slice(self.geometry.center, self.geometry.center + self.geometry.crop_size)
            mean = self.mean_image[None, center, center]
        else:
            mean = self.mean_image[rows, columns]
        return (images[chosen, rows, columns].float() - mean).permute(0, 3, 1, 2)


def color_scale(color: ColorConfig) -> float:
    """Return the factor for noisy images: the 2012 source divides them by 1.1."""
    return 1.0 / (1.0 + color.std) if color.rescale else 1.0


def pca_directions(statistics: PixelStats, color: ColorConfig) -> Tensor:
    """Return the color that a draw of 1 adds along each principal direction: rows of float32 [3, 3].

    `std`: coefficient * sqrt(eigenvalue), the 2012 source (alexnet-2012 section 4.4); `eigenvalue`: as printed.
    """
    eigenvalues = torch.from_numpy(statistics.eigenvalues.copy()).clamp(min=0)
    magnitudes = eigenvalues.sqrt() if color.magnitude == "std" else eigenvalues
    directions = torch.from_numpy(statistics.eigenvectors.copy()).T
    return (color.std * magnitudes[:, None] * directions).float()


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """What happens to the n training images of one epoch, in the order of their use."""

    order: NDArray[np.int64]
    """Image indices [n], a permutation."""
    crop_offsets: NDArray[np.int64]
    """Row and column of each crop's first pixel [n, 2]."""
    flips: NDArray[np.bool_]
    """Whether each crop is flipped horizontally [n]."""
    colors: NDArray[np.float32]
    """Standard normal draws along the three principal directions of color [n, 3]."""


def draw_epoch(
    *, seed: int, epoch: int, images: int, positions: int, images_per_crop: int = 1, reshuffle: bool = True
) -> EpochPlan:
    """Draw one epoch over `images` images with `positions` possible crop offsets per axis.

    `images_per_crop` images that follow one another share an offset and a flip. Without `reshuffle` the images come in
    the order of epoch 0. What happens to an image is drawn by its place in the epoch (`alexnet.philox`), each form of
    augmentation from a stream of its own: switching one off leaves the others as they were.
    """
    order = np.random.default_rng([seed, epoch if reshuffle else 0, 0]).permutation(images)
    places = np.arange(images)
    crops = places // images_per_crop * images_per_crop
    offsets = philox.words(seed, "crop", step=epoch, place=crops)[:, :2]
    return EpochPlan(
        order=order,
        crop_offsets=(offsets * np.uint64(positions) >> np.uint64(32)).astype(np.int64),
        flips=philox.words(seed, "flip", step=epoch, place=crops)[:, 0] < philox.threshold(0.5),
        colors=philox.normals(seed, "color", step=epoch, place=places)[:, :3].copy(),
    )


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
