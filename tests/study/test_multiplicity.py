"""Holm's adjustment against worked examples and against his procedure, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.study.multiplicity import holm


def rejected(p_values: list[float], level: float) -> set[int]:
    """Holm's sequentially rejective procedure (1979): stop at the first that is not small enough."""
    found: set[int] = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > level / (len(p_values) - step):
            break
        found.add(place)
    return found


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.6, 0.01], [1.0, 1.0, 0.03]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_by_hand(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_adjusted_values_reject_what_the_procedure_rejects(p_values: list[float], level: float) -> None:
    adjusted = holm(p_values)
    # Products and quotients round differently where a p-value stands exactly at its bound.
    if all(abs(p - level) > 1e-9 for p in adjusted):
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected(p_values, level)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, adjusted, strict=True))
