"""Claims in words, measured on made-up curves."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from alexnet.config.schema import Claim
from alexnet.runs.collect import collect
from alexnet.runs.metrics import EpochRecord, write_metrics
from alexnet.study.comparison import AblationRow, compare
from alexnet.study.flags import Flag
from alexnet.study.statistics import Interval
from alexnet.study.verdict import Direction
from alexnet.study.wording import finding, remarks, worded_lines
from tests.study.made_up import epoch_record, predictions, result, save

EPOCHS = 6
MEASURES = {"gap": "rises", "training_error": "rises", "epochs_to_error": "falls", "epochs_to_loss": "rises"}


def curve(train: float, val: Callable[[int], float], loss: float) -> list[EpochRecord]:
    return [
        replace(
            epoch_record(epoch, train_set=None),
            train_top1_error=train,
            val_top1_error=val(epoch),
            train_loss=math.log(20) - loss * (epoch + 1),
        )
        for epoch in range(EPOCHS)
    ]


def row(folder: Path, seeds: int = 3) -> AblationRow:
    """Baselines at 30 % and a training error of 25; without dropout 40 % and 5, in half the epochs to 60 %."""
    claim = Claim(title="t", section="4.2", statement="s", measures=MEASURES)
    for seed in range(seeds):
        for ablation, wrong, records in (
            ("baseline", 300, curve(25.0 + seed, lambda epoch: 95 - 10.0 * (epoch + 1), 0.2)),
            ("no_dropout", 400, curve(5.0 - seed, lambda epoch: max(35.0, 95 - 20.0 * (epoch + 1)), 0.1)),
        ):
            one = result(ablation, seed)
            if ablation != "baseline":
                one = replace(one, claims={ablation: claim})
            write_metrics(save(folder, one, predictions(wrong + seed, 30, first=seed)), records)
    (table,) = compare(collect([folder]).runs, split=None, view="ten_crop")
    assert all(f"no_dropout, {line}" in remarks(table) for line in worded_lines(table.rows[1]))
    return table.rows[1]


def test_every_measure_of_a_claim_in_words_is_judged(tmp_path: Path) -> None:
    found = row(tmp_path).worded
    assert list(found) == list(MEASURES)
    gap = found["gap"]
    assert (gap.ablated, gap.baseline) == (pytest.approx(40.1 - 4.0), pytest.approx(30.1 - 26.0))
    ablated, baseline = [35.0, 36.1, 37.2], [5.0, 4.1, 3.2]
    expected = stats.ttest_ind(ablated, baseline, equal_var=False).confidence_interval()
    assert gap.interval == pytest.approx((expected.low, expected.high))
    assert found["training_error"].value == pytest.approx(-22.0)
    # All reach 35 %: after six epochs the baselines, after three the others.
    assert (found["epochs_to_error"].level, found["epochs_to_error"].value) == (35.0, pytest.approx(0.5))
    # A tenth of log 20 is 0.2996: one epoch and a half at 0.2, and twice as many at 0.1.
    assert found["epochs_to_loss"].baseline == pytest.approx(0.1 * math.log(20) / 0.2)
    words = [found[measure].direction(claimed).value for measure, claimed in MEASURES.items()]
    assert words == ["as claimed", "opposite", "as claimed", "as claimed"]


def test_lines_name_numbers_intervals_and_verdicts(tmp_path: Path) -> None:
    found = row(tmp_path)
    lines = worded_lines(found)
    assert lines[0].startswith("reported error minus training error, in points: 36.1, the baseline 4.1: +32.00 [")
    assert "; training errors are of the last epoch's crops, with dropout" in lines[0]
    whole = replace(found.worded["gap"], of_crops=False)
    (line,) = worded_lines(replace(found, worded={"gap": whole}))
    assert line.endswith("; training errors are of the whole training set, in evaluation mode.")
    said = "3.0, the baseline 6.0: 0.50 times [0.50, 0.50] (95 %), as claimed."
    assert lines[2] == f"epochs to a validation error of 35.0 % (the lowest that every run reaches): {said}"


def test_finding_says_change_certainty_and_doubt(tmp_path: Path) -> None:
    found = row(tmp_path)
    judged = {"confidence": 0.95, "holm_p": 0.01, "flags": (), "direction": Direction.AS_CLAIMED}

    def said(delta: float, low: float, high: float, **changed: object) -> str:
        one = replace(found.assessments["top1"], delta=delta, interval=Interval(low, high), **judged | changed)
        return finding(replace(found, assessments={"top1": one}))

    certain = "(95 % interval 0.50 to 2.50; Holm p 0.010)"
    assert said(1.5, 0.5, 2.5) == f"The top-1 error rises by 1.50 points {certain}, in the claimed direction."
    falls = said(-1.5, -2.5, -0.5, direction=Direction.OPPOSITE)
    assert falls == f"The top-1 error falls by 1.50 points {certain}, against the claimed direction."
    unsure = said(0.5, -1.5, 2.5, direction=Direction.NOT_RESOLVED, holm_p=0.6, flags=(Flag(name="n", text="t"),))
    change = "changes by +0.50 points (95 % interval \N{MINUS SIGN}1.50 to +2.50; Holm p 0.600)"
    assert unsure == f"The top-1 error {change}: not resolved, it may be chance. Flagged: the verdict is in doubt."
    assert all(said(1.5, 0.5, 2.5, direction=one) for one in Direction)


def test_two_seeds_and_runs_without_curves_give_no_verdict(tmp_path: Path) -> None:
    assert row(tmp_path, seeds=2).worded["gap"].direction("rises").value == "too few seeds"
    file = tmp_path / "shapes-baseline-seed0-1a2b" / "metrics.csv"
    whole = file.read_text()
    for change in (lambda: file.write_text(whole[: len(whole) // 2]), file.unlink):
        change()
        (table,) = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
        assert table.rows[1].worded == {}
