"""Power, minimum detectable effect and seeds needed, from the spread seen between seeds and between images."""

from bisect import bisect_left
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alexnet.study.crossed import Components, MeanError, root
from alexnet.study.statistics import CONFIDENCE

POWER = 0.8
MOST_SEEDS = 1000
"""No study has more; a delta that would take more is out of reach of the test set."""
_QUANTILES = 500


def power(components: Components, seeds: int, delta: float) -> float:
    """Return the probability that 2 or more `seeds` separate a true `delta` (points, above 0) from 0 at the 5 % level.

    The mean is normal; the mean square between seeds is chi-squared with seeds - 1 degrees of freedom, taken here at
    evenly spaced quantiles; that between images is taken as known. A significant mean of the wrong sign does not
    count.
    """
    of_seeds = (components.seed + components.residual / components.images) / seeds
    of_images = components.image / components.images
    seen = MeanError(seeds=seeds, of_seeds=of_seeds * _scaled_chi_squared(seeds - 1), of_images=of_images)
    beyond = (delta - seen.half_width(1 - CONFIDENCE)) / np.sqrt(of_seeds + of_images)
    return float(special.ndtr(beyond).mean())


@cache
def _scaled_chi_squared(dof: int) -> NDArray[np.float64]:
    """Return quantiles of chi-squared over its degrees of freedom, evenly spaced in probability."""
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.asarray(special.chdtri(dof, 1 - ranks) / dof, dtype=np.float64)


def min_detectable_effect(components: Components, seeds: int) -> float:
    """Return the smallest delta, in points, that 2 or more `seeds` separate from 0 with a probability of 80 %.

    At most 100, which no delta exceeds.
    """
    return root(lambda delta: power(components, seeds, delta) - POWER, 0.0, 100.0)


def seeds_needed(components: Components, delta: float) -> int | None:
    """Return the fewest seeds that detect `delta` (points); at least 2, as one seed shows no spread between seeds.

    None if not even `MOST_SEEDS` would: more seeds make the part of the test set in the error no smaller.
    """
    wanted = abs(delta)
    if power(components, MOST_SEEDS, wanted) < POWER:
        return None
    counts = range(2, MOST_SEEDS + 1)  # more seeds always detect more
    return counts[bisect_left(counts, True, key=lambda seeds: power(components, seeds, wanted) >= POWER)]
