"""The runs of a planned study: the next look, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.config.job import check
from alexnet.config.numerics import NUMERICS
from alexnet.errors import UserError
from alexnet.runs.plan import Look, Plan, write_plan
from alexnet.sweep.plan import check_in_plan, next_look
from tests.study.made_up import predictions, result, save

PLAN = Plan(
    name="p",
    overrides=("optimizer.lr=0.005",),
    ablations=("no_lrn", "figure1/tanh", "no_lrn+no_dropout"),
    baseline_seeds=2,
    looks=(Look(seeds=2, level=0.01), Look(seeds=3, level=0.04)),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_plan(tmp_path / "plan.yaml", PLAN)
    return tmp_path / "plan.yaml"


def test_first_look_has_whole_seeds_first(file: Path, tmp_path: Path) -> None:
    jobs = next_look(file, tmp_path / "runs")
    assert jobs[:4] == [
        ["seed=0"],
        ["+ablation=no_lrn", "seed=0"],
        ["+ablation=figure1/tanh", "seed=0"],
        ["+ablation=[no_lrn,no_dropout]", "seed=0"],
    ]
    assert len(jobs) == 8


def test_second_look_has_the_seeds_of_what_is_not_settled(file: Path, tmp_path: Path) -> None:
    for place, ablation in enumerate(("baseline", "no_lrn", "figure1_tanh", "no_dropout+no_lrn")):
        for seed in range(2):
            one = replace(result(seed=seed), ablation=ablation, run=f"{ablation}-{seed}", plan=PLAN, numerics=NUMERICS)
            save(tmp_path / "runs", one, predictions(300 + place + seed, 100))
    jobs = next_look(file, tmp_path / "runs")
    assert len(jobs) == 2 + 3 * 3  # two seeds settle nothing


def test_plan_changed_after_its_first_run_is_refused(file: Path, tmp_path: Path) -> None:
    save(tmp_path / "runs", replace(result(), plan=replace(PLAN, margin=0.5)), predictions(300, 100))
    with pytest.raises(UserError, match="plan p was changed after its first run, shapes-baseline-seed0-1a2b"):
        next_look(file, tmp_path / "runs")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=2"], "seed 2 of baseline is not in the plan p, which has 0 to 1"),
        (["+ablation=no_color"], "no_color is not in the plan p"),
        (["optimizer.lr=0.1"], "the run has other settings than the plan"),
    ],
)
def test_run_that_is_none_of_the_plan_s_is_refused(file: Path, overrides: list[str], message: str) -> None:
    shared = [] if "optimizer.lr=0.1" in overrides else PLAN.overrides
    with pytest.raises(UserError, match=message):
        check_in_plan(check([*shared, f"study.plan={file}", *overrides]))


def test_run_of_the_plan_keeps_its_name(file: Path) -> None:
    with_plan = check([*PLAN.overrides, f"study.plan={file}", "+ablation=no_lrn", "seed=1"])
    check_in_plan(with_plan)
    assert with_plan.name == check([*PLAN.overrides, "+ablation=no_lrn", "seed=1"]).name
    check_in_plan(check([]))
