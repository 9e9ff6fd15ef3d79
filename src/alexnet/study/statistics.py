"""Paired statistics of an ablation against its baseline, on plain arrays.

Both nets of a pair see the same test images, and pairs with different seeds see them too. A difference is `ablation
minus baseline`: above 0 the ablation made the error worse. All differences are in points (percent of the images).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # scipy.stats has the same functions, and takes seconds to import

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A 95 % interval, in points."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PairedDelta:
    """One ablated run against the baseline with its seed."""

    images: int
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
    """Two-sided, of no difference; agrees with `interval`."""
    seed_sd: float | None
    """Standard deviation of the delta between seeds, in points; None with one seed, where it is unknown."""
    seed_interval: Interval | None
    """Covers the spread between seeds on these very test images; None with one seed."""


def mcnemar_p(only_run_wrong: int, only_baseline_wrong: int) -> float:
    """Two-sided exact McNemar test: are the discordant images split evenly?

    The exact form of McNemar (1947): a binomial test of `only_run_wrong` successes in all discordant images at 1/2,
    where both tails are equal; 1 if there are none.
    """
    smaller, discordant = min(only_run_wrong, only_baseline_wrong), only_run_wrong + only_baseline_wrong
    return min(1.0, 2 * float(special.bdtr(smaller, discordant, 0.5)))


def paired_interval(only_run_wrong: int, only_baseline_wrong: int, images: int) -> Interval:
    """95 % interval of a difference of two error rates on the same images, in points.

    The adjusted Wald interval of Bonett and Price (2012): with p = (b + 1) / (N + 2) and q = (c + 1) / (N + 2) for b
    and c discordant images out of N, it is p - q +- z sqrt((p + q - (p - q)^2) / (N + 2)). Unlike the plain Wald
    interval it keeps its coverage for few discordant images and has a width when there are none.
    """
    p, q = ((count + 1) / (images + 2) for count in (only_run_wrong, only_baseline_wrong))
    half = float(special.ndtri((1 + CONFIDENCE) / 2)) * math.sqrt((p + q - (p - q) ** 2) / (images + 2))
    return Interval(100 * max(p - q - half, -1.0), 100 * min(p - q + half, 1.0))


def paired_delta(baseline_right: NDArray[np.bool_], run_right: NDArray[np.bool_]) -> PairedDelta:
    """One pair; both arrays [N] say for each test image whether it was classified correctly."""
    only_run_wrong = int((baseline_right & ~run_right).sum())
    only_baseline_wrong = int((~baseline_right & run_right).sum())
    images = len(baseline_right)
    return PairedDelta(
        images=images,
        delta=100 * (only_run_wrong - only_baseline_wrong) / images,
        interval=paired_interval(only_run_wrong, only_baseline_wrong, images),
        only_run_wrong=only_run_wrong,
        only_baseline_wrong=only_baseline_wrong,
        p=mcnemar_p(only_run_wrong, only_baseline_wrong),
    )


def seed_interval(deltas: NDArray[np.float64]) -> Interval:
    """95 % t interval of the mean of at least two deltas [S], one per seed."""
    mean, error = deltas.mean(), deltas.std(ddof=1) / np.sqrt(len(deltas))
    half = special.stdtrit(len(deltas) - 1, (1 + CONFIDENCE) / 2) * error
    return Interval(float(mean - half), float(mean + half))


def mean_delta(baseline_right: NDArray[np.bool_], run_right: NDArray[np.bool_]) -> MeanDelta:
    """All pairs of one ablation; both arrays are [S, N], seeds by test images.

    With one seed, what `paired_delta` says. With more, seeds and images are both random samples: see
    `crossed_standard_error`.
    """
    pairs = [paired_delta(baseline, run) for baseline, run in zip(baseline_right, run_right, strict=True)]
    if len(pairs) == 1:
        only = pairs[0]
        return MeanDelta(seeds=1, delta=only.delta, interval=only.interval, p=only.p, seed_sd=None, seed_interval=None)
    deltas = np.array([pair.delta for pair in pairs])
    differences = 100 * (baseline_right.astype(np.float64) - run_right.astype(np.float64))
    interval, p = _crossed_interval(differences, pairs[0])
    return MeanDelta(
        seeds=len(pairs),
        delta=float(deltas.mean()),
        interval=interval,
        p=p,
        seed_sd=float(deltas.std(ddof=1)),
        seed_interval=seed_interval(deltas),
    )


def crossed_standard_error(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the mean of `differences` [S, N] and its degrees of freedom, S >= 2 seeds, N >= 2 images.

    Every seed meets every image, so the spread between seeds alone would leave out that all seeds share one test set.
    From the two-way analysis of variance, var = (MS_seed + max(MS_image - MS_rest, 0)) / (S N), with Hillis's degrees
    of freedom (MS_seed + max(MS_image - MS_rest, 0))^2 / (MS_seed^2 / (S - 1)). The method is that of studies with
    several readers of the same cases (Dorfman, Berbaum and Metz 1992; Hillis 2007); here the seeds read. MS_seed counts
    at least MS_rest: few seeds can agree by chance, and this way the error is never below that of the test set alone.
    """
    seeds, images = differences.shape
    by_seed, by_image, mean = differences.mean(axis=1), differences.mean(axis=0), differences.mean()
    rest = differences - by_seed[:, None] - by_image[None, :] + mean
    ms_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    ms_seed = max(images * ((by_seed - mean) ** 2).sum() / (seeds - 1), ms_rest)
    ms_image = seeds * ((by_image - mean) ** 2).sum() / (images - 1)
    numerator = ms_seed + max(ms_image - ms_rest, 0.0)
    # No seed differs from another beyond rounding: all the error is the test set's.
    freedom = (seeds - 1) * (numerator / ms_seed) ** 2 if ms_seed > 1e-9 * numerator else np.inf
    return float(np.sqrt(numerator / (seeds * images))), float(freedom)


def _crossed_interval(differences: NDArray[np.float64], first: PairedDelta) -> tuple[Interval, float]:
    """95 % interval of the mean of `differences` [S, N] and p of no difference; `first` is the first seed's pair."""
    if differences.shape[1] == 1 or np.ptp(differences) == 0:
        # Typically not one discordant image at any seed: the variance seen is 0, but the test set is still finite.
        return first.interval, first.p
    mean = float(differences.mean())
    error, freedom = crossed_standard_error(differences)
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p = float(2 * special.stdtr(freedom, -abs(mean) / error))
    return Interval(max(mean - half, -100.0), min(mean + half, 100.0)), p
