"""What is said of one ablation beside the others and beside what is claimed."""

from pathlib import Path

import numpy as np
import pytest

from alexnet.runs.collect import collect
from alexnet.study.comparison import MEASURES, compare
from alexnet.study.judgement import judgement
from alexnet.study.multiplicity import holm
from alexnet.study.power import power
from alexnet.study.statistics import MeanDelta, mean_delta
from alexnet.study.verdict import Verdict
from tests.study.made_up import predictions, result, save
from tests.study.made_up import study as made_up_study


def mean(seeds: int, images: int = 1000) -> MeanDelta:
    """About three points, one image in five discordant."""
    draws = np.random.default_rng(3).random((seeds, images))
    return mean_delta(draws > 0.115, (draws < 0.785) | (draws > 0.93))


def test_several_seeds() -> None:
    seen = mean(5)
    judged = judgement(seen, holm_p=0.25, paper=3.0, log=-3.0)
    assert (judged.holm_p, judged.paper, judged.log) == (0.25, Verdict.AGREES, Verdict.DISAGREES)
    assert judged.no_seeds is None
    assert judged.resolvable is not None
    assert seen.components is not None
    assert power(seen.components, 5, judged.resolvable) == pytest.approx(0.8, abs=1e-6)
    # The number of seeds and the smallest delta are two sides of one thing.
    assert judgement(seen, holm_p=1, paper=judged.resolvable * 1.001, log=None).seeds_needed == 5
    assert judgement(seen, holm_p=1, paper=judged.resolvable * 0.999, log=None).seeds_needed == 6


def test_one_seed_knows_no_spread() -> None:
    judged = judgement(mean(1, images=5000), holm_p=1, paper=3.0, log=None)
    assert (judged.paper, judged.log) == (Verdict.AGREES, None)
    assert (judged.seeds_needed, judged.resolvable) == (None, None)
    assert judged.no_seeds == "the spread between seeds is unknown"


def test_no_number_in_the_paper() -> None:
    judged = judgement(mean(3), holm_p=1, paper=None, log=3.0)
    assert (judged.paper, judged.seeds_needed, judged.no_seeds) == (None, None, "the paper gives no number")
    assert judged.resolvable is not None
    assert judgement(mean(3), holm_p=1, paper=0.0, log=None).no_seeds == "the paper's number is 0"


def test_a_test_set_too_small_for_the_claim() -> None:
    rng = np.random.default_rng(0)
    baseline, run = rng.random((2, 1, 200)) < 0.7
    same = mean_delta(np.repeat(baseline, 4, axis=0), np.repeat(run, 4, axis=0))
    judged = judgement(same, holm_p=1, paper=0.4, log=None)
    assert judged.seeds_needed is None
    assert judged.no_seeds == "the test set is too small for it, whatever the number of seeds"


def test_every_row_of_a_table(tmp_path: Path) -> None:
    (group,) = compare(collect([made_up_study(tmp_path)]).runs, split=None, view="ten_crop")
    baseline, *ablations = group.rows
    assert baseline.judgements == {}
    for name in MEASURES:
        adjusted = holm([row.deltas[name].p for row in ablations])
        assert [row.judgements[name].holm_p for row in ablations] == adjusted
    verdicts = {row.ablation: row.judgements["top1"].paper for row in ablations}
    assert verdicts["no_dropout"] is verdicts["isolated_columns"] is verdicts["no_dropout+no_lrn"] is None
    assert verdicts["one_column"] in list(Verdict)


def test_an_ablation_without_baseline_is_not_counted_among_the_tests(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    save(tmp_path, result("no_color", 1), predictions(310, 100))
    (group,) = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    by_name = {row.ablation: row for row in group.rows}
    assert by_name["no_color"].judgements == {}
    assert by_name["no_lrn"].judgements["top1"].holm_p == by_name["no_lrn"].deltas["top1"].p
