"""The file of a plan: what it says, what is refused, and which runs belong to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.runs.study_plan import Look, Plan, RateSearch, read_plan, result_name, write_plan

PLAN = Plan(name="small", overrides=("experiment=small",), ablations=("no_lrn", "figure1/tanh", "no_lrn+no_dropout"))


def test_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.yaml", PLAN, "alexnet train")
    assert read_plan(tmp_path / "plan.yaml") == PLAN
    search = replace(PLAN, search=RateSearch(grid=(0.005, 0.01, 0.02), seeds=(10,), epochs=5))
    write_plan(tmp_path / "search.yaml", search, "alexnet train")
    assert read_plan(tmp_path / "search.yaml") == search and search.hash != PLAN.hash
    assert read_plan(tmp_path / "plan.yaml").hash == PLAN.hash
    with pytest.raises(UserError, match="a plan is not changed"):
        write_plan(tmp_path / "plan.yaml", PLAN, "alexnet train")


def test_defaults_are_ten_baselines_and_five_seeds_extended_once_to_ten() -> None:
    assert PLAN.looks == (Look(seeds=5, level=0.01), Look(seeds=10, level=0.04))
    first, last = PLAN.jobs(0), PLAN.jobs(1)
    assert len(first) == 10 + 3 * 5 and len(last) == 10 + 3 * 10
    assert [seed for ablation, seed in first if ablation is None] == list(range(10))
    assert len(PLAN.jobs(1, {"no_lrn": 0})) == 10 + 5 + 2 * 10


def test_runs_outside_of_a_plan_are_named() -> None:
    assert PLAN.objection("figure1_tanh", 9) is None and PLAN.objection("baseline", 0) is None
    assert "seed 10 of no_lrn is not in the plan small" in str(PLAN.objection("no_lrn", 10))
    assert "no_color is not in the plan small" in str(PLAN.objection("no_color", 0))
    assert PLAN.objection(result_name("no_lrn+no_dropout"), 0) is None
    assert result_name("no_lrn+no_dropout") == "no_dropout+no_lrn"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("level: 0.04", "level: 0.05", "looks: the levels must be above 0 and add up to 0.05"),
        ("- seeds: 10", "- seeds: 5", "looks: the first needs two seeds"),
        ("measure: top1", "measure: top2", "measure: 'top2' is not one of"),
        ("- experiment=small", "- seed=3", "overrides: seed=3: that is for the plan itself"),
        (
            "search: null",
            "search: {grid: [0.01, 0.02], seeds: [10], epochs: 5}",
            "search.grid: an odd number of rising rates",
        ),
        (
            "search: null",
            "search: {grid: [1, 2, 3], seeds: [9], epochs: 5}",
            "search.seeds: the study has seeds 0 to 9 for itself",
        ),
        ("name: small", "nome: small", "nome: unknown field: did you mean name?"),
        ("name: small", "name: [", "not readable as YAML"),
        ("name: small", f"name: {'[' * 5000}", "not readable as YAML: nested more than 32 deep"),
        ("name: small", "name: 2024-99-99", "not readable as YAML: month must be in 1..12"),
        ("name: small", "name: small\nmargin: 1", "not readable as YAML: margin is there twice"),
    ],
)
def test_plan_that_cannot_be_is_refused_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "plan.yaml"
    write_plan(file, PLAN, "alexnet train")
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read_plan(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
