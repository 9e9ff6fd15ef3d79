"""The statistics against sums and tables worked out by hand, and against their own promise of coverage."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from alexnet.study.statistics import error_interval, mcnemar_p, paired_delta, paired_interval


def binomial_p(b: int, c: int) -> float:
    """Twice the smaller tail of a fair coin, in whole numbers; at 1/2 the distribution is symmetric."""
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail / 2 ** (b + c))


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
        (10, 4, 2 * (1 + 14 + 91 + 364 + 1001) / 16384),
    ],
)
def test_mcnemar_by_hand(b: int, c: int, p: float) -> None:
    assert mcnemar_p(b, c) == pytest.approx(p, rel=1e-12)


@given(st.integers(0, 120), st.integers(0, 120))
def test_mcnemar_is_the_sum_of_binomial_coefficients(b: int, c: int) -> None:
    assert mcnemar_p(b, c) == pytest.approx(binomial_p(b, c), rel=1e-9)
    assert mcnemar_p(b, c) == mcnemar_p(c, b)


def test_mcnemar_is_statsmodels() -> None:
    assert mcnemar_p(29, 9) == pytest.approx(mcnemar([[50, 29], [9, 10]], exact=True).pvalue)


def test_paired_interval_by_hand() -> None:
    # b = 29, c = 9, N = 98: p = 0.3, q = 0.1, difference 0.2, variance (0.4 - 0.04) / 100 = 0.0036, error 0.06
    low, high = paired_interval(29, 9, 98)
    assert low == pytest.approx(100 * (0.2 - 1.959964 * 0.06), abs=1e-5)
    assert high == pytest.approx(100 * (0.2 + 1.959964 * 0.06), abs=1e-5)


def test_paired_interval_without_discordant_images_has_a_width() -> None:
    low, high = paired_interval(0, 0, 998)
    assert high == -low == pytest.approx(100 * 1.959964 * sqrt(2 / 1000 / 1000), rel=1e-6)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_paired_interval_stays_within_possible_differences(b: int, c: int, agreeing: int) -> None:
    low, high = paired_interval(b, c, b + c + agreeing + 1)
    assert -100 <= low < high <= 100
    mirrored = paired_interval(c, b, b + c + agreeing + 1)
    assert (low, high) == pytest.approx((-mirrored.high, -mirrored.low))


@pytest.mark.parametrize("discordance", [(0.01, 0.01), (0.10, 0.06), (0.30, 0.02)])
def test_paired_interval_covers(discordance: tuple[float, float]) -> None:
    images, truth = 300, 100 * (discordance[0] - discordance[1])
    draws = np.random.default_rng(1).multinomial(images, [*discordance, 1 - sum(discordance)], size=1500)
    intervals = [paired_interval(int(b), int(c), images) for b, c, _ in draws]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.935 <= covered <= 0.995


def flags(text: str) -> NDArray[np.bool_]:
    return np.array([mark == "1" for mark in text])


def test_paired_delta_by_hand() -> None:
    pair = paired_delta(flags("1111100000"), flags("1100010000"))
    assert (pair.only_run_wrong, pair.only_baseline_wrong) == (3, 1)
    assert pair.delta == pytest.approx(20.0)
    assert pair.p == pytest.approx(2 * (1 + 4) / 16)
    assert pair.interval == paired_interval(3, 1, 10)


def test_error_interval_is_statsmodels() -> None:
    for wrong, images in ((0, 20), (7, 20), (15_000, 50_000)):
        theirs = proportion_confint(wrong, images, method="wilson")
        assert error_interval(wrong, images) == pytest.approx(tuple(100 * end for end in theirs))
