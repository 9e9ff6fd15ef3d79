"""The rule of the verdict, case by case, and what is said of one ablation given the others."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.runs.collect import collect
from alexnet.study.comparison import compare
from alexnet.study.pairing import MEASURES
from alexnet.study.power import power
from alexnet.study.statistics import Interval, MeanDelta, holm, mean_delta
from alexnet.study.verdict import Verdict, assess, verdict
from tests.study.made_up import predictions, result, save
from tests.study.made_up import study as made_up_study


@pytest.mark.parametrize(
    ("low", "high", "claim", "expected"),
    [
        (0.5, 2.0, 1.4, "agrees"),
        (0.5, 1.4, 1.4, "agrees"),
        (0.2, 0.9, 1.4, "same sign"),
        (2.0, 3.0, 1.4, "same sign"),
        (-0.5, 2.0, 1.4, "not resolved"),
        (0.0, 2.0, 1.4, "not resolved"),
        (-0.5, 0.6, 1.4, "disagrees"),
        (0.0, 0.6, 1.4, "disagrees"),
        (-2.0, -0.5, 1.4, "disagrees"),
        (-2.0, -0.5, -1.4, "agrees"),
        (-0.9, -0.2, -1.4, "same sign"),
        (-2.0, 0.0, -1.4, "not resolved"),
        (0.5, 2.0, -1.4, "disagrees"),
        (-1.0, 1.0, 0.0, "not resolved"),
        (0.5, 1.0, 0.0, "disagrees"),
        (-1.0, -0.5, 0.0, "disagrees"),
    ],
)
def test_verdict_of_an_interval_follows_the_rule(low: float, high: float, claim: float, expected: str) -> None:
    assert verdict(Interval(low, high), claim) == expected


def test_verdict_without_a_number_is_none() -> None:
    assert verdict(Interval(1, 2), None) is None


@given(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), st.floats(-9, 9))
def test_verdict_of_mirrored_figures_is_the_same(ends: tuple[float, float], claim: float) -> None:
    low, high = sorted(ends)
    found = verdict(Interval(low, high), claim)
    assert found is verdict(Interval(-high, -low), -claim)
    if found in (Verdict.AGREES, Verdict.NOT_RESOLVED):
        assert low <= claim <= high


def mean(seeds: int, images: int = 1000) -> MeanDelta:
    """About three points, one image in five discordant."""
    draws = np.random.default_rng(3).random((seeds, images))
    return mean_delta(draws > 0.115, (draws < 0.785) | (draws > 0.93))


def test_assess_several_seeds_gives_verdicts_and_power() -> None:
    seen = mean(5)
    assessed = assess(seen, holm_p=0.25, paper=3.0, log=-3.0)
    assert (assessed.holm_p, assessed.paper, assessed.log) == (0.25, Verdict.AGREES, Verdict.DISAGREES)
    assert assessed.no_power_reason is None
    assert assessed.min_detectable_effect is not None
    assert seen.components is not None
    assert power(seen.components, 5, assessed.min_detectable_effect) == pytest.approx(0.8, abs=1e-6)
    # The number of seeds and the smallest delta are two sides of one thing.
    assert assess(seen, holm_p=1, paper=assessed.min_detectable_effect * 1.001, log=None).seeds_needed == 5
    assert assess(seen, holm_p=1, paper=assessed.min_detectable_effect * 0.999, log=None).seeds_needed == 6


def test_assess_one_seed_knows_no_spread() -> None:
    assessed = assess(mean(1, images=5000), holm_p=1, paper=3.0, log=None)
    assert (assessed.paper, assessed.log) == (Verdict.AGREES, None)
    assert (assessed.seeds_needed, assessed.min_detectable_effect) == (None, None)
    assert assessed.no_power_reason == "the spread between seeds is unknown"


def test_assess_without_a_number_says_so() -> None:
    assessed = assess(mean(3), holm_p=1, paper=None, log=3.0)
    assert (assessed.paper, assessed.seeds_needed, assessed.no_power_reason) == (
        None,
        None,
        "the paper gives no number",
    )
    assert assessed.min_detectable_effect is not None
    assert assess(mean(3), holm_p=1, paper=0.0, log=None).no_power_reason == "the paper's number is 0"


def test_assess_a_test_set_too_small_says_so() -> None:
    rng = np.random.default_rng(0)
    baseline, run = rng.random((2, 1, 200)) < 0.7
    same = mean_delta(np.repeat(baseline, 4, axis=0), np.repeat(run, 4, axis=0))
    assessed = assess(same, holm_p=1, paper=0.4, log=None)
    assert assessed.seeds_needed is None
    assert assessed.no_power_reason == "the test set is too small for it, whatever the number of seeds"


def test_assess_every_ablation_of_a_table(tmp_path: Path) -> None:
    (table,) = compare(collect([made_up_study(tmp_path)]).runs, split=None, view="ten_crop")
    baseline, *ablations = table.rows
    assert baseline.assessments == {}
    for name in MEASURES:
        adjusted = holm([row.deltas[name].p for row in ablations])
        assert [row.assessments[name].holm_p for row in ablations] == adjusted
    verdicts = {row.ablation: row.assessments["top1"].paper for row in ablations}
    assert verdicts["no_dropout"] is verdicts["isolated_columns"] is verdicts["no_dropout+no_lrn"] is None
    assert verdicts["one_column"] in list(Verdict)


def test_assess_leaves_an_ablation_without_baseline_out_of_holm(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    save(tmp_path, result("no_color", 1), predictions(310, 100))
    (table,) = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    by_name = {row.ablation: row for row in table.rows}
    assert by_name["no_color"].assessments == {}
    assert by_name["no_lrn"].assessments["top1"].holm_p == by_name["no_lrn"].deltas["top1"].p
