"""The compiled pass against the several passes of the augmenter, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.augment import Augmenter, CropGeometry, NumbaAugmenter, RawBatch, draw_epoch
from alexnet.data.pack.splits import RawSplit
from alexnet.data.pack.statistics import RunningPixelStats

SIZE, IMAGES = 20, 13


@pytest.fixture
def split(tmp_path: Path) -> RawSplit:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    images[:9].tofile(tmp_path / "0.raw")
    images[9:].tofile(tmp_path / "1.raw")
    return RawSplit([tmp_path / "0.raw", tmp_path / "1.raw"], SIZE, np.arange(IMAGES))


@pytest.mark.parametrize("center_mean", [False, True])
@pytest.mark.parametrize("augmented", [False, True])
def test_one_pass_makes_what_the_augmenter_makes(split: RawSplit, center_mean: bool, augmented: bool) -> None:
    crop = 15
    sums = RunningPixelStats(SIZE)
    sums.add(split.gather(np.arange(IMAGES)))
    geometry = CropGeometry(image_size=SIZE, crop_size=crop)
    crops = CropsConfig(random=augmented, flip=augmented, include_last_offset=False, center_mean=center_mean)
    color = ColorConfig(std=0.1, magnitude="std", rescale=True)
    plan = draw_epoch(seed=0, epoch=0, images=IMAGES, positions=geometry.positions(crops))
    augmenter = Augmenter(sums.statistics(), geometry, crops=crops, color=color)
    augmenter.color_on = augmented
    drawn = (torch.from_numpy(draws) for draws in (plan.crop_offsets, plan.flips, plan.colors))
    expected = augmenter(RawBatch(torch.from_numpy(split.gather(plan.order)), torch.zeros(IMAGES), *drawn))
    augment = NumbaAugmenter(sums.statistics(), geometry, crops=crops, color=color, color_on=augmented)
    found = augment(split, plan, slice(0, IMAGES), np.empty((IMAGES + 1, crop, crop, 3), np.float32))
    assert torch.equal(found, expected) and found.stride() == expected.stride()
