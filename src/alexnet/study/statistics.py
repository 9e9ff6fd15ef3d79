"""One pair of networks on the same images, and single errors, on plain arrays.

A difference is `ablation minus baseline`: above 0 the ablation made the error worse. All are in points (percent of the
images). Intervals here cover the finite test set only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alexnet.study.family import CONFIDENCE, Correct, Interval

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


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


def mcnemar_p(only_run_wrong: int, only_baseline_wrong: int) -> float:
    """Test whether the discordant images are split evenly: McNemar (1947), exact and two-sided; 1 if there are none."""
    discordant = only_run_wrong + only_baseline_wrong
    return float(stats.binomtest(only_run_wrong, discordant).pvalue) if discordant else 1.0


def paired_interval(only_run_wrong: int, only_baseline_wrong: int, images: int) -> Interval:
    """Return the 95 % interval of a difference of two error rates on the same images, in points.

    The adjusted Wald interval of Bonett and Price (2012): with p = (b + 1) / (N + 2) and q = (c + 1) / (N + 2) for b
    and c discordant images out of N, it is p - q +- z sqrt((p + q - (p - q)^2) / (N + 2)). Unlike the plain Wald
    interval it keeps its coverage for few discordant images and has a width when there are none.
    """
    p, q = ((count + 1) / (images + 2) for count in (only_run_wrong, only_baseline_wrong))
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (images + 2))
    return Interval(100 * max(p - q - half, -1.0), 100 * min(p - q + half, 1.0))


def error_interval(wrong: int, images: int) -> Interval:
    """Return Wilson's (1927) 95 % interval of an error rate, in percent; it has a width even if nothing is wrong."""
    found = stats.binomtest(wrong, images).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(100 * float(found.low), 100 * float(found.high))


def mean_interval(differences: NDArray[np.float64]) -> Interval:
    """Return the 95 % normal interval of the mean of differences [N], in points, one for each of many images."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    mean, half = float(differences.mean()), _Z * error
    return Interval(max(mean - half, -100.0), min(mean + half, 100.0))


def paired_delta(baseline_correct: Correct, run_correct: Correct) -> PairedDelta:
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
