"""How many seeds a delta takes to be seen, from the spread seen between seeds and between images."""

from scipy import special

from alexnet.study.crossed import Components
from alexnet.study.statistics import CONFIDENCE

POWER = 0.8
MOST_SEEDS = 1000
"""No study has more; a delta that would take more is out of reach of the test set."""


def resolvable_delta(components: Components, seeds: int) -> float:
    """The smallest delta, in points, that `seeds` (2 or more) tell from 0 with a probability of 80 %.

    The two-sided 5 % test divides the mean delta by its standard error, so that under a delta it follows Student's t
    with Hillis's degrees of freedom and noncentrality delta / standard error; solved for the noncentrality whose
    probability beyond the critical value is the power. The other tail is left out: it is far below one in a thousand.
    """
    freedom = components.freedom(seeds)
    critical = special.stdtrit(freedom, (1 + CONFIDENCE) / 2)
    return float(special.nctdtrinc(freedom, 1 - POWER, critical)) * components.standard_error(seeds)


def seeds_needed(components: Components, delta: float) -> int | None:
    """The fewest seeds that resolve `delta` (points); at least 2, as one seed never shows the spread between seeds.

    None if not even `MOST_SEEDS` would: more seeds make the part of the test set in the error no smaller.
    """
    wanted = abs(delta)
    if resolvable_delta(components, MOST_SEEDS) > wanted:
        return None
    low, high = 1, MOST_SEEDS  # too few, enough; more seeds always resolve more
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if resolvable_delta(components, middle) <= wanted else (middle, high)
    return high
