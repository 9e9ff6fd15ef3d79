"""Colour selectivity against kernels worked out by hand, and the permutation test against every split."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet.study.kernels import color_selectivity, contrast


def kernel(*pixels: tuple[float, float, float]) -> NDArray[np.float32]:
    """Four pixels (red, green, blue) as one kernel [1, 3, 2, 2]."""
    return np.array(pixels, dtype=np.float32).T.reshape(1, 3, 2, 2)


def test_selectivity_by_hand() -> None:
    black = (0, 0, 0)
    # (1, 2, 3): energy 14, along grey 36 / 3 = 12. (-1, 0, 4): energy 17, along grey 9 / 3 = 3.
    mixed = kernel((1, 2, 3), (-1, 0, 4), black, black)
    grey = kernel((1, 1, 1), (-2, -2, -2), black, black)
    opponent = kernel((1, -1, 0), (1, 1, -2), black, black)
    red = kernel((5, 0, 0), black, black, black)
    seen = color_selectivity(np.concatenate([mixed, grey, opponent, red]))
    assert seen.dtype == np.float64
    assert seen == pytest.approx([1 - 15 / 31, 0, 1, 2 / 3])


def test_a_kernel_of_zeros_has_no_selectivity() -> None:
    assert np.isnan(color_selectivity(np.zeros((1, 3, 2, 2), dtype=np.float32))).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_selectivity_is_the_energy_off_the_grey_axis_at_any_scale(seed: int, scale: float) -> None:
    kernels = np.random.default_rng(seed).normal(size=(4, 3, 5, 5)).astype(np.float32)
    grey = np.ones(3) / np.sqrt(3)
    for one, seen in zip(kernels.astype(np.float64), color_selectivity(kernels), strict=True):
        pixels = one.reshape(3, 25).T
        off = pixels - np.outer(pixels @ grey, grey)
        assert seen == pytest.approx(np.linalg.norm(off) ** 2 / np.linalg.norm(pixels) ** 2)
    scaled = color_selectivity((kernels * scale).astype(np.float32))
    assert scaled == pytest.approx(color_selectivity(kernels), abs=1e-5)


def test_random_kernels_have_two_thirds() -> None:
    kernels = np.random.default_rng(0).normal(size=(400, 3, 5, 5)).astype(np.float32)
    assert color_selectivity(kernels).mean() == pytest.approx(2 / 3, abs=0.01)


def every_split(first: list[float], second: list[float]) -> float:
    """The exact p by its definition, one split after the other."""
    pooled = first + second
    observed = abs(np.mean(second) - np.mean(first))
    reached = []
    for chosen in combinations(range(len(pooled)), len(first)):
        rest = [pooled[index] for index in range(len(pooled)) if index not in chosen]
        difference = abs(np.mean(rest) - np.mean([pooled[index] for index in chosen]))
        reached.append(difference >= observed - 1e-12)
    return float(np.mean(reached))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_small_columns_are_split_in_every_way(first: list[float], second: list[float]) -> None:
    compared = contrast(np.array(first), np.array(second))
    assert compared is not None
    assert compared.difference == pytest.approx(np.mean(second) - np.mean(first))
    assert compared.p == pytest.approx(every_split(first, second))


def test_large_columns_are_split_at_random() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.uniform(size=48), rng.uniform(size=48)
    even, shifted = contrast(first, second), contrast(first, second + 1)
    assert even is not None and shifted is not None
    # A t test is close to the permutation test at this size; 20,000 draws of p near 0.2 have an error of 0.003.
    from scipy import stats

    assert even.p == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=0.015)
    assert shifted.p == pytest.approx(1 / 20_001)
    assert contrast(first, second) == even


def test_dead_kernels_are_left_out() -> None:
    nan = float("nan")
    compared = contrast(np.array([0.1, nan, 0.2]), np.array([0.8, 0.9]))
    assert compared is not None
    assert compared.difference == pytest.approx(0.7)
    assert compared.p == pytest.approx(2 / 6)
    assert contrast(np.array([nan]), np.array([0.5])) is None
