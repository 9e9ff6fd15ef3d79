"""Looks of made-up planned studies: which ablations they settle, and what the next look needs."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.runs.collect import collect
from alexnet.runs.study_plan import Look, Plan
from alexnet.study.assessment import assess
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.interim_looks import Judged, judge
from alexnet.study.wording import plan_line
from tests.study.made_up import predictions, result, save, unfinished

PLAN = Plan(
    name="p",
    overrides=(),
    ablations=("no_lrn", "no_color", "no_dropout"),
    baseline_seeds=6,
    looks=(Look(seeds=3, level=0.01), Look(seeds=6, level=0.04)),
    margin=0.45,
)
WRONG = {"baseline": 300, "no_lrn": 400, "no_color": 300, "no_dropout": 304}


def run(folder: Path, ablation: str, seed: int, plan: Plan | None = PLAN) -> None:
    """A large effect, none, and one in between at the margin."""
    rng = np.random.default_rng([seed, len(ablation)])
    wrong = WRONG[ablation] + int(rng.integers(-3, 4))
    save(folder, replace(result(ablation, seed), plan=plan), predictions(wrong, 100 + seed, first=int(rng.integers(9))))


def planned(folder: Path, seeds: int) -> Path:
    for ablation in WRONG:
        for seed in range(6 if ablation == "baseline" else seeds):
            run(folder, ablation, seed)
    return folder


def table(folder: Path) -> ComparisonTable:
    (found,) = compare(collect([folder]).runs, split=None, view="ten_crop")
    return found


def judged(folder: Path) -> Judged:
    return judge({row.ablation: row.runs for row in table(folder).rows}, PLAN)


def test_first_look_settles_what_is_clear(tmp_path: Path) -> None:
    found = judged(planned(tmp_path, 3))
    words = {name: one.direction.value for name, one in found.assessments["top1"].items()}
    assert words == {"no_lrn": "as claimed", "no_color": "no effect", "no_dropout": "not resolved"}
    assert (dict(found.settled), found.next_look) == ({"no_lrn": 0, "no_color": 0}, 1)
    needed = PLAN.jobs(found.next_look, found.settled)
    assert {seed for ablation, seed in needed if ablation == "no_dropout"} == set(range(6))
    assert {seed for ablation, seed in needed if ablation == "no_lrn"} == set(range(3))
    first = found.assessments["top1"]["no_lrn"]
    assert first.confidence == 0.99
    usual = assess(found.arms, "top1")["no_lrn"]  # at 5 %, which finds smaller deltas than 1 % does
    effects = [one.outlook.min_detectable_effect for one in (usual, first)]
    assert effects[0] is not None and effects[1] is not None and 1.1 * effects[0] < effects[1]


def test_second_look_judges_the_rest_and_keeps_what_was_settled(tmp_path: Path) -> None:
    first = judged(planned(tmp_path, 3))
    for seed in range(3, 6):
        run(tmp_path, "no_dropout", seed)
    second = judged(tmp_path)
    assert second.next_look == 2
    assert second.assessments["top1"]["no_lrn"] == first.assessments["top1"]["no_lrn"]
    rest = second.assessments["top1"]["no_dropout"]
    save(tmp_path, replace(result("no_lrn", 3), plan=PLAN), predictions(600, 200))  # of one that is settled
    assert table(tmp_path).rows[-1].assessments["top1"] == rest
    assert (rest.confidence, rest.level) == (0.96, 0.04)
    assert rest.p <= rest.holm_p


def test_incomplete_looks_are_flagged_or_wait(tmp_path: Path) -> None:
    for ablation in WRONG:
        for seed in range(2):
            run(tmp_path, ablation, seed)
    found = judged(tmp_path)
    assert (found.next_look, dict(found.settled)) == (0, {})
    assert "look incomplete" in [flag.name for flag in found.assessments["top1"]["no_lrn"].flags]
    planned(tmp_path, 3)
    run(tmp_path, "no_dropout", 3)  # the second look has begun: the verdict is still that of the first
    assert judged(tmp_path).next_look == 1
    assert judged(tmp_path).assessments["top1"]["no_dropout"].level == 0.01


def test_a_look_does_not_wait_for_runs_that_diverged(tmp_path: Path) -> None:
    planned(tmp_path, 3)
    for ablation, seed in (("no_dropout", 1), ("baseline", 4)):
        one = replace(result(ablation, seed), plan=PLAN)
        shutil.rmtree(tmp_path / one.run)
        save(tmp_path, unfinished(one, "failed", "training diverged in epoch 2: the loss is no longer finite"))
    found = table(tmp_path)
    assert found.judged is not None
    assert (dict(found.judged.settled), found.judged.next_look) == ({"no_lrn": 0, "no_color": 0}, 1)
    rows = {row.ablation: row for row in found.rows}
    assert rows["no_dropout"].seeds == [0, 2] and rows["baseline"].seeds == [0, 1, 2, 3, 5]
    flags = {name: [flag.text for flag in row.doubts] for name, row in rows.items()}
    assert flags["no_dropout"] == [
        "1 of 3 runs diverged, 1 of 6 of the baseline (Fisher's exact p 1.000): all figures are of the others"
    ]
    assert flags["no_lrn"][0].startswith("0 of 3 runs diverged, 1 of 6 of the baseline")
    for seed in range(3, 6):
        run(tmp_path, "no_dropout", seed)
    second = table(tmp_path)
    assert second.judged is not None and second.judged.next_look == 2
    assert [row.assessments["top1"].confidence for row in second.rows if row.ablation == "no_dropout"] == [0.96]


def test_rows_hold_the_runs_that_were_judged(tmp_path: Path) -> None:
    before = {row.ablation: (row.seeds, row.errors) for row in table(planned(tmp_path, 3)).rows}
    for ablation in ("no_dropout", "no_lrn"):  # of the second look, and of an ablation that needs none
        save(tmp_path, replace(result(ablation, 3), plan=PLAN), predictions(600, 200))
    found = table(tmp_path)
    assert {row.ablation: (row.seeds, row.errors) for row in found.rows} == before
    (note,) = [note.text for note in found.notes if "beyond the look" in note.text]
    assert "no_dropout seed 3" in note and "no_lrn seed 3" in note and len(found.others) == 2


def test_runs_outside_of_the_plan_are_left_out_and_named(tmp_path: Path) -> None:
    planned(tmp_path, 3)
    run(tmp_path, "no_dropout", 9)
    found = table(tmp_path)
    assert found.plan == PLAN
    assert "no_dropout seed 9 (shapes-no_dropout-seed9-1a2b): left out, seed 9" in " ".join(n.text for n in found.notes)
    assert {seed for row in found.rows for seed in row.seeds} == set(range(6))


def test_runs_made_without_the_plan_are_flagged(tmp_path: Path) -> None:
    planned(tmp_path, 3)
    run(tmp_path, "no_lrn", 0, plan=None)
    assert "unplanned" in [flag.name for row in table(tmp_path).rows for flag in row.doubts]


def test_several_plans_are_no_plan(tmp_path: Path) -> None:
    planned(tmp_path, 3)
    run(tmp_path, "no_dropout", 4, plan=replace(PLAN, margin=1.0))
    found = table(tmp_path)
    assert found.plan is None and "several plans" in found.notes[0].text
    assert plan_line(found) == "These runs are of several plans, none of which holds for all of them."


def test_a_plan_without_runs_needs_its_first_look() -> None:
    found = judge({}, PLAN)
    assert (found.next_look, dict(found.assessments["top1"])) == (0, {})


def test_a_plan_for_top_5_is_judged_by_top_1_among_few_classes(tmp_path: Path) -> None:
    planned(tmp_path, 3)
    arms = {
        row.ablation: [replace(one, baseline=None, correct={"top1": one.correct["top1"]}) for one in row.runs]
        for row in table(tmp_path).rows
    }
    found = judge(arms, replace(PLAN, measure="top5"))
    assert found.settled == judged(tmp_path).settled
