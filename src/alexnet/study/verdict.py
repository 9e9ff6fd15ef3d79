"""Verdicts: what an interval says about a claimed delta. `docs/statistics.md` gives the reasons."""

from dataclasses import dataclass
from enum import StrEnum

from alexnet.study.power import min_detectable_effect, seeds_needed
from alexnet.study.statistics import Interval, MeanDelta


class Verdict(StrEnum):
    """Two questions: does the interval hold the claimed delta, and is all of it on the claim's side of 0?"""

    AGREES = "agrees"
    """It holds the claim and lies on its side of 0."""
    SAME_SIGN = "same sign"
    """It lies on the claim's side of 0 but excludes the claim: an effect of a different size."""
    NOT_RESOLVED = "not resolved"
    """It holds both the claim and 0: the study is too coarse to separate them."""
    DISAGREES = "disagrees"
    """It excludes the claim and does not show the claim's direction: no effect, too small a one, or the opposite."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One ablation and one measure against the claims. With one seed the verdicts rest on the images alone."""

    seeds: int
    holm_p: float
    """Adjusted for all ablations of the table."""
    paper: Verdict | None
    """On the paper's delta, for any data set; None if the paper gives no number."""
    log: Verdict | None
    """The same for the delta of the authors' log."""
    seeds_needed: int | None
    """To separate the paper's delta from 0 with 80 % power on this test set; None if `no_power_reason` says why."""
    no_power_reason: str | None
    """Why `seeds_needed` is None."""
    min_detectable_effect: float | None
    """The smallest delta, in points, that these seeds separate from 0 with 80 % power; None if unknown."""


def verdict(interval: Interval, claim: float | None) -> Verdict | None:
    """Judge a `claim` by a 95 % `interval`, both in points; None if no number is claimed.

    A claim of exactly 0 has no direction, so the verdict is "not resolved" or "disagrees".
    """
    if claim is None:
        return None
    shows_direction = interval.low > 0 if claim > 0 else interval.high < 0 and claim < 0
    if interval.low <= claim <= interval.high:
        return Verdict.AGREES if shows_direction else Verdict.NOT_RESOLVED
    return Verdict.SAME_SIGN if shows_direction else Verdict.DISAGREES


def assess(mean: MeanDelta, *, holm_p: float, paper: float | None, log: float | None) -> Assessment:
    """Compare `mean` with the deltas of the paper and the log, in points."""
    needed = seeds_needed(mean.components, paper) if paper and mean.components else None
    if paper is None:
        reason: str | None = "the paper gives no number"
    elif paper == 0:
        reason = "the paper's number is 0"
    elif mean.components is None:
        reason = "the spread between seeds is unknown"
    else:
        reason = None if needed else "the test set is too small for it, whatever the number of seeds"
    return Assessment(
        seeds=mean.seeds,
        holm_p=holm_p,
        paper=verdict(mean.interval, paper),
        log=verdict(mean.interval, log),
        seeds_needed=needed,
        no_power_reason=reason,
        min_detectable_effect=min_detectable_effect(mean.components, mean.seeds) if mean.components else None,
    )
