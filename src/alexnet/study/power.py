"""Power, minimum detectable effect and seeds needed, from the spread seen between runs and between images."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from alexnet.study.family import PRIOR_DOF, fewest_seeds, satterthwaite

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

    @property
    def level(self) -> float:
        """The worst that Holm may ask of one ablation: 5 % over all of them."""
        return 0.05 / (self.arms - 1)

    def with_seeds(self, seeds: int) -> "Design":
        """Return the same with `seeds` in every arm."""
        return replace(self, seeds=(seeds, seeds), pooled_dof=float(self.arms * (seeds - 1)))

    def with_more(self, seeds: int) -> "Design":
        """Return the same with so many more in every arm."""
        own, baseline = self.seeds
        more = self.pooled_dof + self.arms * seeds
        return replace(self, seeds=(own + seeds, baseline + seeds), pooled_dof=more)


def power(design: Design, delta: float, level: float | None = None) -> float:
    """Return the probability that p is below `level` for a true `delta`, in points, with the sign of `delta`."""
    seeds = np.array(design.seeds, dtype=np.float64)
    parts = np.array(design.variances) / seeds
    dof = float(
        satterthwaite(
            parts,
            seeds - 1 + min(PRIOR_DOF, design.pooled_dof),
            np.asarray(design.pooled_dof),
            design.of_images,
        )
    )
    wanted = stats.t.isf((design.level if level is None else level) / 2, dof)
    return float(stats.nct.sf(wanted, dof, abs(delta) / math.sqrt(parts.sum() + design.of_images)))


def min_detectable_effect(design: Design) -> float:
    """Return the smallest delta, in points, that is found with a probability of 80 %; at most 100."""
    if power(design, 100.0) < POWER:
        return 100.0
    return float(optimize.brentq(lambda delta: power(design, delta) - POWER, 0.0, 100.0, xtol=1e-6))


def seeds_needed(design: Design, delta: float) -> int | None:
    """Return the fewest seeds in every arm that find `delta`; None if even the most would not do."""
    return fewest_seeds(lambda seeds: power(design.with_seeds(seeds), delta) >= POWER)


def seeds_needed_range(design: Design, delta: float) -> tuple[int | None, int | None]:
    """Return the seeds needed at the 5 % and 95 % limits of the pooled variance, which few seeds know badly."""
    factors = [design.pooled_dof / stats.chi2.ppf(share, design.pooled_dof) for share in (0.95, 0.05)]
    few, many = (
        seeds_needed(replace(design, variances=tuple(factor * one for one in design.variances)), delta)
        for factor in factors
    )
    return few, many
