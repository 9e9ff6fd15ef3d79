"""Pairs, rows and notes of made-up studies whose outcome is known."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.config.schema import Effect
from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions, write_predictions
from alexnet.runs.collect import collect
from alexnet.runs.directory import PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import TrainingFacts, read_result
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.pairing import baseline_command
from alexnet.study.wording import headline
from tests.study.made_up import IMAGES, predictions, result, save, study, unfinished


def groups(folder: Path, *, split: str | None = None, view: str = "ten_crop") -> list[ComparisonTable]:
    return compare(collect([folder]).runs, split=split, view=view)


def notes(table: ComparisonTable) -> str:
    return "\n".join(note.text for note in table.notes)


def test_known_deltas(tmp_path: Path) -> None:
    for seed, (base, ablated) in enumerate([(300, 310), (290, 310), (310, 340)]):
        save(tmp_path, result(seed=seed), predictions(base, 100))
        save(tmp_path, result("no_lrn", seed), predictions(ablated, 90, first=seed))
    (group,) = groups(tmp_path)
    baseline, row = group.rows
    assert (group.split, group.view, group.images, notes(group)) == ("test", "ten_crop", IMAGES, "")
    assert baseline.errors == {"top1": pytest.approx(30.0), "top5": pytest.approx(10.0)}
    assert (baseline.assessments, baseline.claim) == ({}, None)
    assert row.errors["top1"] == pytest.approx(32.0)
    assert [one.deltas["top1"].delta for one in row.runs] == pytest.approx([1.0, 2.0, 3.0])
    assert row.assessments["top1"].delta == pytest.approx(2.0)
    assert row.assessments["top5"].delta == pytest.approx(-1.0)
    assert row.claim is not None
    assert row.claim.paper.top1 == 1.4


def test_order_of_rows(tmp_path: Path) -> None:
    (group,) = groups(study(tmp_path, seeds=1))
    assert [row.ablation for row in group.rows] == [
        "baseline",
        "one_column",  # 3.2
        "no_lrn",  # 3.3
        "no_color",  # 4.1
        "no_dropout",  # 4.2
        "isolated_columns",  # the log
        "no_dropout+no_lrn",
    ]
    assert group.rows[-1].claim is None


def test_other_data_and_other_experiments_get_their_own_tables(tmp_path: Path) -> None:
    for experiment, key in (("demo", "k1"), ("cifar", "k2")):
        for ablation in ("baseline", "no_lrn"):
            run = replace(result(ablation), experiment=experiment, pairing_key=key, run=f"{experiment}-{ablation}")
            save(tmp_path, run, predictions(300, 100))
    assert [(group.experiment, len(group.rows)) for group in groups(tmp_path)] == [("cifar", 2), ("demo", 2)]


def test_missing_baseline_comes_with_its_command(tmp_path: Path) -> None:
    for ablation in ("no_lrn", "no_dropout"):
        save(tmp_path, result(ablation, 2), predictions(300, 100))
    (group,) = groups(tmp_path)
    assert [row.assessments for row in group.rows] == [{}, {}]
    (note,) = group.notes
    assert note.text == "No baseline run for no_dropout, no_lrn. To make one:"
    assert note.command == "python train.py seed=2"


def test_a_run_counts_without_a_baseline_of_its_seed(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn", 0), predictions(310, 100))
    save(tmp_path, result("no_lrn", 1), predictions(330, 100))
    (group,) = groups(tmp_path)
    row = group.rows[1]
    assert row.seeds == [0, 1] and row.assessments["top1"].delta == pytest.approx(2.0)
    assert notes(group) == ""


def test_a_copy_of_a_run_is_one_run(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    for seed in range(3):
        save(tmp_path, result("no_lrn", seed), predictions(310, 100, first=seed // 2))
    surer = predictions(310, 100)  # right on the same images, as seeds are where the images are few or easy
    surer = replace(surer, top5_probabilities=surer.top5_probabilities + np.float32(0.01))
    save(tmp_path, result("no_lrn", 3), surer)
    (group,) = groups(tmp_path)
    assert group.rows[1].seeds == [0, 2, 3]
    told = "no_lrn seed 1 (shapes-no_lrn-seed1-1a2b): left out, its probabilities are those of no_lrn seed 0"
    assert told in notes(group)


def test_an_edited_claim_is_told_and_that_of_most_runs_judges(tmp_path: Path) -> None:
    for seed, paper in enumerate((0.2, 1.4, 1.4)):
        save(tmp_path, result(seed=seed), predictions(300 + seed, 100))
        run = result("no_lrn", seed)
        claim = replace(run.claims["no_lrn"], paper=Effect(top1=paper))
        save(tmp_path, replace(run, claims={"no_lrn": claim}), predictions(320 + seed, 110))
    (table,) = groups(tmp_path)
    assert table.rows[1].claims["top1"]["paper"] == 1.4
    assert (
        "no_lrn: its claim was edited between its runs; that of most of them holds, not that in no_lrn seed 0"
        in notes(table)
    )


def test_runs_of_one_name_that_change_something_else_are_no_seeds_of_it(tmp_path: Path) -> None:
    """Of an ablation's file that was edited between its runs, or of `x/y` and `x_y`, which are one name."""
    other = {"lrn.k": (2.0, 1.0)}
    for seed in range(3):
        save(tmp_path, result(seed=seed), predictions(300, 100))
        ablated = result("no_lrn", seed)
        save(tmp_path, replace(ablated, changes=other) if seed == 2 else ablated, predictions(320, 100 + seed))
    (table,) = groups(tmp_path)
    assert table.rows[1].seeds == [0, 1]
    assert (
        "no_lrn seed 2 (shapes-no_lrn-seed2-1a2b): left out, it has lrn.layers=[1, 2], lrn.k=1.0, unlike most of no_lrn"
        in notes(table)
    )
    many = {f"key{number}": (0, 1) for number in range(20_000)}
    save(tmp_path, replace(result("no_lrn", 3), changes=many), predictions(320, 100))
    (table,) = groups(tmp_path)
    assert "key0=1, key1=1, " in notes(table) and len(notes(table)) < 2000


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("python train.py +ablation=no_lrn", "python train.py"),
        ("python train.py '+ablation=[no_lrn,no_dropout]' seed=1", "python train.py seed=1"),
        ("python train.py ++ablation=a ablation=b lrn=none 'x=a b'", "python train.py lrn=none 'x=a b'"),
        ("alexnet train experiment=ablations", "alexnet train experiment=ablations"),
    ],
)
def test_baseline_command(command: str, without: str) -> None:
    assert baseline_command(command) == without


def test_a_baseline_of_another_precision_is_a_flag(tmp_path: Path) -> None:
    for ablation, precision in (("baseline", "32-true"), ("no_lrn", "32-true"), ("no_color", "bf16-mixed")):
        save(tmp_path, replace(result(ablation), precision=precision), predictions(300, 100))
    save(tmp_path, result("no_dropout"), predictions(300, 100))  # from before the precision was noted
    (group,) = groups(tmp_path)
    flags = {row.ablation: [flag.text for flag in row.doubts] for row in group.rows}
    text = "the arm differs from the baseline in more than the ablation: precision bf16-mixed, not 32-true"
    assert flags == {"baseline": [], "no_lrn": [], "no_color": [text], "no_dropout": []}


@pytest.mark.parametrize(("limit", "steps", "flagged"), [("1:00", 4, True), ("1:00", 3, False), ("null", 4, False)])
def test_runs_that_ended_by_time_are_flagged(tmp_path: Path, limit: str, steps: int, flagged: bool) -> None:
    for ablation, count in (("baseline", 3), ("no_lrn", steps)):
        facts = TrainingFacts(epochs=1, steps=count, seconds=1.0, images_per_second=1.0, rate_drops=())
        directory = save(tmp_path, replace(result(ablation), training=facts), predictions(300, 100))
        (directory / "config.yaml").write_text(f"trainer: {{max_time: '{limit}'}}".replace("'null'", "null"))
    (group,) = groups(tmp_path)
    said = [flag.text for flag in group.rows[1].doubts if flag.name == "ended by time"]
    text = "trainer.max_time=1:00: the runs have 3 to 4 updates, and how far one gets depends on the speed of its"
    assert said == [f"{text} machine"] * flagged


def test_seeds_added_without_a_plan_are_flagged(tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path, result(seed=seed), predictions(300 + seed, 100))
        save(tmp_path, result("no_lrn", seed), predictions(330 + seed, 100))
        if seed < 3:
            save(tmp_path, result("no_color", seed), predictions(302 + seed, 100))
    (group,) = groups(tmp_path)
    assert [[flag.name for flag in row.doubts] for row in group.rows] == [[], ["unplanned"], ["unplanned"]]
    save(tmp_path, unfinished(result("no_color", 3), "failed", "training diverged in epoch 1"))
    (group,) = groups(tmp_path)
    flags = {row.ablation: [flag.text for flag in row.doubts] for row in group.rows}
    text = "1 of 4 runs diverged, 0 of 4 of the baseline (Fisher's exact p 1.000): all figures are of the others"
    assert flags == {"baseline": [], "no_lrn": [], "no_color": [text]}
    save(tmp_path, unfinished(result("no_dropout"), "failed", "training diverged in epoch 1"))
    (group,) = groups(tmp_path)
    assert headline(group).startswith("Of 3 ablations: ")
    assert headline(group).endswith("; 1 whose runs all diverged (no_dropout).")


def test_of_two_precisions_of_one_run_the_one_that_is_kept_is_named(tmp_path: Path) -> None:
    for name, precision in (("a", "32-true"), ("b", "bf16-mixed")):
        directory = save(tmp_path / name, replace(result(), precision=precision), predictions(300, 100))
        os.utime(directory / RESULT_FILE, (10, 10 + ord(name)))
    (group,) = groups(tmp_path)
    assert f"kept {directory} (precision bf16-mixed, not 32-true), left out" in notes(group)


def test_failed_baseline_is_the_reason(tmp_path: Path) -> None:
    save(tmp_path, unfinished(result(), "failed", "no memory"))
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    (group,) = groups(tmp_path)
    assert "for no_lrn (shapes-baseline-seed0-1a2b failed)" in notes(group)
    assert [run.result.ablation for run in group.unfinished] == ["baseline"]


def test_other_fingerprint_is_not_paired(tmp_path: Path) -> None:
    other = result("no_lrn")
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, replace(other, data=replace(other.data, fingerprint="d2")), predictions(310, 100))
    first, second = groups(tmp_path)
    assert [row.ablation for row in first.rows] == ["baseline"]
    assert second.rows[0].assessments == {}
    assert "used different images: its data fingerprint differs" in notes(second)


def test_other_test_images_are_not_paired(tmp_path: Path) -> None:
    seen = predictions(310, 100)
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), replace(seen, labels=np.flip(seen.labels).copy()))
    save(tmp_path, result("no_color"), predictions(300, 100, images=IMAGES - 1))
    (group,) = groups(tmp_path)
    assert [row.ablation for row in group.rows] == ["baseline"]
    assert notes(group).count("its labels differ from those of baseline seed 0") == 2


def test_a_baseline_with_damaged_predictions_pairs_with_nothing(tmp_path: Path) -> None:
    directory = save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    os.truncate(directory / PREDICTIONS_FILE, 2**40)
    (group,) = groups(tmp_path)
    assert "baseline seed 0 (shapes-baseline-seed0-1a2b): left out" in notes(group)
    assert "1,099,511,627,776 bytes, and such a file has at most" in notes(group)
    assert "(shapes-baseline-seed0-1a2b was left out)" in notes(group)


def test_errors_that_the_predictions_do_not_give_are_refused(tmp_path: Path) -> None:
    directory = save(tmp_path, result(), predictions(300, 100))
    write_predictions(directory, {"test": {"ten_crop": predictions(301, 100)}})
    read_result(directory).write(directory)
    few = result(seed=1)
    save(tmp_path, replace(few, data=replace(few.data, classes=19)), predictions(300, 100))
    (group,) = groups(tmp_path)
    assert notes(group).count("result.json and predictions.npz disagree on test/ten_crop") == 2
    assert (group.rows, group.images) == ((), 0)


def test_the_newest_finished_run_is_kept(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    for age, (name, wrong) in enumerate([("c", 310), ("a", 320), ("b", 330)]):
        directory = save(tmp_path, replace(result("no_lrn"), run=name), predictions(wrong, 100))
        os.utime(directory / RESULT_FILE, (1000 + age, 1000 + age))
    late = save(tmp_path, replace(unfinished(result("no_lrn"), "failed", "no memory"), run="d"))
    os.utime(late / RESULT_FILE, (2000, 2000))
    (group,) = groups(tmp_path)
    assert group.rows[1].assessments["top1"].delta == pytest.approx(3.0)
    assert group.unfinished == ()
    assert f"no_lrn seed 0 (b): run 4 times; kept {(tmp_path / 'b').resolve()}, left out" in notes(group)
    assert "d (failed)" in notes(group)


def test_split_defaults_to_test_then_val(tmp_path: Path) -> None:
    save(tmp_path / "a", result(), predictions(300, 100), split="val")
    assert groups(tmp_path / "a")[0].split == "val"
    save(tmp_path / "b", result(), predictions(300, 100))
    save(tmp_path / "b", result("no_lrn"), predictions(300, 100), split="val")
    (group,) = groups(tmp_path / "b")
    assert group.split == "test"
    assert "left out, it has no errors for test/ten_crop" in notes(group)


def test_unknown_view_or_split_is_refused_with_those_there_are(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    with pytest.raises(UserError, match="no run has errors for test/tencrop; there are: test/ten_crop"):
        groups(tmp_path, view="tencrop")
    with pytest.raises(UserError, match="no run has errors for train/ten_crop"):
        groups(tmp_path, split="train")


def test_only_failed_runs_make_an_empty_table(tmp_path: Path) -> None:
    save(tmp_path, unfinished(result(), "failed", "no memory"))
    (group,) = groups(tmp_path)
    assert (group.rows, len(group.unfinished), group.notes) == ((), 1, ())


def test_rates_from_32_bit_numbers_still_agree(tmp_path: Path) -> None:
    seen: ViewPredictions = predictions(333, 111)
    directory = save(tmp_path, result(), seen)
    rates = seen.error_rates()
    rounded = replace(rates, top1=float(np.float32(rates.top1)), top5=float(np.float32(rates.top5)))
    replace(result(), errors={"test": {"ten_crop": rounded}}).write(directory)
    assert notes(groups(tmp_path)[0]) == ""


def test_predictions_that_name_no_class_are_wrong_ones(tmp_path: Path) -> None:
    for ablation, number in (("baseline", 2**31 - 1), ("no_lrn", -7)):
        nothing = replace(predictions(300, 100), top5_classes=np.full((IMAGES, 5), number, np.int32))
        save(tmp_path, result(ablation), nothing)
    (group,) = groups(tmp_path)
    assert [row.errors for row in group.rows] == [{"top1": 100.0, "top5": 100.0}]
    assert "no_lrn seed 0 (shapes-no_lrn-seed0-1a2b): left out, only one of it and baseline" in notes(group)
