"""The words of a verdict: the regions of claims, and the rules of `docs/statistics.md` case by case."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from alexnet.config.schema import Claim, Effect, Errors
from alexnet.study.statistics import Interval
from alexnet.study.verdict import Direction, Region, claimed_sign, direction, region, size
from tests.study.test_family import BASELINE, ERRORS, NO_OVERLAP


def claim(value: float | None = None, margin: float | None = None, **effect: object) -> Claim:
    paper = Effect(top1=value, **effect)  # type: ignore[arg-type]
    return Claim(title="", section="3", statement="", paper=paper, margin=Errors(top1=margin))


def equals(value: float) -> Claim:
    return claim(value)


ABOUT_2, OVER_1 = claim(2.0, relation="about", unit=1.0), claim(1.0, relation="at_least")
NO_EFFECT = claim(margin=0.5, relation="no_effect")


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (equals(1.4), (1.35, 1.45)),
        (claim(1.37, unit=0.01), (1.365, 1.375)),
        (ABOUT_2, (1.5, 2.5)),
        (OVER_1, (1.0, math.inf)),
        (claim(1.0, relation="range", up_to=Errors(top1=2.0)), (1.0, 2.0)),
        (NO_EFFECT, (-0.5, 0.5)),
        (claim(margin=0.5, relation="not_worse"), (-math.inf, 0.5)),
    ],
)
def test_region_of_each_relation(claimed: Claim, expected: tuple[float, float]) -> None:
    found = region(claimed, "paper", "top1")
    assert found is not None and (found.low, found.high) == pytest.approx(expected)
    assert found.one_run == (claimed.paper.relation not in ("no_effect", "not_worse"))


def test_region_of_a_claim_without_a_number_is_none() -> None:
    for words in (claim(), claim(relation="worse"), equals(1.4)):
        assert region(words, "paper", "top5") is None and region(words, "log", "top1") is None


def test_range_without_an_upper_end_for_a_measure_is_no_region_of_it() -> None:
    both = Effect(top1=1.0, top5=1.0, relation="range", up_to=Errors(top1=2.0))
    claimed = Claim(title="", section="3", statement="", paper=both)
    assert region(claimed, "paper", "top1") is not None and region(claimed, "paper", "top5") is None


def test_sign_of_a_claim_in_words() -> None:
    signs = [claimed_sign(claim(relation=word), "top1") for word in ("worse", "better", "equals")]
    assert signs == [1, -1, 0]
    assert claimed_sign(equals(-2.0), "top1") == -1
    by_log = Claim(title="", section="log", statement="", log=Effect(top1=1.164))
    assert claimed_sign(by_log, "top1") == 1


@pytest.mark.parametrize(
    ("claimed", "delta", "half", "narrow", "prediction", "least", "word"),
    [
        (equals(1.4), 1.25, 0.37, 0.30, 0.73, 0.54, "agrees"),
        (equals(2.1), 1.25, 0.37, 0.30, 0.73, 0.54, "smaller"),
        (equals(0.4), 0.39, 0.37, 0.30, 0.73, 0.54, "not testable"),
        (equals(0.4), 0.39, 0.25, 0.20, 0.40, 0.30, "not resolved"),
        (equals(1.4), 0.30, 0.37, 0.30, 1.20, 0.54, "not resolved"),
        (ABOUT_2, 2.05, 0.30, 0.25, 0.70, 0.54, "confirmed"),
        (ABOUT_2, 1.10, 0.37, 0.30, 0.73, 0.54, "agrees"),
        (OVER_1, 1.90, 0.37, 0.30, 0.73, 0.54, "confirmed"),
        (OVER_1, 1.10, 0.37, 0.30, 0.73, 0.54, "agrees"),
        (OVER_1, 0.10, 0.37, 0.30, 0.73, 0.54, "smaller"),
        (NO_EFFECT, 0.10, 0.37, 0.30, 0.73, 0.54, "confirmed"),
        (NO_EFFECT, 0.30, 0.37, 0.30, 0.73, 0.54, "not resolved"),
        (NO_EFFECT, 1.10, 0.37, 0.30, 0.73, 0.54, "larger"),
        (equals(1.4), 3.00, 0.37, 0.30, 0.73, 0.54, "larger"),
    ],
)
def test_size_by_the_rules(
    claimed: Claim, delta: float, half: float, narrow: float, prediction: float, least: float, word: str
) -> None:
    allowed = region(claimed, "paper", "top1")
    assert allowed is not None
    assert word == size(
        allowed,
        delta,
        interval=Interval(delta - half, delta + half),
        narrow=Interval(delta - narrow, delta + narrow),
        half=prediction,
        least=least,
    )
    if allowed.sign:  # the same of a claim that the error falls
        mirrored = Region(low=-allowed.high, high=-allowed.low, one_run=allowed.one_run)
        assert word == size(
            mirrored,
            -delta,
            interval=Interval(-delta - half, -delta + half),
            narrow=Interval(-delta - narrow, -delta + narrow),
            half=prediction,
            least=least,
        )


@pytest.mark.parametrize(
    ("delta", "significant", "sign", "margin", "word"),
    [
        (1.2, True, 1, 0.3, "as claimed"),
        (-1.2, True, -1, 0.3, "as claimed"),
        (-1.2, True, 1, 0.3, "opposite"),
        (1.2, True, 0, 0.3, "worse"),
        (-1.2, True, 0, 0.3, "better"),
        (0.1, True, 1, 0.3, "as claimed"),  # rule 1 comes first
        (0.05, False, 1, 0.3, "no effect"),
        (0.15, False, 1, 0.3, "not resolved"),
        (0.05, False, 1, None, "not resolved"),
    ],
)
def test_direction_by_the_rules(delta: float, significant: bool, sign: int, margin: float | None, word: str) -> None:
    narrow = Interval(delta - 0.2, delta + 0.2)
    found = direction(delta, significant=significant, sign=sign, narrow=narrow, margin=margin)
    assert found == word


def test_no_effect_is_two_one_sided_tests() -> None:
    ablated, baseline = np.array(ERRORS[NO_OVERLAP]), np.array(ERRORS[BASELINE])
    p, *_ = ttost_ind(ablated, baseline, -0.5, 0.5)
    found = stats.ttest_ind(ablated, baseline).confidence_interval(0.9)
    assert (p, found.low, found.high) == pytest.approx((0.2381, 0.0790, 0.6943), abs=5e-5)
    delta = float(ablated.mean() - baseline.mean())
    for margin in (0.5, 0.69, 0.70):
        word = direction(delta, significant=False, sign=1, narrow=Interval(found.low, found.high), margin=margin)
        shown = ttost_ind(ablated, baseline, -margin, margin)[0] < 0.05
        assert (word is Direction.NO_EFFECT) == shown
