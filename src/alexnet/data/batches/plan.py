"""The random choices of an epoch, drawn up front from the seed and the epoch number.

Because nothing else is random in the data path, a run is the same for any number of devices or interruptions, and
two ablations with one seed see the same images in the same order with the same draws: paired runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STREAMS = ("order", "offsets", "flips", "colors")
"""Independent random streams of an epoch: switching one form of augmentation off leaves the others as they were."""


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
    the order of epoch 0.
    """
    streams = {name: np.random.default_rng([seed, epoch, key]) for key, name in enumerate(STREAMS)}
    if not reshuffle:
        streams["order"] = np.random.default_rng([seed, 0, STREAMS.index("order")])
    shared = np.arange(images) // images_per_crop * images_per_crop
    return EpochPlan(
        order=streams["order"].permutation(images),
        crop_offsets=streams["offsets"].integers(0, positions, size=(images, 2))[shared],
        flips=streams["flips"].random(images)[shared] < 0.5,
        colors=streams["colors"].standard_normal((images, 3), dtype=np.float32),
    )
