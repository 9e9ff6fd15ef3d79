"""Paired statistics of an ablation against its baseline, on plain arrays.

Both nets of a pair see the same test images, and pairs with different seeds see them too. A difference is `ablation
minus baseline`: above 0 the ablation made the error worse. All differences are in points (percent of the images).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # scipy.stats has the same functions, and takes seconds to import

from alexnet.study.crossed import Components, mean_error, mean_squares, two_sided_p

CONFIDENCE = 0.95
Z = float(special.ndtri((1 + CONFIDENCE) / 2))
"""The normal quantile of a 95 % interval, both sides together."""


class Interval(NamedTuple):
    """A 95 % interval, in points."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PairedDelta:
    """One ablated run against the baseline with its seed."""

    delta: float
    """Rise of the error, in points."""
    interval: Interval
    """Covers the finite test set only: another seed may move the delta by more."""
    only_run_wrong: int
    """Images that the baseline got right and the ablated net wrong."""
    only_baseline_wrong: int
    p: float
    """Exact McNemar test of no difference."""


@dataclass(frozen=True, kw_only=True)
class MeanDelta:
    """An ablation against its baseline, over all seeds."""

    seeds: int
    delta: float
    """Mean rise of the error, in points."""
    interval: Interval
    """Covers the test set and, with two seeds or more, the spread between seeds."""
    p: float
    """Two-sided, of no difference; from two seeds on it is below 0.05 exactly if `interval` excludes 0."""
    components: Components | None = None
    """Of the variance; None if unknown: with one seed, or if no image makes a difference."""
    seed_sd: float | None = None
    """Standard deviation of the delta between seeds, in points; None with one seed."""
    seed_interval: Interval | None = None
    """Covers the spread between seeds on these very test images; None with one seed."""


def mcnemar_p(only_run_wrong: int, only_baseline_wrong: int) -> float:
    """Test whether the discordant images are split evenly: McNemar's, exact and two-sided.

    The exact form of McNemar (1947): a binomial test of `only_run_wrong` successes in all discordant images at 1/2,
    where both tails are equal; 1 if there are none.
    """
    smaller, discordant = min(only_run_wrong, only_baseline_wrong), only_run_wrong + only_baseline_wrong
    return min(1.0, 2 * float(special.bdtr(smaller, discordant, 0.5)))


def paired_interval(only_run_wrong: int, only_baseline_wrong: int, images: int) -> Interval:
    """Return the 95 % interval of a difference of two error rates on the same images, in points.

    The adjusted Wald interval of Bonett and Price (2012): with p = (b + 1) / (N + 2) and q = (c + 1) / (N + 2) for b
    and c discordant images out of N, it is p - q +- z sqrt((p + q - (p - q)^2) / (N + 2)). Unlike the plain Wald
    interval it keeps its coverage for few discordant images and has a width when there are none.
    """
    p, q = ((count + 1) / (images + 2) for count in (only_run_wrong, only_baseline_wrong))
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (images + 2))
    return Interval(100 * max(p - q - half, -1.0), 100 * min(p - q + half, 1.0))


def error_interval(wrong: int, images: int) -> Interval:
    """Return Wilson's (1927) 95 % interval of an error rate, in percent; it has a width even if nothing is wrong."""
    share, whole = wrong / images, 1 + Z**2 / images
    middle = (share + Z**2 / (2 * images)) / whole
    half = Z * math.sqrt(share * (1 - share) / images + (Z / (2 * images)) ** 2) / whole
    return Interval(100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0))


def mean_interval(differences: NDArray[np.float64]) -> Interval:
    """Return the 95 % normal interval of the mean of differences [N], in points, one for each of many images."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    return _within_bounds(float(differences.mean()), Z * error)


def _within_bounds(mean: float, half: float) -> Interval:
    return Interval(max(mean - half, -100.0), min(mean + half, 100.0))


def paired_delta(baseline_correct: NDArray[np.bool_], run_correct: NDArray[np.bool_]) -> PairedDelta:
    """Compare one pair; both arrays [N] say for each test image whether it was classified correctly."""
    only_run_wrong = int((baseline_correct & ~run_correct).sum())
    only_baseline_wrong = int((~baseline_correct & run_correct).sum())
    images = len(baseline_correct)
    return PairedDelta(
        delta=100 * (only_run_wrong - only_baseline_wrong) / images,
        interval=paired_interval(only_run_wrong, only_baseline_wrong, images),
        only_run_wrong=only_run_wrong,
        only_baseline_wrong=only_baseline_wrong,
        p=mcnemar_p(only_run_wrong, only_baseline_wrong),
    )


def seed_interval(deltas: NDArray[np.float64]) -> Interval:
    """Return the 95 % t interval of the mean of at least two deltas [S], one per seed."""
    mean, error = deltas.mean(), deltas.std(ddof=1) / np.sqrt(len(deltas))
    half = special.stdtrit(len(deltas) - 1, (1 + CONFIDENCE) / 2) * error
    return Interval(float(mean - half), float(mean + half))


def mean_delta(baseline_correct: NDArray[np.bool_], run_correct: NDArray[np.bool_]) -> MeanDelta:
    """Average all pairs of one ablation; both arrays are [S, N], seeds by test images.

    With one seed this is `paired_delta`. With more, seeds and images are both random samples: see
    `alexnet.study.crossed`.
    """
    pairs = [paired_delta(baseline, run) for baseline, run in zip(baseline_correct, run_correct, strict=True)]
    first, deltas = pairs[0], np.array([pair.delta for pair in pairs])
    delta, interval, p = float(deltas.mean()), first.interval, first.p
    if len(pairs) == 1:
        return MeanDelta(seeds=1, delta=delta, interval=interval, p=p)
    differences = 100 * (baseline_correct.astype(np.float64) - run_correct.astype(np.float64))
    components = None
    # No spread, typically not one discordant image at any seed: the variance seen is 0, but the test set is finite.
    if len(differences[0]) > 1 and np.ptp(differences) > 0:
        squares = mean_squares(differences)
        components, error = squares.components(), mean_error(squares)
        interval, p = _within_bounds(delta, float(error.half_width(1 - CONFIDENCE))), two_sided_p(error, delta)
    return MeanDelta(
        seeds=len(pairs),
        delta=delta,
        interval=interval,
        p=p,
        components=components,
        seed_sd=float(deltas.std(ddof=1)),
        seed_interval=seed_interval(deltas),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of ablations tested together, in the order given: Holm (1979).

    With m tests, the k-th smallest p-value (from 0) counts m - k times, and never less than one before it. Rejecting
    those below 0.05 makes any false rejection at all at most 5 % likely, however the tests depend on each other.
    """
    order = np.argsort(p_values)
    adjusted = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return [min(float(p), 1.0) for p in adjusted[np.argsort(order)]]
