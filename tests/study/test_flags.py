"""Every flag: a run that must raise it, and one that must not."""

import numpy as np
import pytest
import statsmodels.api as sm

from alexnet.study import flags
from alexnet.study.verdict import Region

LABELS = np.repeat(np.arange(10), 100).astype(np.int32)


def names(found: list[flags.Flag]) -> list[str]:
    return [flag.name for flag in found]


def arms(off: float = 0.0) -> list[np.ndarray]:
    errors = 40 + 0.25 * np.random.default_rng(11).standard_normal((9, 3))
    errors[1, 0] += off
    return list(errors)


def test_run_that_left_its_siblings_is_flagged() -> None:
    assert not np.concatenate(flags.outliers(arms())).any()
    found = flags.outliers(arms(off=20 * 0.25))
    assert found[1].tolist() == [True, False, False]
    assert np.concatenate(found).sum() == 1


def test_outliers_are_those_of_statsmodels() -> None:
    for off in (0.0, 1.5, 5.0):
        errors = arms(off)
        layout = np.kron(np.eye(9), np.ones((3, 1)))
        theirs = sm.OLS(np.concatenate(errors), layout).fit().outlier_test(method="bonferroni")
        assert np.concatenate(flags.outliers(errors)).tolist() == (theirs[:, 2] < 0.01).tolist()


def test_outlier_among_too_few_runs_is_not_sought() -> None:
    assert not np.concatenate(flags.outliers([np.array([40.0]), np.array([90.0])])).any()
    assert not np.concatenate(flags.outliers([np.array([40.0, 41.0]), np.array([90.0])])).any()


def test_chance_is_the_share_of_the_largest_classes() -> None:
    labels = np.array([0] * 50 + [1] * 30 + [2] * 20, dtype=np.int32)
    assert flags.chance_accuracy(labels, 1) == pytest.approx(0.5)
    assert flags.chance_accuracy(labels, 2) == pytest.approx(0.8)
    assert flags.chance_accuracy(labels, 5) == 1


def test_run_at_chance_has_not_learned() -> None:
    correct = np.zeros((4, 1000), dtype=bool)
    for run, count in enumerate((103, 200, 100, 200)):
        correct[run, :count] = True
    guessed = np.array([0.2, 0.2, 1.0, 0.995])  # the last answers one class for nearly all images
    assert flags.learned(correct, 0.1, guessed).tolist() == [False, True, False, False]
    for right in (True, False):  # by top-5 of five classes, or of five that are tested
        table = np.array([[True, True], [True, right]])
        assert flags.learned(table, 1.0, np.array([0.5, 0.5])).tolist() == [right, right]


def test_runs_that_did_not_learn_are_counted_and_the_others_compared() -> None:
    arm, baseline = np.array([True, True, False]), np.array([True, True, True])
    errors, base = np.array([42.0, 42.2, 90.0]), np.array([41.0, 41.0, 41.0])
    (found,) = flags.learning_flags(arm, baseline, errors, base)
    assert (found.name, found.no_size) == ("did not learn", False)
    assert "2 of 3 runs learned, 3 of 3 of the baseline" in found.text and "+1.10 points" in found.text
    assert flags.learning_flags(baseline, baseline, base, base) == []


def test_arm_at_chance_has_a_direction_alone() -> None:
    (found,) = flags.learning_flags(np.zeros(3, bool), np.ones(3, bool), np.full(3, 90.0), np.full(3, 40.0))
    assert (found.name, found.no_size, found.no_equivalence) == ("at chance", True, True)


def test_task_that_is_too_easy_is_flagged() -> None:
    assert flags.limit_flags([25, 30], 1000, 2.5, 90.0, None) == []
    (few,) = flags.limit_flags([24, 30], 1000, 2.5, 90.0, None)
    assert (few.name, few.no_size, few.no_equivalence) == ("floor", True, True)
    assert flags.limit_flags([1, 30], 1000, 2.5, 90.0, None)[0].text == "too easy: a run has 1 wrong image of 1,000"
    assert flags.limit_flags([0, 0], 9, 0.0, 0.0, None)[0].text == "too easy: a run has 0 wrong images of 9"
    assert flags.limit_flags([5, 6], 6, 91.0, 90.0, None)[0].text == "too few images: a run has 5 wrong images of 6"
    assert flags.limit_flags([0, 2], 8, 12.5, 75.0, None)[0].text == "too few images: a run has 0 wrong images of 8"
    fall = Region(low=-3.1, high=-2.9, one_run=True)
    assert names(flags.limit_flags([25, 30], 1000, 2.5, 90.0, fall)) == ["floor"]
    assert flags.limit_flags([250, 300], 1000, 25.0, 90.0, fall) == []


def test_task_that_is_too_hard_is_flagged() -> None:
    rise = Region(low=1.35, high=1.45, one_run=True)
    assert flags.limit_flags([800, 810], 1000, 80.0, 90.0, rise) == []
    (found,) = flags.limit_flags([890, 895], 1000, 89.0, 90.0, rise)
    assert (found.name, found.no_size) == ("ceiling", True)


def test_few_discordant_images_are_flagged_with_exact_tests() -> None:
    assert flags.discordance_flags([(15, 10), (20, 9), (3, 2)]) == []
    (found,) = flags.discordance_flags([(15, 9), (20, 9), (3, 2)])
    assert found.name == "few discordant images" and not found.doubt
    assert "0.307" in found.text  # 9 of 24 against a fair coin
    assert flags.discordance_flags([]) == []


@pytest.mark.parametrize(
    ("runs", "baselines", "name"),
    [
        (3, 3, []),
        (5, 10, []),
        (2, 10, ["two seeds"]),
        (5, 2, ["two seeds"]),
        (1, 5, ["one seed"]),
        (1, 1, ["one seed"]),
    ],
)
def test_too_few_seeds_are_flagged(runs: int, baselines: int, name: list[str]) -> None:
    assert names(flags.seed_flags(runs, baselines, has_spread=True)) == name


def test_one_seed_says_what_it_assumes() -> None:
    assert "varies like the others" in flags.seed_flags(1, 5, has_spread=True)[0].text
    assert "varies like the others" in flags.seed_flags(1, 1, has_spread=True)[0].text  # of a third arm
    assert "this pair of networks" in flags.seed_flags(1, 1, has_spread=False)[0].text


def test_mixed_numerics_between_and_within_arms_are_flagged() -> None:
    same = [{"precision": "32-true", "device": "cpu"}] * 2
    assert flags.numerics_flags(same, same) == []
    (between,) = flags.numerics_flags([{"precision": "bf16-mixed", "device": "cpu"}] * 2, same)
    assert "differs from the baseline" in between.text and "precision bf16-mixed, not 32-true" in between.text
    mixed = [{"precision": "32-true", "device": "cpu"}, {"precision": "32-true", "device": "H100"}]
    (within,) = flags.numerics_flags(mixed, mixed)
    assert within.text == "runs of an arm differ in device" and not within.doubt  # in both arms alike
    (between,) = flags.numerics_flags(mixed, same)
    assert "device H100 and cpu, not cpu" in between.text and between.doubt
    (within,) = flags.numerics_flags(*[[{"precision": "32-true"}, {"precision": "bf16-mixed"}]] * 2)
    assert within.doubt
    assert flags.numerics_flags([{"device": "cpu"}], same) == []  # from before the precision was recorded


def curves(slope: float, drop: float = 0.0, since: float = 0.0) -> list[list[tuple[float, float]]]:
    """Three runs of 30 epochs; the last four, at a tenth of the rate, are `drop` lower and fall by `since`."""
    late = np.maximum(np.arange(30) - 25, 0)
    mean = 40 - slope * np.arange(30) - drop * (late > 0) - since * late
    noise = np.random.default_rng(3).standard_normal((3, 30)) * 0.1
    return [list(zip(np.where(late > 0, 0.1, 1.0), mean + run, strict=True)) for run in noise]


def test_baseline_that_still_falls_is_flagged() -> None:
    assert names(flags.training_flags(curves(0.5), plateau=False, split="test")) == ["still falling"]
    assert flags.training_flags(curves(0.0), plateau=False, split="test") == []
    assert flags.training_flags([[(1.0, 50.0), (1.0, 40.0)]], plateau=False, split="test") == []  # too short to tell


def test_fall_that_the_last_drop_of_the_rate_brought_is_a_note() -> None:
    (flat,) = flags.training_flags(curves(0.0, drop=2.0), plateau=False, split="test")
    assert flat.name == "fell with the rate" and not flat.doubt
    falling = curves(0.0, drop=2.0, since=0.5)
    assert names(flags.training_flags(falling, plateau=False, split="test")) == ["still falling"]
    every = [[(1.0 / (epoch + 1), 40 - epoch) for epoch in range(30)]]  # a rate of its own for each epoch
    assert names(flags.training_flags(every, plateau=False, split="test")) == ["still falling"]


def test_plateau_schedule_that_saw_the_reported_images_is_flagged() -> None:
    assert names(flags.training_flags([], plateau=True, split="val")) == ["reported images used"]
    assert flags.training_flags([], plateau=True, split="test") == []
    assert flags.training_flags([], plateau=False, split="val") == []
