"""The statistics against sums and tables worked out by hand, and against their own promise of coverage."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet.study.statistics import (
    holm,
    mcnemar_p,
    mean_delta,
    paired_delta,
    paired_interval,
    seed_interval,
)


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


def test_seed_interval_by_hand() -> None:
    # 1, 2, 3: mean 2, standard deviation 1, error 1 / sqrt 3, t(0.975, 2) = 4.302653
    low, high = seed_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / sqrt(3), 2 + 4.302653 / sqrt(3)), abs=1e-6)
    # 0, 2: mean 1, standard deviation sqrt 2, error 1, t(0.975, 1) = 12.706205
    assert seed_interval(np.array([0.0, 2.0])) == pytest.approx((1 - 12.706205, 1 + 12.706205), abs=1e-6)


def flags(text: str) -> NDArray[np.bool_]:
    return np.array([mark == "1" for mark in text])


def test_paired_delta_by_hand() -> None:
    pair = paired_delta(flags("1111100000"), flags("1100010000"))
    assert (pair.only_run_wrong, pair.only_baseline_wrong) == (3, 1)
    assert pair.delta == pytest.approx(20.0)
    assert pair.p == pytest.approx(2 * (1 + 4) / 16)
    assert pair.interval == paired_interval(3, 1, 10)


def test_one_seed_leaves_the_seed_variance_unknown() -> None:
    baseline, run = flags("1111100000"), flags("1100010000")
    mean, pair = mean_delta(baseline[None], run[None]), paired_delta(baseline, run)
    assert (mean.delta, mean.interval, mean.p) == (pair.delta, pair.interval, pair.p)
    assert mean.seeds == 1
    assert mean.seed_sd is None
    assert mean.seed_interval is None


def test_identical_runs_give_no_difference_and_an_honest_width() -> None:
    right = np.random.default_rng(0).random((3, 500)) < 0.7
    mean = mean_delta(right, right)
    assert (mean.delta, mean.p, mean.seed_sd) == (0, 1, 0)
    assert mean.interval == paired_interval(0, 0, 500)


def test_p_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        baseline, run = rng.random((2, 3, 100)) < np.array([0.7, 0.6])[:, None, None]
        mean = mean_delta(baseline, run)
        assert (mean.p < 0.05) == (not mean.interval.low <= 0 <= mean.interval.high)


def test_a_single_image_and_a_constant_difference_are_survived() -> None:
    assert mean_delta(np.array([[True], [True]]), np.array([[False], [True]])).delta == 50
    everything = mean_delta(np.ones((2, 50), bool), np.zeros((2, 50), bool))
    assert everything.delta == 100
    assert everything.p < 1e-9


def rejected(p_values: list[float], level: float) -> set[int]:
    """Holm's sequentially rejective procedure (1979): stop at the first that is not small enough."""
    found: set[int] = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > level / (len(p_values) - step):
            break
        found.add(place)
    return found


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.6, 0.01], [1.0, 1.0, 0.03]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_stepwise_procedure_rejects(p_values: list[float], level: float) -> None:
    adjusted = holm(p_values)
    # Products and quotients round differently where a p-value stands exactly at its bound.
    if all(abs(p - level) > 1e-9 for p in adjusted):
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected(p_values, level)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, adjusted, strict=True))
