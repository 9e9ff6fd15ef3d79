"""Ratios of times, such as epochs to a training error: Welch's t on their logarithms, also where runs never arrive."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alexnet.study.family import CONFIDENCE, Floats, Interval
from alexnet.study.verdict import Region, Size, size


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long one arm takes as another."""

    times: float
    """Of the geometric means; a lower bound if `at_least`."""
    at_least: bool
    """Whether a run of the slow arm ended before it arrived."""
    interval: Interval | None
    """95 %; of a lower bound, its lower 97.5 % limit and infinity. None with one run of either arm."""
    narrow: Interval | None = None
    """90 %; None without an interval, or for a lower bound."""
    half: float | None = None
    """Of the 95 % interval for one published run of each arm, as a logarithm; None as for `narrow`."""
    least: float | None = None
    """What endless seeds on our side would leave of it."""

    @property
    def published(self) -> Interval | None:
        """95 % for the ratio of one published run of each arm; None as for `narrow`."""
        if self.half is None:
            return None
        return Interval(self.times * math.exp(-self.half), self.times * math.exp(self.half))

    def size(self, low: float, high: float) -> Size | None:
        """Judge the claim that the ratio of one run of each arm is from `low` to `high`; None without an interval."""
        if self.interval is None:
            return None
        claim = Region(low=math.log(low), high=math.log(high), one_run=True)
        if self.narrow is None or self.half is None or self.least is None:
            return Size.LARGER if math.log(self.interval.low) > claim.high else Size.NOT_RESOLVED
        return size(
            claim,
            math.log(self.times),
            interval=Interval(*map(math.log, self.interval)),
            narrow=Interval(*map(math.log, self.narrow)),
            half=self.half,
            least=self.least,
        )


def ratio(slow: Sequence[float], fast: Sequence[float], *, censored: int = 0) -> Ratio:
    """Compare times, of which `censored` of the slow arm are only known to be longer than given."""
    logs = [np.log(np.asarray(times, dtype=np.float64)) for times in (slow, fast)]
    difference = float(logs[0].mean() - logs[1].mean())
    times = math.exp(difference)
    if min(map(len, logs)) == 1:
        return Ratio(times=times, at_least=censored > 0, interval=None)
    variances = np.array([one.var(ddof=1) for one in logs])
    if censored:
        runs = min(map(len, logs))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1)) * math.sqrt(2 * variances.max() / runs)
        return Ratio(times=times, at_least=True, interval=Interval(math.exp(difference - half), math.inf))
    counts = np.array([len(one) for one in logs])
    ends = [_half(variances / counts, counts, confidence) for confidence in (CONFIDENCE, 0.9)]
    interval, narrow = (Interval(math.exp(difference - half), math.exp(difference + half)) for half in ends)
    return Ratio(
        times=times,
        at_least=False,
        interval=interval,
        narrow=narrow,
        half=_half(variances * (1 + 1 / counts), counts, CONFIDENCE),
        least=float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variances.sum()),
    )


def epochs_to(errors: Sequence[float], target: float, start: float) -> float | None:
    """Return when a curve first reaches a target, in epochs, in a straight line between its points; None if never.

    `errors` are those after epoch 1, 2, ...; `start` is the error at epoch 0, above the target.
    """
    for epoch, (before, after) in enumerate(pairwise([start, *errors])):
        if after <= target:
            return epoch + (before - target) / (before - after)
    return None


def _half(parts: Floats, counts: NDArray[np.int64], confidence: float) -> float:
    """Return half of an interval whose variance is the sum of two parts, with Welch's degrees of freedom."""
    if not parts.any():
        return 0.0
    dof = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
    return float(stats.t.ppf((1 + confidence) / 2, dof) * math.sqrt(parts.sum()))
