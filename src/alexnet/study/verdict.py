"""Verdicts: what a delta says about a claim, in two words, one for its direction and one for its size.

A claim is a region of deltas. `docs/statistics.md` gives the rules and how often each word is right.

A ratio of times, such as epochs to a training error, is judged by Welch's t on their logarithms, also where runs never
arrive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alexnet.config.schema import Claim
from alexnet.study.statistics import CONFIDENCE, Floats, Interval


class Direction(StrEnum):
    """Whether the change makes the error larger or smaller."""

    AS_CLAIMED = "as claimed"
    OPPOSITE = "opposite"
    WORSE = "worse"
    """Without a claim on the direction."""
    BETTER = "better"
    NO_EFFECT = "no effect"
    """Shown to be within the margin."""
    NOT_RESOLVED = "not resolved"
    TOO_FEW_SEEDS = "too few seeds"
    DEPENDS = "depends on the rate"
    """At the shared learning rate and at the ablation's own, the error changes in opposite directions."""


RESOLVED = (Direction.AS_CLAIMED, Direction.OPPOSITE, Direction.WORSE, Direction.BETTER)


class Size(StrEnum):
    """Whether the effect is as large as claimed."""

    CONFIRMED = "confirmed"
    """Within the claim, whatever single runs may show."""
    AGREES = "agrees"
    """A pair of single runs would often show the number, and 0 would have been told from it."""
    LARGER = "larger"
    SMALLER = "smaller"
    NOT_TESTABLE = "not testable"
    """Single published runs are too noisy for a number of this size, whatever the seeds here."""
    NOT_RESOLVED = "not resolved"


@dataclass(frozen=True, kw_only=True)
class Region:
    """Deltas that a claim allows, in points."""

    low: float
    high: float
    one_run: bool
    """Whether it rests on one run of each arm; a general statement has no error of its own."""

    @property
    def from_zero(self) -> float:
        """How far an effect of 0 is outside; 0 if the claim allows it."""
        return max(self.low, -self.high, 0.0)

    @property
    def sign(self) -> int:
        """1 if the claim is that the error rises, -1 if it falls, 0 if it allows no effect."""
        return (self.low > 0) - (self.high < 0)


def region(claim: Claim, source: str, measure: str) -> Region | None:
    """Return the deltas that a `source` (`paper` or `log`) allows; None if it gives no number for this measure."""
    effect = getattr(claim, source)
    value, margin = getattr(effect, measure), getattr(claim.margin, measure)
    if effect.needs_margin and margin is not None:
        return Region(low=-margin if effect.relation == "no_effect" else -math.inf, high=margin, one_run=False)
    if value is None:
        return None
    if effect.relation == "at_least":
        return Region(low=value, high=math.inf, one_run=True)
    if effect.relation == "range":
        high = getattr(effect.up_to, measure)
        return None if high is None else Region(low=value, high=high, one_run=True)
    return Region(low=value - effect.unit / 2, high=value + effect.unit / 2, one_run=True)


def claimed_sign(claim: Claim, measure: str) -> int:
    """Return 1 if the error is said to rise, -1 if to fall, 0 if nothing is said: by the paper, else by the log."""
    for source in ("paper", "log"):
        allowed, relation = region(claim, source, measure), getattr(claim, source).relation
        if allowed is not None:
            return allowed.sign
        if relation in ("worse", "better"):
            return 1 if relation == "worse" else -1
    return 0


def direction(delta: float, *, significant: bool, sign: int, narrow: Interval, margin: float | None) -> Direction:
    """Judge the sign of a delta, `significant` after Holm, against the claimed `sign`.

    `narrow` is the interval of two one-sided tests, 90 % for a level of 5 %; without a `margin` there is no saying
    that there is no effect.
    """
    if significant:
        if sign == 0:
            return Direction.WORSE if delta > 0 else Direction.BETTER
        return Direction.AS_CLAIMED if delta * sign > 0 else Direction.OPPOSITE
    if margin is not None and -margin < narrow.low and narrow.high < margin:
        return Direction.NO_EFFECT
    return Direction.NOT_RESOLVED


def size(claim: Region, delta: float, *, interval: Interval, narrow: Interval, half: float, least: float) -> Size:
    """Judge the size of a delta by its 95 % `interval` and its 90 % one, `narrow`.

    `half` is half the interval for one published run of each arm, `least` what endless seeds here would leave of it.
    """
    if claim.low < narrow.low and narrow.high < claim.high:
        return Size.CONFIRMED
    low, high = (delta - half, delta + half) if claim.one_run else interval
    if low > claim.high or high < claim.low:
        # Of a claim that the error falls, a smaller effect is one above it.
        beyond = claim.sign == 0 or (low > claim.high) == (claim.sign > 0)
        return Size.LARGER if beyond else Size.SMALLER
    if not claim.one_run or claim.sign == 0:
        return Size.NOT_RESOLVED
    shown = interval.low > 0 if claim.sign > 0 else interval.high < 0
    if shown and half < claim.from_zero:
        return Size.AGREES
    return Size.NOT_TESTABLE if least >= claim.from_zero else Size.NOT_RESOLVED


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
