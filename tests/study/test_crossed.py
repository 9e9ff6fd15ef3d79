"""The crossed analysis against tables worked out by hand, and its coverage by integration, without chance."""

from itertools import product
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from alexnet.study.crossed import (
    SEED_VARIANCE_FLOOR,
    MeanError,
    MeanSquares,
    mean_error,
    mean_squares,
    root,
    two_sided_p,
)


def test_mean_squares_by_hand() -> None:
    # Seed means 1 and 3, image means 2, 1, 3, nothing left over: MS_seed = 3 * (1 + 1) / 1, MS_image = 2 * (1 + 1) / 2.
    squares = mean_squares(np.array([[1.0, 0.0, 2.0], [3.0, 2.0, 4.0]]))
    assert (squares.seed, squares.image, squares.residual) == pytest.approx((6.0, 2.0, 0.0))
    parts = squares.components()
    assert (parts.images, parts.seed, parts.image, parts.residual) == pytest.approx((3, 2.0, 1.0, 0.0))
    # var = 2 / 2 seeds + 1 / 3 images
    error = mean_error(squares)
    assert error.standard_error() == pytest.approx(sqrt(2 / 2 + 1 / 3))
    assert (error.of_seeds, error.of_images) == pytest.approx((1.0, 1 / 3))


@given(st.integers(2, 5), st.integers(2, 30), st.integers(0, 10_000))
def test_sums_of_squares_add_up(seeds: int, images: int, seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-1, 2, (seeds, images)).astype(float)
    squares = mean_squares(differences)
    parts = (seeds - 1) * squares.seed + (images - 1) * squares.image + (seeds - 1) * (images - 1) * squares.residual
    assert parts == pytest.approx(((differences - differences.mean()) ** 2).sum())


def test_components_are_found_again() -> None:
    rng, seeds, images = np.random.default_rng(4), 300, 400
    drawn = rng.normal(0, 2, (seeds, 1)) + rng.normal(0, 3, (1, images)) + rng.normal(0, 5, (seeds, images))
    parts = mean_squares(drawn).components()
    assert (parts.seed, parts.image, parts.residual) == pytest.approx((4, 9, 25), rel=0.25)


def test_a_batch_is_analysed_study_by_study() -> None:
    batch = np.random.default_rng(0).normal(size=(4, 3, 20))
    together = mean_error(mean_squares(batch)).half_width(0.05)
    assert together == pytest.approx([mean_error(mean_squares(study)).half_width(0.05) for study in batch])


def test_equal_seeds_leave_the_error_of_the_test_set() -> None:
    row = np.array([100.0, 0.0, -100.0, 0.0, 100.0, 0.0])
    error = mean_error(mean_squares(np.stack([row, row, row])))
    assert error.standard_error() == pytest.approx(row.std(ddof=1) / sqrt(6))
    assert error.critical_value(0.05) == pytest.approx(1.959964)


def test_seeds_that_agree_by_chance_do_not_narrow_the_interval_to_nothing() -> None:
    # Both seeds at 0, by opposite images: MS_seed = 0, and chi-squared with one degree is below z(0.5125)^2 one time
    # in forty.
    error = mean_error(mean_squares(np.array([[100.0, -100.0, 0, 0], [0, 0, 100.0, -100.0]])))
    rest = 8 * 50**2 / 3
    assert error.of_seeds == pytest.approx(special.ndtri(0.5 + SEED_VARIANCE_FLOOR / 2) ** 2 * rest / 8)
    assert error.half_width(0.05) > 0


def test_critical_values_at_the_ends_and_between() -> None:
    for seeds, student in ((2, 12.706205), (3, 4.302653), (5, 2.776445)):
        assert MeanError(seeds=seeds, of_seeds=2.0, of_images=0.0).critical_value(0.05) == pytest.approx(student)
        assert MeanError(seeds=seeds, of_seeds=0.0, of_images=2.0).critical_value(0.05) == pytest.approx(1.959964)
    assert MeanError(seeds=2, of_seeds=1.0, of_images=3.0).critical_value(0.05) == pytest.approx(
        0.25 * 12.706205 + 0.75 * 1.959964
    )
    assert MeanError(seeds=3, of_seeds=1.0, of_images=3.0).critical_value(0.05) == pytest.approx(
        0.125 * 4.302653 + 0.875 * 1.959964
    )


@given(st.floats(0, 60), st.integers(2, 8))
def test_p_is_students_or_normal_at_the_ends(statistic: float, seeds: int) -> None:
    student = two_sided_p(MeanError(seeds=seeds, of_seeds=4.0, of_images=0.0), 2 * statistic)
    assert student == pytest.approx(2 * special.stdtr(seeds - 1, -statistic), rel=1e-6, abs=2e-15)
    normal = two_sided_p(MeanError(seeds=seeds, of_seeds=0.0, of_images=4.0), -2 * statistic)
    assert normal == pytest.approx(2 * special.ndtr(-statistic), rel=1e-6, abs=2e-15)


@given(st.floats(-5, 5), st.floats(0.01, 10), st.floats(0, 10), st.integers(2, 6))
def test_p_and_interval_agree(mean: float, of_seeds: float, of_images: float, seeds: int) -> None:
    error = MeanError(seeds=seeds, of_seeds=of_seeds, of_images=of_images)
    half = float(error.half_width(0.05))
    if abs(abs(mean) - half) > 1e-6:
        assert (two_sided_p(error, mean) < 0.05) == (abs(mean) > half)


def test_root() -> None:
    assert root(lambda x: x - 0.3, 0.0, 1.0) == pytest.approx(0.3)
    assert root(exp, -1.0, 1.0) == pytest.approx(-1.0)
    assert root(lambda x: log(x) - 9, 1.0, 2.0) == pytest.approx(2.0)


def integrated_coverage(seeds: int, seed_ratio: float, image_ratio: float) -> float:
    """Of the 95 % interval: normal mean, chi-squared mean square between seeds, image part as good as known.

    The ratios are those of the simulation: N var(seed) / var(rest) and var(image) / var(rest); here var(rest) / N = 1.
    """
    ranks = (np.arange(1000) + 0.5) / 1000
    spread = (1 + seed_ratio) * special.chdtri(seeds - 1, 1 - ranks) / (seeds - 1)
    squares = MeanSquares(
        seeds=seeds, images=1, seed=spread, image=np.array(1 + seeds * image_ratio), residual=np.array(1)
    )
    half = mean_error(squares).half_width(0.05)
    return float((2 * special.ndtr(half / sqrt((1 + seed_ratio) / seeds + image_ratio)) - 1).mean())


SEED_RATIOS = (0, 0.25, 0.5, 1, 2, 3, 6, 10, 30, 100, 1000)
IMAGE_RATIOS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10)


@pytest.mark.parametrize(("seeds", "low", "high"), [(2, 0.935, 0.98), *((s, 0.94, 0.9605) for s in (3, 4, 5, 7, 10))])
def test_coverage_at_every_ratio(seeds: int, low: float, high: float) -> None:
    found = [integrated_coverage(seeds, *ratios) for ratios in product(SEED_RATIOS, IMAGE_RATIOS)]
    assert low <= min(found) <= max(found) <= high


def test_two_seeds_keep_to_97_percent_where_images_do_not_dominate() -> None:
    found = [integrated_coverage(2, *ratios) for ratios in product(SEED_RATIOS, (0, 0.01, 0.05, 0.1, 0.2))]
    assert 0.935 <= min(found) <= max(found) <= 0.97
