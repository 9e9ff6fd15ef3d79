"""What an interval says about a claimed delta, in one of four words. `docs/statistics.md` gives the reasons."""

from enum import StrEnum

from alexnet.study.statistics import Interval


class Verdict(StrEnum):
    """Two questions: does the interval hold the claimed delta, and does it lie on the claim's side of 0 altogether?"""

    AGREES = "agrees"
    """It holds the claim and lies on its side of 0."""
    SAME_SIGN = "same sign"
    """It lies on the claim's side of 0 and leaves the claim out: an effect of another size."""
    NOT_RESOLVED = "not resolved"
    """It holds both the claim and 0: the study is too coarse to tell them apart."""
    DISAGREES = "disagrees"
    """It leaves the claim out and does not show the claim's direction: no effect, too small a one, or the opposite."""


def judge(interval: Interval, claim: float | None) -> Verdict | None:
    """The verdict of a 95 % `interval` on a `claim`, both in points; None where no number is claimed.

    A claim of exactly 0 has no direction, so it is not resolved or disagreed with.
    """
    if claim is None:
        return None
    beside = interval.low > 0 if claim > 0 else interval.high < 0 and claim < 0
    if interval.low <= claim <= interval.high:
        return Verdict.AGREES if beside else Verdict.NOT_RESOLVED
    return Verdict.SAME_SIGN if beside else Verdict.DISAGREES
