"""Axes of charts: every value at its pixel, and round numbers marked."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.study.charts.axis import Axis


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (-1.2, 2.3, 7, [-1, -0.5, 0, 0.5, 1, 1.5, 2]),
        (0, 100, 6, [0, 20, 40, 60, 80, 100]),
        (-5, 18, 6, [-5, 0, 5, 10, 15]),
        (0, 3, 6, [0, 1, 2, 3]),
        (0.011, 0.049, 5, [0.02, 0.03, 0.04]),
    ],
)
def test_ticks_by_hand(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert Axis(low=low, high=high, start=0, end=100).ticks(most) == pytest.approx(ticks)


@given(st.floats(-1000, 1000), st.floats(1e-3, 1000), st.integers(2, 12))
def test_ticks_are_few_round_and_within(low: float, length: float, most: int) -> None:
    axis = Axis(low=low, high=low + length, start=10, end=310)
    ticks = axis.ticks(most)
    assert len(ticks) <= most
    for tick in ticks:
        assert 10 - 1e-3 <= axis.at(tick) <= 310 + 1e-3
    for before, after in pairwise(ticks):
        mantissa = (after - before) / 10 ** math.floor(math.log10((after - before) * (1 + 1e-9)))
        assert min(abs(mantissa - round_step) for round_step in (1, 2, 5)) < 1e-3


def test_a_vertical_axis_runs_upwards() -> None:
    axis = Axis(low=0, high=10, start=200, end=0)
    assert (axis.at(0), axis.at(2.5), axis.at(10)) == (200, 150, 0)
