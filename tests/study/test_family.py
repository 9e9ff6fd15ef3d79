"""Deltas of a family by the worked examples of `docs/statistics.md`, and against scipy and statsmodels."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

from alexnet.study.statistics import Arm, Estimate, Family, Spread, contrast, holm, moderate

BASELINE, NO_LRN, NO_OVERLAP, ONE_COLUMN = range(4)
ERRORS = [[40.50, 40.81, 40.66], [42.10, 41.69, 41.93], [41.02, 41.25, 40.86], [42.31, 42.70, 42.28]]
WIDE = [*ERRORS[:3], [42.31, 44.90, 42.28]]
OF_IMAGES = 0.0010
BASELINE_WRONG = [[0, 0, 1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 1]]
ABLATED_WRONG = [[1, 1, 1, 1, 0, 1, 0, 0], [1, 0, 1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 0, 1, 0, 0]]


def spread(errors: list[list[float]], **settings: float) -> Spread:
    variances = [np.var(arm, ddof=1) if len(arm) > 1 else np.nan for arm in errors]
    return moderate(variances, [len(arm) for arm in errors], **settings)


def delta(errors: list[list[float]], place: int, of_images: float = OF_IMAGES, **settings: float) -> Estimate:
    weights = [{0: -1, place: 1}.get(arm, 0) for arm in range(len(errors))]
    means, runs = [np.mean(arm) for arm in errors], [len(arm) for arm in errors]
    return contrast(weights, means, runs, spread(errors, **settings), of_images)


def test_variances_of_a_family_are_moderated_by_the_pooled_one() -> None:
    found = spread(ERRORS)
    frame = pd.DataFrame([(arm, error) for arm, runs in enumerate(ERRORS) for error in runs], columns=["arm", "error"])
    fit = ols("error ~ C(arm)", frame).fit()
    assert (found.pooled, found.pooled_dof) == (pytest.approx(fit.scale), fit.df_resid)
    assert found.pooled == pytest.approx(0.0400, abs=5e-5)
    assert found.variance == pytest.approx([0.0346, 0.0408, 0.0394, 0.0449], abs=5e-5)
    assert found.dof.tolist() == [6, 6, 6, 6]
    assert not found.stands_out.any()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (NO_LRN, (1.2500, 0.1617, 8.6491, 0.8820, 1.6180)),
        (NO_OVERLAP, (0.3867, 0.1603, 8.6610, 0.0219, 0.7515)),
        (ONE_COLUMN, (1.7733, 0.1659, 8.6146, 1.3954, 2.1512)),
    ],
)
def test_deltas_of_a_family_by_hand(place: int, expected: tuple[float, ...]) -> None:
    found = delta(ERRORS, place)
    figures = (found.value, found.standard_error, found.dof, *found.interval())
    assert [float(figure) for figure in figures] == pytest.approx(expected, abs=5e-5)


def test_p_of_a_family_by_hand() -> None:
    p = holm([float(delta(ERRORS, place).p) for place in (NO_LRN, NO_OVERLAP, ONE_COLUMN)])
    assert p == pytest.approx([7.264e-05, 0.04013, 8.715e-06], rel=2e-4)


def test_without_moderation_it_is_welch_s_t() -> None:
    found = delta(ERRORS, NO_LRN, 0.0, prior_dof=0.0, level=0.0)
    theirs = stats.ttest_ind(ERRORS[NO_LRN], ERRORS[BASELINE], equal_var=False)
    assert found.value / found.standard_error == pytest.approx(theirs.statistic)
    assert (found.dof, found.p) == (pytest.approx(theirs.df), pytest.approx(theirs.pvalue))
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval()))


def test_with_nothing_but_moderation_it_is_the_analysis_of_variance() -> None:
    found = delta(ERRORS, NO_LRN, 0.0, prior_dof=1e12)
    frame = pd.DataFrame([(arm, error) for arm, runs in enumerate(ERRORS) for error in runs], columns=["arm", "error"])
    theirs = ols("error ~ C(arm)", frame).fit().conf_int().loc["C(arm)[T.1]"]
    # the prior's own degrees of freedom are those of the pool: `prior_dof` counts at most as much as all arms
    assert found.dof == pytest.approx(8)
    assert spread(ERRORS, prior_dof=1e12).dof.tolist() == [10, 10, 10, 10]
    assert found.interval() == pytest.approx(tuple(theirs), abs=0.02)


def test_an_arm_that_stands_out_keeps_its_own_variance() -> None:
    found = spread(WIDE)
    variances = [np.var(arm, ddof=1) for arm in WIDE]
    ratio = variances[ONE_COLUMN] / np.mean(variances[:3])
    assert (ratio, stats.f.sf(ratio, 2, 6)) == (pytest.approx(64.6969, abs=5e-5), pytest.approx(0.000087, abs=5e-7))
    assert found.stands_out.tolist() == [False, False, False, True]
    assert (found.pooled, found.pooled_dof) == (pytest.approx(0.0350, abs=5e-5), 6)
    others, own = delta(WIDE, NO_LRN), delta(WIDE, ONE_COLUMN)
    assert (*others.interval(), others.dof) == pytest.approx((0.8789, 1.6211, 6.5348), abs=5e-5)
    assert (*own.interval(), own.dof, own.value) == pytest.approx((-1.1531, 6.1664, 2.0610, 2.5067), abs=5e-5)
    assert own.standard_error == pytest.approx(0.8749, abs=5e-5)


def test_one_ablated_run_is_held_against_the_baselines() -> None:
    baselines, ablated = [40.50, 40.81, 40.66, 40.44, 40.74], [41.30]
    found = delta([baselines, ablated], 1, 0.0)
    low, high = sm.OLS(baselines, np.ones(5)).fit().get_prediction([[1.0]]).conf_int(obs=True)[0]
    figures = (found.value, found.standard_error, found.dof, found.p, *found.interval())
    assert [float(one) for one in figures] == pytest.approx((0.67, 0.1718, 4, 0.0175, 0.1930, 1.1470), abs=5e-5)
    assert found.half_width() == pytest.approx((high - low) / 2)


def test_tables_of_images_give_the_part_of_the_images() -> None:
    family = Family.of_correct([~np.array(wrong, dtype=bool) for wrong in (BASELINE_WRONG, ABLATED_WRONG)])
    for wrong, residual in zip((BASELINE_WRONG, ABLATED_WRONG), family.residuals, strict=True):
        rows = [(s, i, 100.0 * one) for s, run in enumerate(wrong) for i, one in enumerate(run)]
        frame = pd.DataFrame(rows, columns=["seed", "image", "wrong"])
        anova = sm.stats.anova_lm(ols("wrong ~ C(seed) + C(image)", frame).fit())
        assert residual == pytest.approx(anova.loc["Residual", "mean_sq"])
    found = family.delta(1)
    assert found is not None
    assert family.residuals == pytest.approx([1428.5714, 1369.0476], abs=5e-5)
    assert found.of_images * 8 == pytest.approx(1269.8413, abs=5e-5)
    figures = (found.value, found.standard_error, found.dof, found.p)
    assert [float(one) for one in figures] == pytest.approx((20.8333, 16.5921, 22.3105, 0.2222), abs=5e-5)


def test_gain_of_ten_crops_is_paired_within_the_run() -> None:
    center, ten = np.array([63.44, 63.68, 61.57]), np.array([61.68, 61.68, 59.57])
    gains = Family((Arm(values=np.repeat((center - ten)[:, None], 10, axis=1)),))
    found = gains.contrast([1.0])
    assert found is not None
    theirs = stats.ttest_rel(center, ten).confidence_interval()
    assert (found.value, np.std(center - ten, ddof=1)) == (pytest.approx(1.92), pytest.approx(0.1386, abs=5e-5))
    assert found.interval() == pytest.approx((1.5758, 2.2642), abs=5e-5)
    assert found.interval() == pytest.approx(tuple(theirs))


def test_interaction_is_the_difference_of_two_deltas() -> None:
    rng = np.random.default_rng(4)
    family = Family.of_correct([rng.random((5, 400)) < share for share in (0.6, 0.5, 0.4, 0.4)])
    found, alone = family.interaction(1, 2, 3), family.delta(1)
    assert found is not None and alone is not None
    deltas = [family.delta(place) for place in (1, 2, 3)]
    assert found.value == pytest.approx(sum(s * d.value for s, d in zip((-1, -1, 1), deltas, strict=True) if d))
    assert found.standard_error / alone.standard_error == pytest.approx(2**0.5, rel=0.15)


def test_interval_of_an_interaction_reaches_as_far_as_one_can() -> None:
    rng = np.random.default_rng(5)
    family = Family.of_correct([rng.random((2, 50)) < share for share in (0.02, 0.98, 0.98, 0.02)])
    found, alone = family.interaction(1, 2, 3), family.delta(1)
    assert found is not None and alone is not None
    assert found.value > 150 and found.interval().low > 100 and found.interval(0.9999).high == 200
    assert alone.interval(0.9999).low == -100


def test_runs_that_are_all_alike_have_no_spread() -> None:
    right = np.tile(np.random.default_rng(0).random(500) < 0.7, (3, 1))
    assert Family.of_correct([right, right]).delta(1) is None
    third = np.tile([True, False, False], (3, 1))  # whose mean is not that of its mean and itself, to the last bit
    assert Family.of_correct([third, ~third]).delta(1) is None
    assert Family.of_correct([right[:1], right[:1]]).spread is None


def test_seeds_that_agree_by_chance_vary_as_the_test_set_makes_them() -> None:
    # every run has as many errors, on other images: its own variance is 0, that of the finite test set is not
    right = np.stack([np.roll(np.arange(200) < 100, shift) for shift in (0, 50, 100, 7)])
    family = Family.of_correct([right[:2], right[2:]])
    found = family.delta(1)
    assert found is not None and family.spread is not None
    assert family.spread.variance == pytest.approx(family.floor)
    assert found.standard_error > 0


def test_holm_is_statsmodels() -> None:
    rng = np.random.default_rng(1)
    for tests in (1, 3, 8):  # its function collects garbage each time
        p = rng.random(tests).round(1) * rng.choice([0.01, 1], tests)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_of_many_studies_is_that_of_each() -> None:
    p = np.random.default_rng(3).random((20, 5))
    assert holm(p) == pytest.approx(np.stack([holm(one) for one in p]))
