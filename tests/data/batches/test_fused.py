"""The one pass against the several passes of the augmenter, bit for bit, by either way into memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numba import njit

from alexnet.config.groups import ColorConfig, CropsConfig
from alexnet.data.batches import fused
from alexnet.data.batches.augment import Augmenter, CropGeometry, RawBatch
from alexnet.data.batches.fused import FusedAugmenter
from alexnet.data.batches.past_cache import VALUES, settle, store_past_cache
from alexnet.data.batches.plan import draw_epoch
from alexnet.data.batches.slots import Slots
from alexnet.data.pack.splits import RawSplit
from alexnet.data.pack.statistics import RunningPixelStats

SIZE, IMAGES = 20, 13


@pytest.fixture
def split(tmp_path: Path) -> RawSplit:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    images[:9].tofile(tmp_path / "0.raw")
    images[9:].tofile(tmp_path / "1.raw")
    return RawSplit([tmp_path / "0.raw", tmp_path / "1.raw"], SIZE, np.arange(IMAGES))


# Lines of 48 values are stored sixteen at a time; those of 45 cannot be.
@pytest.mark.parametrize(("crop", "cached_bytes", "past_cache"), [(16, 0, True), (16, 2**24, False), (15, 0, False)])
@pytest.mark.parametrize("center_mean", [False, True])
def test_every_way_into_memory_gives_what_the_augmenter_gives(
    split: RawSplit,
    crop: int,
    cached_bytes: int,
    past_cache: bool,
    center_mean: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "_CACHED_BYTES", cached_bytes)
    sums = RunningPixelStats(SIZE)
    sums.add(split.gather(np.arange(IMAGES)))
    geometry = CropGeometry(image_size=SIZE, crop_size=crop)
    crops = CropsConfig(random=True, flip=True, include_last_offset=False, center_mean=center_mean)
    color = ColorConfig(std=0.1, magnitude="std", rescale=True)
    plan = draw_epoch(seed=0, epoch=0, images=IMAGES, positions=geometry.positions(crops))
    augmenter = Augmenter(sums.statistics(), geometry, crops=crops, color=color)
    drawn = (torch.from_numpy(draws) for draws in (plan.offsets, plan.flips, plan.colors))
    expected = augmenter(RawBatch(torch.from_numpy(split.gather(plan.order)), torch.zeros(IMAGES), *drawn))
    out = Slots((IMAGES, crop, crop, 3)).take()
    assert fused._goes_past_cache(out) == past_cache
    augment = FusedAugmenter(sums.statistics(), geometry, crops=crops, color=color, color_on=True)
    assert torch.equal(augment(split, plan, slice(0, IMAGES), out), expected)


def test_a_store_past_the_cache_fills_its_sixteen_places_and_no_others() -> None:
    @njit
    def store(source: np.ndarray, target: np.ndarray) -> None:
        store_past_cache(source, np.uint64(3), target, np.uint64(VALUES))  # type: ignore[call-arg]
        settle()  # type: ignore[call-arg]

    source, target = np.arange(40, dtype=np.float32), torch.full((3 * VALUES,), -1.0).numpy()
    store(source, target)
    expected = np.full(3 * VALUES, -1.0)
    expected[VALUES : 2 * VALUES] = range(3, 3 + VALUES)
    np.testing.assert_array_equal(target, expected)
