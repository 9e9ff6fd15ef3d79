"""The random choices of an epoch, drawn up front from the seed and the epoch number.

Because nothing else is random in the data path, a run is the same for any number of devices or interruptions, and
two ablations with one seed see the same images in the same order with the same draws: paired runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet import philox


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
