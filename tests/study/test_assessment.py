"""What is said of an ablation: sizes where a claim was made, flags, combinations and ten crops."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.config.schema import Claim, Effect, Errors, Target
from alexnet.errors import UserError
from alexnet.runs.arrays import write_predictions
from alexnet.runs.collect import collect
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import Result
from alexnet.study.assessment import Assessment, StatedSpread
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.table_columns import comparison_records
from alexnet.study.wording import remarks
from tests.study.made_up import IMAGES, epoch_record, predictions, result, save


def table(folder: Path) -> ComparisonTable:
    (found,) = compare(collect([folder]).runs, split=None, view="ten_crop")
    return found


def of(folder: Path, ablation: str, measure: str = "top1") -> Assessment:
    return next(row for row in table(folder).rows if row.ablation == ablation).assessments[measure]


def run(folder: Path, ablation: str, seed: int, wrong: int, claim: Claim | None = None, **changes: object) -> Path:
    """A run with about that many wrong images, each seed on others."""
    rng = np.random.default_rng([seed, wrong])
    claims = {ablation: claim} if claim else {}
    one: Result = replace(result(ablation if "+" in ablation else "baseline", seed), ablation=ablation, claims=claims)
    one = replace(one, run=f"{ablation}-{seed}", **changes)  # type: ignore[arg-type]
    return save(folder, one, predictions(wrong + int(rng.integers(3)), 100 + seed, first=int(rng.integers(5))))


def claim(value: float, *experiments: str, **effect: object) -> Claim:
    paper = Effect(top1=value, experiments=list(experiments), images=IMAGES, **effect)  # type: ignore[arg-type]
    return Claim(title="t", section="3", statement="s", paper=paper, margin=Errors(top1=0.3))


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (claim(5.0, "demo"), "agrees"),
        (claim(2.0, "demo", relation="at_least"), "confirmed"),
        (claim(30.0, "demo"), "smaller"),
        (claim(0.5, "demo"), "larger"),
        (claim(5.0, "ilsvrc2012"), "other data or recipe"),
        (claim(5.0, "demo", recipes=["source_2012"]), "other data or recipe"),
    ],
)
def test_size_is_judged_where_the_claim_was_made(tmp_path: Path, claimed: Claim, expected: str) -> None:
    for seed in range(5):
        run(tmp_path, "baseline", seed, 300)
        run(tmp_path, "x", seed, 350, claimed)
    verdict = of(tmp_path, "x").sizes["paper"]
    assert (verdict.size or verdict.reason) == expected
    assert (verdict.prediction is None) == (expected == "other data or recipe")
    assert "log" not in of(tmp_path, "x").sizes and of(tmp_path, "x", "top5").sizes == {}


def test_runs_with_another_setting_than_their_experiment_are_no_test_of_the_size(tmp_path: Path) -> None:
    target = Target(paper=Errors(top1=40.7))
    for folder, changed in (
        ("as it is", "data.root=/mine hardware.threads=1"),
        ("short", "schedule.rescale_to_epochs=2"),
    ):
        command = f"python train.py experiment=demo {changed} +ablation=x seed=0"
        for seed in range(5):
            run(tmp_path / folder, "baseline", seed, 300, command=command, target=target)
            run(tmp_path / folder, "x", seed, 350, claim(5.0, "demo"), command=command, target=target)
    assert of(tmp_path / "as it is", "x").sizes["paper"].size == "agrees"
    assert table(tmp_path / "as it is").target == target
    assert of(tmp_path / "short", "x").sizes["paper"].reason == "other data or recipe"
    assert table(tmp_path / "short").target == Target()
    save(tmp_path / "center", replace(result(), target=target), predictions(300, 100), view="center")
    (center,) = compare(collect([tmp_path / "center"]).runs, split=None, view="center")
    assert center.target == Target()  # the paper's errors are of ten crops


def test_size_is_not_judged_from_two_seeds_or_at_chance(tmp_path: Path) -> None:
    for seed in range(3):
        run(tmp_path / "a", "baseline", seed, 300)
        run(tmp_path / "b", "baseline", seed, 300)
        run(tmp_path / "b", "x", seed, 955, claim(1.0, "demo"))
        if seed < 2:
            run(tmp_path / "a", "x", seed, 350, claim(1.0, "demo"))
    few, chance = of(tmp_path / "a", "x"), of(tmp_path / "b", "x")
    assert (few.direction, few.sizes["paper"].reason) == ("too few seeds", "two seeds")
    assert chance.sizes["paper"].reason == "at chance" and chance.doubts
    assert chance.direction == "as claimed"


def test_one_run_of_each_arm_is_judged_by_a_stated_spread(tmp_path: Path) -> None:
    run(tmp_path, "baseline", 0, 300)
    run(tmp_path, "x", 0, 350, claim(5.0, "demo"))
    runs = collect([tmp_path]).runs
    stated = StatedSpread(run_sd={"top1": 0.8}, source="ten runs of a friend")
    (found,) = compare(runs, split=None, view="ten_crop", stated=stated)
    one = found.rows[1].assessments["top1"]
    pair = found.rows[1].runs[0].deltas["top1"]
    discordant, difference = (pair.only_run_wrong + pair.only_baseline_wrong) / IMAGES, pair.delta / 100
    of_images = 100**2 * (discordant - difference**2) / (IMAGES - 1)
    half = 1.959964 * np.sqrt(2 * 0.8**2 + of_images)
    assert one.interval == pytest.approx((pair.delta - half, pair.delta + half), abs=1e-5)
    size = one.sizes["paper"]
    assert size.size == "agrees" and size.prediction
    assert size.prediction.half == pytest.approx(1.959964 * np.sqrt(4 * 0.8**2), abs=1e-5)
    assert math.isnan(one.p) and math.isnan(one.holm_p) and one.direction == "too few seeds"
    assert "x, top-1, flagged: one seed, run sd assumed: 0.8 points (ten runs of a friend)." in remarks(found)
    assert found.rows[1].assessments["top5"].sizes == {} and found.rows[1].assessments["top5"].p == 1.0  # none stated
    assert comparison_records([found])[1]["top1_holm_p"] is None
    assert one.outlook.reason == "unknown from one run of each arm"


def test_a_spread_is_not_stated_where_it_is_seen(tmp_path: Path) -> None:
    for seed in range(2):
        run(tmp_path, "baseline", seed, 300)
    run(tmp_path, "x", 0, 350)
    stated = StatedSpread(run_sd={"top1": 0.8}, source="a friend")
    with pytest.raises(UserError, match="these show their own spread"):
        compare(collect([tmp_path]).runs, split=None, view="ten_crop", stated=stated)
    with pytest.raises(UserError, match=r"demo, recipe paper: there is more than one run of baseline, .* Leave it out"):
        compare(collect([tmp_path]).runs, split=None, view="ten_crop", stated=stated)


def test_a_table_says_that_it_does_not_take_a_stated_spread(tmp_path: Path) -> None:
    run(tmp_path / "one", "baseline", 0, 300)
    with pytest.raises(UserError, match="baseline alone has nothing to be compared with"):
        compare(
            collect([tmp_path]).runs, split=None, view="ten_crop", stated=StatedSpread(run_sd={"top1": 1}, source="x")
        )
    run(tmp_path / "one", "x", 0, 350)
    for folder, seeds in (("several", 2), ("alone", 1)):
        for seed in range(seeds):
            other = replace(result("baseline", seed), pairing_key=folder)
            save(tmp_path / folder, other, predictions(300 + seed, 100))
    with_both = compare(
        collect([tmp_path]).runs, split=None, view="ten_crop", stated=StatedSpread(run_sd={"top1": 1}, source="x")
    )
    said = [note.text for table in with_both for note in table.notes if "run sd" in note.text]
    assert sorted(said) == [
        "The run sd that was stated is not used here: baseline alone has nothing to be compared with.",
        "The run sd that was stated is not used here: there is more than one run of baseline, and these show their own"
        " spread.",
    ]


def test_combination_beyond_its_parts_is_one_more_test(tmp_path: Path) -> None:
    wrong = {"baseline": 300, "x": 330, "y": 340, "x+y": 420}
    for ablation, count in wrong.items():
        for seed in range(4):
            run(tmp_path, ablation, seed, count)
    both = of(tmp_path, "x+y")
    assert both.interaction is not None and both.interaction_holm_p is not None
    errors = {row.ablation: row.errors["top1"] for row in table(tmp_path).rows}
    beyond = errors["x+y"] - errors["x"] - errors["y"] + errors["baseline"]
    assert both.interaction.value == pytest.approx(beyond)
    assert of(tmp_path, "x").interaction is None
    assert both.interaction_holm_p >= float(both.interaction.p)


def test_there_is_no_interaction_at_chance_or_of_three_changes(tmp_path: Path) -> None:
    wrong = {"baseline": 300, "x": 330, "y": 340, "x+y": 420, "x+y+z": 500, "c": 955, "c+x": 500}
    for ablation, count in wrong.items():
        for seed in range(2):
            run(tmp_path, ablation, seed, count)
    judged = {row.ablation: row.assessments["top1"] for row in table(tmp_path).rows if row.assessments}
    assert {name for name, one in judged.items() if one.interaction} == {"x+y"}


def test_a_step_of_a_path_is_from_the_one_arm_that_lacks_one_change(tmp_path: Path) -> None:
    for ablation, count in {"baseline": 300, "y": 330, "x+y": 420, "x+y+z": 410}.items():
        for seed in range(3):
            run(tmp_path, ablation, seed, count + seed)
    errors = {row.ablation: row.errors["top1"] for row in table(tmp_path).rows}
    for name, before in {"x+y": "y", "x+y+z": "x+y"}.items():
        step = of(tmp_path, name).step
        assert step is not None and step.before == before
        assert step.change.value == pytest.approx(errors[name] - errors[before])
    assert of(tmp_path, "y").step is None and of(tmp_path, "x+y+z").interaction is None
    assert any("from x+y; one step of a path" in line for line in remarks(table(tmp_path)))
    for seed in range(3):
        run(tmp_path, "x", seed, 320)
    assert of(tmp_path, "x+y").step is None  # two ways there: that is an interaction


def test_gain_of_ten_crops_is_that_of_the_same_runs(tmp_path: Path) -> None:
    for seed in range(3):
        directory = run(tmp_path, "baseline", seed, 300)
        ten = predictions(300, 100 + seed, first=seed)
        write_predictions(directory, {"test": {"ten_crop": ten, "center": predictions(320, 110, first=seed)}})
        rates = {"ten_crop": ten.error_rates()}
        replace(result(seed=seed), run=f"baseline-{seed}", errors={"test": rates}).write(directory)
    (baseline,) = table(tmp_path).rows
    assert baseline.gains["top1"].value == pytest.approx(2.0)
    run(tmp_path, "x", 0, 310)  # has no center view
    assert table(tmp_path).rows[0].gains == {}


def test_plateau_and_unfinished_training_are_flagged_from_the_run_s_files(tmp_path: Path) -> None:
    for seed in range(3):
        for ablation in ("baseline", "x"):
            one = replace(result(seed=seed), ablation=ablation, run=f"{ablation}-{seed}")
            directory = save(tmp_path, one, predictions(300 + seed, 100, first=seed), split="val")
            epochs = [replace(epoch_record(e, train_set=None), val_top1_error=60.0 - 2 * e) for e in range(15)]
            write_metrics(directory, epochs)
            (directory / "config.yaml").write_text("{schedule: {kind: plateau}, trainer: {limit_val_batches: 2}}\n")
    flags = {flag.name: flag.text for flag in of(tmp_path, "x").doubts}
    assert flags.keys() == {"still falling", "reported images used", "part of the images"}
    assert "(trainer.limit_val_batches=2)" in flags["part of the images"]
