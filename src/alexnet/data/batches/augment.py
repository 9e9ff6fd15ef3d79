"""Augmentation of whole batches on their device: crop, mirror, mean image, color noise (sections 2 and 4.1)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.pack.statistics import PixelStats


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
    """Training images that have been augmented while they were loaded (`alexnet.data.batches.augment_numba`)."""

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
