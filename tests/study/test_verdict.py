"""The rule of the verdict, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.study.statistics import Interval
from alexnet.study.verdict import Verdict, judge


@pytest.mark.parametrize(
    ("low", "high", "claim", "verdict"),
    [
        (0.5, 2.0, 1.4, "agrees"),
        (0.5, 1.4, 1.4, "agrees"),
        (0.2, 0.9, 1.4, "same sign"),
        (2.0, 3.0, 1.4, "same sign"),
        (-0.5, 2.0, 1.4, "not resolved"),
        (0.0, 2.0, 1.4, "not resolved"),
        (-0.5, 0.6, 1.4, "disagrees"),
        (0.0, 0.6, 1.4, "disagrees"),
        (-2.0, -0.5, 1.4, "disagrees"),
        (-2.0, -0.5, -1.4, "agrees"),
        (-0.9, -0.2, -1.4, "same sign"),
        (-2.0, 0.0, -1.4, "not resolved"),
        (0.5, 2.0, -1.4, "disagrees"),
        (-1.0, 1.0, 0.0, "not resolved"),
        (0.5, 1.0, 0.0, "disagrees"),
        (-1.0, -0.5, 0.0, "disagrees"),
    ],
)
def test_rule(low: float, high: float, claim: float, verdict: str) -> None:
    assert judge(Interval(low, high), claim) == verdict


def test_no_number_no_verdict() -> None:
    assert judge(Interval(1, 2), None) is None


@given(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), st.floats(-9, 9))
def test_mirrored(ends: tuple[float, float], claim: float) -> None:
    low, high = sorted(ends)
    verdict = judge(Interval(low, high), claim)
    assert verdict is judge(Interval(-high, -low), -claim)
    if verdict is Verdict.AGREES or verdict is Verdict.NOT_RESOLVED:
        assert low <= claim <= high
