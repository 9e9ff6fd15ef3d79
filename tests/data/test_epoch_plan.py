"""The epoch plan: a pure function of seed and epoch, uniform, and independent between its streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from alexnet import philox
from alexnet.data.augment import EpochPlan, draw_epoch

N = 20_000
FIVE_SIGMA = 5.0


def same(one: EpochPlan, other: EpochPlan) -> list[bool]:
    """Whether each part of two plans is equal, bit for bit."""
    names = ("order", "crop_offsets", "flips", "colors")
    return [np.array_equal(getattr(one, name), getattr(other, name)) for name in names]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 500), images=st.integers(1, 60), positions=st.integers(1, 40)
)
def test_a_plan_uses_every_image_once_and_every_draw_fits(seed: int, epoch: int, images: int, positions: int) -> None:
    plan = draw_epoch(seed=seed, epoch=epoch, images=images, positions=positions)
    assert sorted(plan.order.tolist()) == list(range(images))
    assert plan.crop_offsets.shape == (images, 2) and plan.colors.shape == (images, 3) and plan.flips.shape == (images,)
    assert plan.crop_offsets.min() >= 0 and plan.crop_offsets.max() < positions
    assert plan.flips.dtype == np.bool_ and plan.colors.dtype == np.float32
    np.random.seed(3)  # the global state has no part in it
    assert all(same(plan, draw_epoch(seed=seed, epoch=epoch, images=images, positions=positions)))


@pytest.mark.parametrize("images_per_crop", [1, 32])
def test_draws_are_those_of_the_streams_by_place_and_epoch(images_per_crop: int) -> None:
    plan = draw_epoch(seed=5, epoch=7, images=100, positions=33, images_per_crop=images_per_crop)
    np.testing.assert_array_equal(plan.order, np.random.default_rng([5, 7, 0]).permutation(100))
    for place in range(100):
        shared = place // images_per_crop * images_per_crop
        row, column, *_ = philox.words(5, "crop", step=7, place=shared)[0].tolist()
        assert plan.crop_offsets[place].tolist() == [row * 33 // 2**32, column * 33 // 2**32]
        assert plan.flips[place] == (philox.words(5, "flip", step=7, place=shared)[0, 0] < 2**31)
        assert plan.colors[place].tolist() == philox.normals(5, "color", step=7, place=place)[0, :3].tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 2), epoch=st.integers(0, 500))
def test_another_seed_or_epoch_is_another_plan(seed: int, epoch: int) -> None:
    plan = draw_epoch(seed=seed, epoch=epoch, images=80, positions=32)
    for other in ((seed + 1, epoch), (seed, epoch + 1), (epoch, seed)):
        if other != (seed, epoch):
            assert not any(same(plan, draw_epoch(seed=other[0], epoch=other[1], images=80, positions=32)))


def test_offsets_are_uniform_over_exactly_the_allowed_positions() -> None:
    for positions in (1, 2, 5, 32):
        offsets = draw_epoch(seed=1, epoch=2, images=N, positions=positions).crop_offsets
        cells = np.bincount(offsets[:, 0] * positions + offsets[:, 1], minlength=positions**2)
        assert len(cells) == positions**2
        if positions > 1:  # rows and columns together: uniform, and independent of each other
            assert chisquare(cells).pvalue > 1e-4


def test_flips_are_fair_and_colours_standard_normal() -> None:
    plan = draw_epoch(seed=1, epoch=2, images=N, positions=32)
    assert abs(plan.flips.mean() - 0.5) < FIVE_SIGMA * 0.5 / np.sqrt(N)
    moments = np.cov(plan.colors.T.astype(np.float64)) - np.eye(3)
    assert np.abs(plan.colors.mean(axis=0)).max() < FIVE_SIGMA / np.sqrt(N)
    assert np.abs(moments).max() < FIVE_SIGMA * np.sqrt(2 / N)


def test_streams_are_independent_of_each_other_and_between_epochs() -> None:
    plans = [draw_epoch(seed=1, epoch=epoch, images=N, positions=32) for epoch in (0, 1)]
    columns = [
        column
        for plan in plans
        for column in (plan.order, plan.crop_offsets[:, 0], plan.crop_offsets[:, 1], plan.flips, *plan.colors.T)
    ]
    correlations = np.corrcoef(np.array(columns, dtype=np.float64))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < FIVE_SIGMA / np.sqrt(N)


def test_switching_one_augmentation_off_leaves_the_other_draws() -> None:
    wide, narrow = (draw_epoch(seed=4, epoch=9, images=500, positions=positions) for positions in (32, 1))
    assert same(wide, narrow) == [True, False, True, True]


@settings(max_examples=40, deadline=None)
@given(images=st.integers(1, 150), per_draw=st.integers(1, 40), epoch=st.integers(0, 5))
def test_images_in_a_row_share_a_crop_and_a_flip_but_no_colour(images: int, per_draw: int, epoch: int) -> None:
    plan = draw_epoch(seed=3, epoch=epoch, images=images, positions=33, images_per_crop=per_draw)
    single = draw_epoch(seed=3, epoch=epoch, images=images, positions=33)
    for index in range(images):
        first = index - index % per_draw
        assert plan.crop_offsets[index].tolist() == single.crop_offsets[first].tolist()
        assert plan.flips[index] == single.flips[first]
    assert same(plan, single)[0] and same(plan, single)[3]


def test_a_batch_of_128_has_four_draws_of_32_images() -> None:
    plan = draw_epoch(seed=1, epoch=0, images=1024, positions=33, images_per_crop=32)
    for start in range(0, 1024, 128):
        assert len({tuple(offset) for offset in plan.crop_offsets[start : start + 128].tolist()}) == 4
    assert (
        plan.crop_offsets.max() == 32
        and draw_epoch(seed=1, epoch=0, images=1024, positions=32).crop_offsets.max() == 31
    )


def test_without_reshuffling_every_epoch_has_the_order_of_the_first() -> None:
    orders = [draw_epoch(seed=5, epoch=epoch, images=300, positions=4, reshuffle=False).order for epoch in (0, 1, 7)]
    first = draw_epoch(seed=5, epoch=0, images=300, positions=4).order
    assert all(np.array_equal(order, first) for order in orders)
    shuffled, fixed = (draw_epoch(seed=5, epoch=2, images=300, positions=4, reshuffle=way) for way in (True, False))
    assert same(shuffled, fixed) == [False, True, True, True]
