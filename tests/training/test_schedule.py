"""When the rate drops and when training ends, on curves made by hand and on any curve."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config.values import ScheduleConfig
from alexnet.errors import UserError
from alexnet.training.optimizer import count_plateaus, dropped_lr, group_lr, progress
from tests.conftest import Compose

CURVES = st.lists(st.floats(0, 100, allow_nan=False) | st.integers(40, 44), max_size=40)


def plateau(patience: int = 2, max_lr_drops: int = 3, epochs: int = 120) -> ScheduleConfig:
    return ScheduleConfig(
        kind="plateau", factor=10.0, epochs=epochs, milestones=[], max_lr_drops=max_lr_drops, patience=patience
    )


def fixed(drops: list[int], epochs: int) -> ScheduleConfig:
    return ScheduleConfig(kind="multistep", factor=10.0, epochs=epochs, milestones=drops, max_lr_drops=0, patience=1)


@pytest.mark.parametrize(
    ("errors", "patience", "plateaus"),
    [
        ([], 1, 0),
        ([50], 1, 0),
        ([50, 40, 30, 20], 1, 0),  # always better
        ([50, 50], 1, 1),  # as good is not better
        ([50, 51, 49, 52, 48], 2, 0),  # never two in a row
        ([50, 51, 52], 2, 1),
        ([50, 51, 52, 53], 2, 1),  # the count starts anew after a plateau
        ([50, 51, 52, 53, 54], 2, 2),
        ([50, 51, 52, 50.5, 50.2], 2, 2),  # the best is not forgotten: better than lately is not enough
        ([50, 51, 52, 49, 53, 54], 2, 2),
        ([50, 60, 60, 60, 40, 60, 60, 60], 3, 2),
        ([50, float("nan"), float("nan")], 2, 1),  # no number is no improvement
    ],
)
def test_plateaus_are_counted(errors: list[float], patience: int, plateaus: int) -> None:
    assert count_plateaus(errors, patience) == plateaus


@given(errors=CURVES, patience=st.integers(1, 5), max_lr_drops=st.integers(0, 3))
def test_drops_only_rise_and_an_end_is_final(errors: list[float], patience: int, max_lr_drops: int) -> None:
    schedule = plateau(patience, max_lr_drops, epochs=30)
    states = [progress(schedule, errors[:n]) for n in range(len(errors) + 1)]
    assert states[0].drops == 0 and not states[0].finished
    for before, after in pairwise(states):
        assert before.drops <= after.drops <= min(before.drops + 1, max_lr_drops)
        assert after.finished or not before.finished
    assert all(state.finished for state in states[30:])


def test_cosine_rises_in_equal_steps_and_falls_along_half_a_cosine() -> None:
    schedule = ScheduleConfig(
        kind="cosine", factor=10.0, epochs=6, milestones=[], max_lr_drops=0, patience=1, warmup_epochs=2
    )
    lrs = [dropped_lr(schedule, 0.03, progress(schedule, [50.0] * epoch).drops) for epoch in range(6)]
    assert lrs == pytest.approx([0.01, 0.02, 0.03, 0.03 * (2 + 2**0.5) / 4, 0.015, 0.03 * (2 - 2**0.5) / 4])
    assert [progress(schedule, [50.0] * epoch).finished for epoch in (5, 6)] == [False, True]


@given(errors=CURVES, patience=st.integers(1, 4))
def test_a_plateau_is_patience_epochs_without_a_new_best(errors: list[float], patience: int) -> None:
    """By the definition: an epoch ends a plateau if none of the last `patience`, all since the last one, was best."""
    ends: list[int] = []
    for last in range(len(errors)):
        first = last - patience + 1
        since = ends[-1] + 1 if ends else 0
        stale = [n for n in range(max(first, 0), last + 1) if n > 0 and errors[n] >= min(errors[:n])]
        if first >= since and len(stale) == patience:
            ends.append(last)
    assert count_plateaus(errors, patience) == len(ends)


def test_the_paper_s_rule_drops_three_times_and_ends_at_the_fourth_plateau() -> None:
    flat = [50.0] * 50
    drops = [progress(plateau(patience=8), flat[:n]).drops for n in range(34)]
    assert [n for n in range(1, 34) if drops[n] > drops[n - 1]] == [9, 17, 25]
    finished = [progress(plateau(patience=8), flat[:n]).finished for n in range(50)]
    assert finished.index(True) == 33


def test_a_curve_that_always_improves_ends_at_the_limit_alone() -> None:
    errors = [100.0 - n for n in range(60)]
    assert [progress(plateau(epochs=60), errors[:n]).finished for n in (0, 59, 60)] == [False, False, True]
    assert progress(plateau(epochs=60), errors).drops == 0


@given(errors=CURVES)
def test_fixed_epochs_ignore_the_errors(errors: list[float]) -> None:
    state = progress(fixed([3, 7], 10), errors)
    assert state.drops == (len(errors) >= 3) + (len(errors) >= 7)
    assert state.finished == (len(errors) >= 10)


def test_the_rate_is_divided_once_a_drop() -> None:
    schedule = plateau()
    assert [dropped_lr(schedule, 0.01, drops) for drops in range(4)] == pytest.approx(
        [1e-2, 1e-3, 1e-4, 1e-5], rel=1e-14
    )


def course(compose: Compose, *overrides: str, is_bias: bool = False, is_late: bool = False) -> list[tuple[int, float]]:
    """Where the rate changes over a training, relative to optimizer.lr: (epoch, rate)."""
    config = compose(*overrides)
    changes: list[tuple[int, float]] = []
    for epoch in range(config.schedule.epochs):
        drops = progress(config.schedule, [50.0] * epoch).drops
        now = group_lr(config, epoch, drops, is_bias=is_bias, is_late=is_late)
        if not changes or now != changes[-1][1]:
            changes.append((epoch, now))
    return [(epoch, pytest.approx(rate, rel=1e-12)) for epoch, rate in changes]


LOG_2012 = ("recipe=source_2012", "schedule=log_2012")
LOG_2010 = ("experiment=net_145_2010", "data.root=/data/pack")


def test_the_rates_of_net_145_are_the_log_s(compose: Compose) -> None:
    """layer-params-145.cfg and layer-params-145-2010.cfg: drops, conv1's own, its end, and the biases'.

    Those files count epochs from 1: their 25, 51, 79, 67 and 72, and in 2010 23, 51, 78, 68 and 72.
    """
    weights = [(0, 1e-2), (24, 1e-3), (50, 1e-4), (78, 1e-5)]
    assert course(compose, *LOG_2012) == weights
    assert course(compose, *LOG_2012, is_late=True) == [(0, 1e-2), (24, 1e-3), (50, 1e-4), (66, 1e-5), (71, 0.0)]
    assert course(compose, *LOG_2012, is_bias=True) == [(0, 1e-2)]  # times bias_lr_multiplier: 0.02 to the end
    assert course(compose, *LOG_2010) == [(0, 1e-2), (22, 1e-3), (50, 1e-4), (77, 1e-5)]
    assert course(compose, *LOG_2010, is_late=True) == [(0, 1e-2), (22, 1e-3), (50, 1e-4), (67, 1e-5), (71, 0.0)]
    assert course(compose, *LOG_2010, is_bias=True)[-1] == (46, 1e-3)
    # The paper: one rate for all layers and for biases.
    assert course(compose, "schedule=log_2012", is_bias=True) == weights
    assert course(compose, "schedule=log_2012", is_bias=True, is_late=True)[:3] == weights[:3]


def test_colour_noise_ends_with_the_log_s(compose: Compose) -> None:
    for overrides, end in ((LOG_2012, 66), (LOG_2010, 67)):
        config = compose(*overrides)
        assert [config.color_is_on(epoch) for epoch in range(91)] == [epoch < end for epoch in range(91)]
    assert all(compose("schedule=log_2012").color_is_on(epoch) for epoch in range(91))


def test_a_schedule_and_what_comes_late_scale_to_any_length(compose: Compose) -> None:
    short = (*LOG_2012, "schedule.rescale_to_epochs=30")
    # 30 / 91 of 24, 50, 78, of 66 and of 71
    assert course(compose, *short) == [(0, 1e-2), (8, 1e-3), (16, 1e-4), (26, 1e-5)]
    assert course(compose, *short, is_late=True) == [(0, 1e-2), (8, 1e-3), (16, 1e-4), (22, 1e-5), (23, 0.0)]
    shortest = compose(*LOG_2012, "schedule.rescale_to_epochs=1")
    assert replace(shortest).schedule.milestones == [1, 1, 1]  # checked again, and not refused
    assert course(compose, "schedule=epochs_30", "schedule.rescale_to_epochs=4") == [(0, 1e-2), (3, 1e-4)]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("recipe=source_2012", "schedule=plateau"), "schedule=log_2012"),
        (("schedule=plateau", "schedule.rescale_to_epochs=9"), "fixed epochs"),
        (("schedule=log_2012", "schedule.rescale_to_epochs=0"), "must be at least 1"),
        (("late_changes.layers=[6]",), "late_changes.layers"),
        (("late_changes.of_epochs=0",), "late_changes.of_epochs=0"),
    ],
)
def test_a_schedule_without_meaning_is_refused(compose: Compose, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        compose(*overrides)
