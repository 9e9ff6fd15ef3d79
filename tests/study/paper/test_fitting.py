"""When curves come down to a target and how times compare: by hand, by hypothesis, and against scipy."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alexnet.errors import UserError
from alexnet.runs.collect import collect
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import read_result
from alexnet.study.paper.figure1 import (
    FittedRun,
    Network,
    check_comparable,
    fastest,
    networks,
    read_fit,
    time_ratio,
)
from alexnet.study.verdict import epochs_to
from tests.study.made_up import epoch_record, fitted

CURVES = st.lists(st.floats(0, 89), min_size=1, max_size=12)

OLD = (
    "epoch,step,rate,train_loss,train_top1_error,train_top5_error,val_loss,val_top1_error,val_top5_error,seconds,"
    "images_per_second"
)


def fits(folder: Path) -> list[FittedRun]:
    found = [read_fit(run, 25.0) for run in collect([folder]).runs]
    return [fit for fit in found if fit is not None]


def nets(folder: Path) -> list[Network]:
    return networks(fits(folder))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([50, 30, 20], 2.5),
        ([50, 25, 20], 2.0),  # met exactly at the end of an epoch
        ([25], 1.0),
        ([50, 30], None),
        ([50, 20, 30, 10], 1 + 25 / 30),  # the first time counts
        ([10], 65 / 80),  # within the first epoch: from chance
    ],
)
def test_a_target_between_two_epochs_is_met_on_a_straight_line(errors: list[float], expected: float | None) -> None:
    assert epochs_to(errors, 25.0, 90.0) == (None if expected is None else pytest.approx(expected))


@given(errors=CURVES, target=st.floats(0, 89))
def test_the_curve_has_the_target_s_height_where_it_is_met(errors: list[float], target: float) -> None:
    met = epochs_to(errors, target, 90.0)
    if met is None:
        assert min(errors) > target
        return
    assert np.interp(met, range(len(errors) + 1), [90.0, *errors]) == pytest.approx(target, abs=1e-6)
    assert all(error > target for error in errors[: math.ceil(met) - 1])


def test_what_a_run_directory_says_is_read(tmp_path: Path) -> None:
    fitted(tmp_path, "tanh", 0.01, seed=3, errors=[60, 40, 20])
    (fit,) = fits(tmp_path)
    assert (fit.activation, fit.lr, fit.seed, fit.errors, fit.steps) == ("tanh", 0.01, 3, (60, 40, 20), 352)
    assert (fit.reached, fit.epochs) == (True, 2.75)
    assert "optimizer.momentum" in fit.settings and "activation.name" not in fit.settings


def test_a_run_without_the_error_is_no_fit(tmp_path: Path) -> None:
    directory = fitted(tmp_path, "relu", 0.003, seed=0, errors=[60])
    write_metrics(directory, [epoch_record(0, train_set=None)])
    assert fits(tmp_path) == []
    (directory / "metrics.csv").write_text(f"{OLD}\n0,352,0.01,4,3,2,4,3,2,9,100\n")  # from before there was one
    assert fits(tmp_path) == []
    (directory / "metrics.csv").unlink()
    assert fits(tmp_path) == []


@pytest.mark.parametrize("file", ["metrics.csv", "config.yaml"])
def test_a_damaged_file_is_named(tmp_path: Path, file: str) -> None:
    directory = fitted(tmp_path, "relu", 0.003, seed=0, errors=[60])
    (directory / file).write_text(f"{OLD}\n0,352,abc\n" if file == "metrics.csv" else "a: [")
    with pytest.raises(UserError, match=file) as caught:
        fits(tmp_path)
    assert "\n" not in str(caught.value)


def test_only_runs_of_one_study_are_compared(tmp_path: Path) -> None:
    fitted(tmp_path, "relu", 0.003, seed=0, errors=[60])
    fitted(tmp_path, "tanh", 0.01, seed=1, errors=[60])
    check_comparable(fits(tmp_path))
    other = fitted(tmp_path, "tanh", 0.01, seed=3, errors=[60])
    replace(read_result(other), numerics=1).write(other)
    with pytest.raises(UserError, match=r"NUMERICS=0.*1"):
        check_comparable(fits(tmp_path))
    shutil.rmtree(other)
    fitted(tmp_path, "tanh", 0.01, seed=2, errors=[60], settings={"optimizer": {"batch_size": 64}})
    with pytest.raises(UserError, match=r"optimizer\.batch_size=128.*64"):
        check_comparable(fits(tmp_path))


def test_networks_stand_with_relu_first_and_their_fastest_rate_first(tmp_path: Path) -> None:
    for activation, rate, errors in (
        ("abs_tanh", 0.01, [70, 60]),
        ("tanh", 0.003, [70, 26]),  # never met
        ("tanh", 0.01, [70, 20]),
        ("tanh", 0.03, [70, 24]),
        ("relu", 0.001, [50, 20]),
        ("relu", 0.003, [40, 20]),
        ("sigmoid", 0.01, [70, 60]),
        ("sigmoid", 0.02, [70, 50]),  # nearer
    ):
        fitted(tmp_path, activation, rate, seed=0, errors=errors)
    order = [(net.activation, net.lr) for net in nets(tmp_path)]
    assert order == [
        *(("relu", 0.003), ("relu", 0.001), ("abs_tanh", 0.01), ("sigmoid", 0.02), ("sigmoid", 0.01)),
        *(("tanh", 0.01), ("tanh", 0.03), ("tanh", 0.003)),
    ]
    best = [(net.activation, net.lr) for net in fastest(nets(tmp_path))]
    assert best == [("relu", 0.003), ("abs_tanh", 0.01), ("sigmoid", 0.02), ("tanh", 0.01)]


def test_the_ratio_is_over_all_runs_of_both_networks(tmp_path: Path) -> None:
    relu, tanh = {0: 4, 1: 5, 2: 6, 7: 5}, {0: 20, 1: 35, 2: 30}
    for activation, rate, epochs in (("relu", 0.003, relu), ("tanh", 0.01, tanh)):
        for seed, count in epochs.items():
            fitted(tmp_path, activation, rate, seed=seed, errors=[50.0] * (count - 1) + [25.0])
    fast, slow = nets(tmp_path)
    compared = time_ratio(slow, fast)
    assert compared is not None and compared.interval is not None and not compared.at_least
    logs = [np.log(list(side.values())) for side in (tanh, relu)]
    expected = stats.ttest_ind(*logs, equal_var=False).confidence_interval()
    assert compared.times == pytest.approx(math.exp(logs[0].mean() - logs[1].mean()))
    assert tuple(compared.interval) == pytest.approx(tuple(np.exp([expected.low, expected.high])))


def test_a_run_that_ended_too_early_makes_the_ratio_a_lower_bound(tmp_path: Path) -> None:
    fitted(tmp_path, "relu", 0.003, seed=0, errors=[50, 25])
    fitted(tmp_path, "relu", 0.003, seed=1, errors=[50, 25])
    fitted(tmp_path, "tanh", 0.01, seed=0, errors=[50.0] * 8)
    fitted(tmp_path, "tanh", 0.01, seed=1, errors=[50.0] * 7 + [25.0])
    fast, slow = nets(tmp_path)
    assert [(run.reached, run.epochs) for run in slow.runs] == [(False, 8), (True, 8.0)]
    assert not slow.reached and slow.mean_epochs == 8
    compared = time_ratio(slow, fast)
    assert compared is not None and compared.at_least and compared.published is None
    assert compared.times == pytest.approx(4)


def test_there_is_no_ratio_to_what_never_got_there(tmp_path: Path) -> None:
    fitted(tmp_path, "relu", 0.003, seed=0, errors=[50, 45])
    fitted(tmp_path, "tanh", 0.01, seed=0, errors=[50, 25])
    relu, tanh = nets(tmp_path)
    assert time_ratio(tanh, relu) is None and time_ratio(relu, tanh) is not None
