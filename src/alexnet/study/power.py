"""What more seeds and published runs would show: power, seeds needed, and the interval for one run of each arm."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from alexnet.study.statistics import (
    CONFIDENCE,
    PRIOR_DOF,
    Family,
    Floats,
    Spread,
    dof_limit,
    fewest_seeds,
    satterthwaite,
)

POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Design:
    """What decides the power of a comparison of an ablation with the baseline; variances in points squared."""

    variances: tuple[float, float]
    """Of a run of the ablation and of the baseline."""
    of_images: float
    seeds: tuple[int, int]
    """Of the ablation and of the baseline."""
    arms: int
    """In the family, the baseline among them."""
    pooled_dof: float
    """Of the variance that the family shares."""
    tests: int
    """In Holm's family: one for each ablation and for each interaction."""
    level: float = 0.05
    """Of all tests together: that of the look in a plan."""

    def with_seeds(self, seeds: int) -> "Design":
        """Return the same with `seeds` in every arm."""
        return replace(self, seeds=(seeds, seeds), pooled_dof=float(self.arms * (seeds - 1)))

    def with_more(self, seeds: int) -> "Design":
        """Return the same with so many more in every arm."""
        own, baseline = self.seeds
        more = self.pooled_dof + self.arms * seeds
        return replace(self, seeds=(own + seeds, baseline + seeds), pooled_dof=more)


def power(design: Design, delta: float, level: float | None = None) -> float:
    """Return the probability that p is below `level` for a true `delta`, in points, with the sign of `delta`.

    By default below the worst that Holm may ask of one test.
    """
    seeds = np.array(design.seeds, dtype=np.float64)
    parts = np.array(design.variances) / seeds
    dof = float(
        satterthwaite(
            parts, seeds - 1 + min(PRIOR_DOF, design.pooled_dof), np.asarray(design.pooled_dof), design.of_images
        )
    )
    wanted = stats.t.isf((design.level / design.tests if level is None else level) / 2, dof)
    return float(stats.nct.sf(wanted, dof, abs(delta) / math.sqrt(parts.sum() + design.of_images)))


def min_detectable_effect(design: Design) -> float:
    """Return the smallest delta, in points, that is found with a probability of 80 %; infinity if even 100 is not."""
    if power(design, 100.0) < POWER:
        return math.inf
    return float(optimize.brentq(lambda delta: power(design, delta) - POWER, 0.0, 100.0, xtol=1e-6))


def seeds_needed(design: Design, delta: float) -> int | None:
    """Return the fewest seeds in every arm that find `delta`; None if even the most would not do."""
    return fewest_seeds(lambda seeds: power(design.with_seeds(seeds), delta) >= POWER)


def seeds_needed_range(design: Design, delta: float) -> tuple[int | None, int | None]:
    """Return the seeds needed at the 5 % and 95 % limits of the pooled variance, which few seeds know badly."""
    factors = [design.pooled_dof / stats.chi2.ppf(share, design.pooled_dof) for share in (0.95, 0.05)]
    variances = (tuple(factor * one for one in design.variances) for factor in factors)
    few, many = (seeds_needed(replace(design, variances=at_limit), delta) for at_limit in variances)
    return few, many


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Half-widths around our delta, in points: numbers, or arrays over studies."""

    half: Floats
    """Holds the delta of one more run of each arm in 95 % of the cases."""
    least: Floats
    """What would be left of `half` with endless seeds on our side."""


def predict(
    spread: Spread,
    place: int,
    runs: ArrayLike,
    *,
    floor: ArrayLike = 0.0,
    of_images: ArrayLike = 0.0,
    published_share: float = 1.0,
    same_images: bool = True,
) -> Prediction:
    """Predict the delta between one run of the arm at `place` and one of the baseline.

    `floor` [A] and `of_images` are the parts of the finite test set, ours; `published_share` is the size of ours over
    that of the published one. On the same images they have no part in the difference of two deltas.
    """
    used = [place, 0]
    variance, counts = spread.variance[..., used], np.asarray(runs, dtype=np.float64)[..., used]
    of_test_set = np.broadcast_to(np.asarray(floor, dtype=np.float64), spread.variance.shape)[..., used]
    theirs = np.maximum(variance - of_test_set, 0.0) + of_test_set * published_share
    parts = variance / counts + theirs
    known = np.asarray(0.0 if same_images else np.asarray(of_images) * (1 + published_share))
    dof = satterthwaite(parts, spread.dof[..., used], dof_limit(spread, used), known)
    left = theirs.sum(-1) + known * published_share / (1 + published_share)
    return Prediction(
        half=np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, dof) * np.sqrt(parts.sum(-1) + known)),
        least=np.asarray(stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(left)),
    )


def seeds_to_test(spread: Spread, place: int, distance: float, **images: Any) -> int | None:
    """Return the fewest seeds in every arm with which `half` is below `distance`; None if even the most would not do.

    `images` are the keywords of `predict`.
    """
    arms = spread.variance.shape[-1]

    def is_enough(seeds: int) -> bool:
        pooled_dof = float(arms * (seeds - 1))
        dof = np.where(spread.stands_out, seeds - 1.0, seeds - 1.0 + min(PRIOR_DOF, pooled_dof))
        grown = replace(spread, dof=dof, pooled_dof=np.asarray(pooled_dof))
        return bool(predict(grown, place, [seeds] * arms, **images).half < distance)

    return fewest_seeds(is_enough)


def published_images(family: Family, of_images: ArrayLike, images: int | None) -> dict[str, Any]:
    """Return the keywords of `predict` for a number published on so many test images.

    Equal numbers are the same images. Where it is unknown, as many other images as here are taken.
    """
    ours = family.arms[0].images
    return {
        "floor": family.floor,
        "of_images": of_images,
        "published_share": ours / (images or ours),
        "same_images": images == ours,
    }
