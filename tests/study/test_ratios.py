"""Ratios of times by the worked example, against scipy, and against their own promise."""

import math

import numpy as np
import pytest
from scipy import stats

from alexnet.study.verdict import ratio

RELU, TANH = [5.54, 5.04, 4.94], [38.36, 37.51, 37.70]


def test_ratio_by_hand_is_welch_s_t_on_logarithms() -> None:
    found = ratio(TANH, RELU)
    assert found.interval is not None and found.published is not None and not found.at_least
    assert found.times == pytest.approx(7.3266, abs=5e-5)
    assert found.interval == pytest.approx((6.3369, 8.4708), abs=5e-5)
    theirs = stats.ttest_ind(np.log(TANH), np.log(RELU), equal_var=False).confidence_interval()
    assert found.interval == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)))
    assert found.published == pytest.approx((5.4809, 9.7937), abs=5e-5)


def test_ratio_of_a_run_that_never_arrived_has_a_lower_limit_alone() -> None:
    found = ratio([40.0, 40.0, 38.0], RELU, censored=2)
    assert found.at_least and found.published is None and found.interval is not None
    assert found.interval.high == math.inf
    assert 1 < found.interval.low < found.times


def test_six_times_agrees_with_a_pair_of_published_runs() -> None:
    assert ratio(TANH, RELU).size(5.5, 6.5) == "agrees"
    assert ratio(TANH, RELU).size(2.5, 3.5) == "larger"
    assert ratio([2 * time for time in TANH], RELU).size(5.5, 6.5) == "larger"
    assert ratio([40.0, 40.0, 38.0], RELU, censored=2).size(2.5, 3.5) == "larger"
    assert ratio([40.0, 40.0, 38.0], RELU, censored=2).size(5.5, 8.5) == "not resolved"
    assert ratio(TANH[:1], RELU[:1]).size(5.5, 6.5) is None


def test_ratio_of_single_runs_has_no_interval() -> None:
    found = ratio(TANH[:1], RELU[:1])
    assert (found.interval, found.published) == (None, None)
    assert found.times == pytest.approx(38.36 / 5.54)


def test_lower_limit_is_below_the_truth() -> None:
    rng = np.random.default_rng(9)
    below = []
    for _ in range(1000):
        fast = np.exp(0.06 * rng.standard_normal(3))
        slow = 6 * np.exp(0.12 * rng.standard_normal(3))
        end = 6 * math.exp(0.12 * stats.norm.ppf(0.9))
        if censored := int((slow > end).sum()):
            interval = ratio(np.minimum(slow, end), fast, censored=censored).interval
            assert interval is not None
            below.append(interval.low <= 6)
    assert np.mean(below) >= 0.975 - 2 * math.sqrt(0.025 * 0.975 / len(below))
