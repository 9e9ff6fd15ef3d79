"""Learning rates chosen by a plan's search, and what the report says of both."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from alexnet.runs.collect import collect
from alexnet.runs.result import DIVERGED
from alexnet.runs.study_plan import Look, Plan, RateSearch
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.learning_rates import Rates, choose_rates, searched_rates
from alexnet.study.report.page import markdown, page
from alexnet.study.verdict import Direction
from alexnet.study.wording import remarks
from tests.study.made_up import predictions, save, searched, unfinished

GRID = (0.0025, 0.005, 0.01)
PLAN = Plan(
    name="p",
    overrides=(),
    ablations=("no_lrn", "no_dropout"),
    baseline_seeds=3,
    looks=(Look(seeds=3, level=0.05),),
    search=RateSearch(grid=GRID, seeds=(7, 8)),
)
Wrong = Mapping[str, tuple[int, int, int]]
"""Of 1,000 images, at each rate of the grid."""


def search(folder: Path, wrong: Wrong, plan: Plan = PLAN, *, beyond: Mapping[str, int] = MappingProxyType({})) -> Rates:
    """Save the runs of a search, of which the second seed has 10 more wrong images, and choose by them.

    Where the grid does not do, `beyond` has the wrong images of an arm one step further; 400 of another.
    """

    def save_all(counts: Mapping[tuple[str, float], int]) -> None:
        assert plan.search
        for place, seed in enumerate(plan.search.seeds):
            for (arm, rate), count in counts.items():
                save(folder, searched(plan, arm, rate, seed), predictions(count + 10 * place, 30), split="val")

    grid = plan.search.grid if plan.search else ()
    save_all({(arm, rate): count for arm, counts in wrong.items() for rate, count in zip(grid, counts, strict=True)})
    further = {*searched_rates(plan, collect([folder]).runs)} - {*grid}
    save_all({(arm, rate): beyond.get(arm, 400) for arm in wrong for rate in further})
    found = choose_rates(plan, collect([folder]).runs)
    assert found
    return found


def test_of_rates_within_a_standard_error_the_nearest_to_the_shared_one_is_taken(tmp_path: Path) -> None:
    # Two seeds one point apart: the standard error of a mean is half a point.
    found = search(tmp_path, {"baseline": (304, 306, 300), "no_lrn": (300, 303, 306), "no_dropout": (300, 350, 304)})
    assert found.shared == 0.01  # 0.005 is 0.6 points worse
    assert found.grid == (*GRID, 0.02) and not found.arms["baseline"].at_edge
    assert found.arms["baseline"].standard_error == pytest.approx(0.5)
    assert found.of("no_lrn") == [0.01, 0.005] and found.of("no_dropout") == [0.01]
    assert found.images == 1000


def test_of_rates_equally_near_the_better_one_is_taken(tmp_path: Path) -> None:
    # a tenth and ten times the shared rate, whose logarithms differ from each other's opposite in the last bit
    plan = replace(PLAN, search=RateSearch(grid=(0.001, 0.01, 0.1), seeds=(7, 8)))
    found = search(
        tmp_path, {"baseline": (400, 300, 400), "no_lrn": (303, 400, 300), "no_dropout": (300, 400, 303)}, plan
    )
    assert found.of("no_lrn") == [0.01, 0.1] and found.of("no_dropout") == [0.01, 0.001]


def test_with_one_seed_the_standard_error_is_that_of_the_images(tmp_path: Path) -> None:
    plan = replace(PLAN, search=replace(PLAN.search, seeds=(7,)))  # type: ignore[type-var]
    found = search(tmp_path, {"baseline": (300, 310, 400), "no_lrn": (300, 320, 330), "no_dropout": (300,) * 3}, plan)
    assert found.arms["baseline"].standard_error == pytest.approx(100 * (0.3 * 0.7 / 1000) ** 0.5)  # 1.45 points
    assert found.shared == 0.005 and found.of("no_lrn") == [0.005, 0.0025]
    assert found.grid == (0.00125, *GRID)


def test_a_best_rate_at_each_edge_has_every_arm_searched_a_step_further_on_both_sides(tmp_path: Path) -> None:
    wrong = {"baseline": (350, 300, 350), "no_lrn": (300, 350, 400), "no_dropout": (400, 350, 300)}
    found = search(tmp_path, wrong)
    assert found.grid == (0.00125, *GRID, 0.02)
    assert found.of("no_lrn") == [0.005, 0.0025] and found.of("no_dropout") == [0.005, 0.01]
    assert not any(arm.at_edge for arm in found.arms.values())


def looked(folder: Path, wrong: Mapping[tuple[str, float], int]) -> ComparisonTable:
    """Save three seeds of each arm and rate, and compare all runs in the folder."""
    for (arm, rate), count in wrong.items():
        for seed in range(3):
            save(folder, searched(PLAN, arm, rate, seed), predictions(count + seed, 30, first=seed))
    (table,) = compare(collect([folder]).runs, split=None, view="ten_crop")
    return table


def test_table_is_at_the_shared_rate_and_shows_the_own_one_outside_of_its_family(tmp_path: Path) -> None:
    arms = {"baseline": (350, 300, 350), "no_lrn": (300, 350, 350), "no_dropout": (350, 300, 350)}
    search(tmp_path, arms, beyond={"no_lrn": 250})
    wrong = {("baseline", 0.005): 300, ("no_lrn", 0.005): 340, ("no_lrn", 0.00125): 260, ("no_dropout", 0.005): 340}
    table = looked(tmp_path, wrong)
    rows = {row.ablation: row for row in table.rows}
    assert rows["no_lrn"].assessments["top1"].delta == pytest.approx(4.0)
    assert rows["no_lrn"].other_rate["top1"].delta == pytest.approx(-4.0)
    assert rows["no_lrn"].assessments["top1"].direction is Direction.DEPENDS
    assert rows["no_dropout"].assessments["top1"].direction is Direction.WORSE and not rows["no_dropout"].other_rate
    assert not any("rate not bracketed" in flag.name for flag in rows["no_dropout"].doubts)
    assert [flag.text for flag in rows["no_lrn"].doubts if flag.name == "rate not bracketed"] == [
        "the best rate of no_lrn is at the edge of the grid: a better one may lie beyond"
    ]
    assert table.pairing_key == "0.005" and len(table.others) == 3 + 24
    html = page([table], None, folder=tmp_path)
    assert markdown([table]).count("\n# shapes-") == 9 + 3 + 24 and html.count('id="run-') == 9
    assert all(html.count(f"<bdi>{run.result.run}</bdi>") == 1 for run in table.others)
    assert html.count('depends on the rate, flagged</span> <span class="reason">at the learning rate 0.005 alone<') == 1
    said = "\n".join(remarks(table))
    assert "8 runs for every arm (0.00125, 0.0025, 0.005, 0.01; seeds 7, 8), judged by 1,000 held-out training" in said
    assert "The plan's grid had no 0.00125: an arm's best was at its edge, and all went beyond." in said
    assert "no_lrn: held-out error by rate 0.00125: 25.50, 0.0025: 30.50, 0.005: 35.50, 0.01: 35.50; chosen" in said
    assert "chosen 0.00125, at the edge" in said
    assert "no_lrn, top-1, at the rate 0.00125: -4.00 [" in said


def test_baselines_at_another_rate_than_the_shared_one_take_no_seed_s_place(tmp_path: Path) -> None:
    search(tmp_path, {"baseline": (350, 300, 350), "no_lrn": (350, 300, 350), "no_dropout": (350, 300, 350)})
    table = looked(tmp_path, {("baseline", 0.005): 300, ("baseline", 0.01): 400, ("no_lrn", 0.005): 340})
    assert [(row.ablation, row.seeds) for row in table.rows] == [("baseline", [0, 1, 2]), ("no_lrn", [0, 1, 2])]
    assert table.rows[1].assessments["top1"].delta == pytest.approx(4.0)


def test_search_that_was_evaluated_on_other_images_is_missing(tmp_path: Path) -> None:
    for rate in GRID:
        for seed in (7, 8):
            save(tmp_path, searched(PLAN, "baseline", rate, seed), predictions(300, 30), split="test")
    assert choose_rates(PLAN, collect([tmp_path]).runs) is None
    assert looked(tmp_path, {("baseline", 0.005): 300}).rates is None


def test_an_arm_that_diverged_at_every_searched_rate_is_flagged(tmp_path: Path) -> None:
    search(tmp_path, {"baseline": (350, 300, 350), "no_lrn": (350, 300, 350), "no_dropout": (350, 300, 350)})
    for rate in GRID:
        lost = unfinished(searched(PLAN, "no_lrn", rate, 7), "failed", f"{DIVERGED} in epoch 1")
        save(tmp_path, lost)
    table = looked(tmp_path, {("baseline", 0.005): 300, ("no_lrn", 0.005): 340, ("no_dropout", 0.005): 340})
    flags = {row.ablation: [flag.name for flag in row.doubts] for row in table.rows}
    assert "rate not found" in flags["no_lrn"] and "rate not found" not in flags["no_dropout"]
    assert "0.01: diverged; chosen 0.005, though a run diverged at each." in "\n".join(remarks(table))


def test_claim_that_is_judged_at_its_own_rate_is_of_the_family_there(tmp_path: Path) -> None:
    search(tmp_path, {"baseline": (350, 300, 350), "no_lrn": (300, 350, 350), "no_dropout": (350, 300, 350)})
    for rate, count in ((0.005, 340), (0.0025, 330), (0.01, 300)):
        for seed in range(3):
            one = searched(PLAN, "no_lrn", rate, seed)
            claim = replace(one.claims["no_lrn"], rate="own")
            save(tmp_path, replace(one, claims={"no_lrn": claim}), predictions(count + seed, 30, first=seed))
    table = looked(tmp_path, {("baseline", 0.005): 300})
    row = table.rows[1]
    assert row.assessments["top1"].delta == pytest.approx(3.0) and row.other_rate["top1"].delta == pytest.approx(4.0)
    assert "no_lrn, judged at its own rate, 0.0025, as its claim's file says." in remarks(table)
    left_out = [note.text for note in table.notes if "the search has not chosen its rate, 0.01" in note.text]
    assert len(left_out) == 3


def test_before_the_end_of_the_search_runs_at_other_rates_are_no_further_seeds(tmp_path: Path) -> None:
    wrong = {("baseline", 0.005): 300, ("no_lrn", 0.005): 340, ("no_lrn", 0.0025): 260, ("no_dropout", 0.005): 330}
    table = looked(tmp_path, wrong)
    rows = {row.ablation: row for row in table.rows}
    assert rows["no_lrn"].seeds == [0, 1, 2]
    assert rows["no_lrn"].assessments["top1"].delta == pytest.approx(4.0)
    assert {flag.name for flag in rows["no_dropout"].doubts} >= {"rates not searched"}
    assert sum("no search, so far, has chosen its rate, 0.0025" in note.text for note in table.notes) == 3


def test_an_ablation_that_was_edited_after_its_search_is_not_run_at_the_rate_of_the_other(tmp_path: Path) -> None:
    search(tmp_path, {"baseline": (310, 300, 320), "no_lrn": (310, 300, 320), "no_dropout": (310, 300, 320)})
    edited = {"lrn.layers": ([1, 2], [1])}
    for arm in ("baseline", "no_lrn"):
        for seed in range(3):
            run = replace(searched(PLAN, arm, 0.005, seed), changes=edited if arm == "no_lrn" else {})
            save(tmp_path, run, predictions(300 + seed, 30))
    (found,) = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    assert [row.ablation for row in found.rows] == ["baseline"]
    assert sum("left out, it has lrn.layers=[1], unlike most of no_lrn" in note.text for note in found.notes) == 3
