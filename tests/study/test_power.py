"""Power and seeds needed against the table of `docs/statistics.md`, exact distributions and simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from alexnet.study.power import Design, min_detectable_effect, power, seeds_needed, seeds_needed_range
from alexnet.study.statistics import contrast, moderate


def design(run_sd: float, seeds: int = 3, *, ablations: int = 8, of_images: float = 0.002) -> Design:
    arms = ablations + 1
    return Design(
        variances=(run_sd**2, run_sd**2),
        of_images=of_images,
        seeds=(seeds, seeds),
        arms=arms,
        pooled_dof=float(arms * (seeds - 1)),
        tests=ablations,
    )


@pytest.mark.parametrize(
    ("run_sd", "needed"),
    [(0.1, (3, 3, 3)), (0.15, (6, 3, 3)), (0.25, (14, 3, 3)), (0.5, (50, 8, 5)), (1.0, (192, 28, 15))],
)
def test_seeds_needed_for_the_paper_s_deltas(run_sd: float, needed: tuple[int, int, int]) -> None:
    assert tuple(seeds_needed(design(run_sd), delta) for delta in (0.4, 1.0, -1.4)) == needed


def test_power_of_one_ablation_without_an_image_part_is_the_noncentral_t() -> None:
    # two arms of 5: 8 degrees of freedom; no Holm with one ablation
    one = design(0.5, 5, ablations=1, of_images=0.0)
    exact = stats.nct.sf(stats.t.isf(0.025, 8), 8, 0.8 / np.sqrt(2 * 0.25 / 5))
    assert power(one, 0.8) == pytest.approx(exact)
    # at the first look of a plan, with an interaction among the tests
    exact = stats.nct.sf(stats.t.isf(0.005 / 2, 8), 8, 0.8 / np.sqrt(2 * 0.25 / 5))
    assert power(replace(one, level=0.01, tests=2), 0.8) == pytest.approx(exact)


def test_more_seeds_than_the_test_set_can_use_are_not_asked_for() -> None:
    # the images alone have a standard error of 0.5: found with 80 % from (2.734 + 0.842) x 0.5 on, after Holm over 8
    assert seeds_needed(design(0.1, of_images=0.25), 1.7) is None
    assert seeds_needed(design(0.1, of_images=0.25), 1.9) is not None


def test_minimum_detectable_effect_has_its_power() -> None:
    for seeds in (2, 3, 10):
        found = min_detectable_effect(design(0.25, seeds))
        assert power(design(0.25, seeds), found) == pytest.approx(0.8, abs=1e-4)
    assert min_detectable_effect(design(200.0)) == np.inf


def test_range_of_seeds_follows_the_limits_of_the_variance() -> None:
    # chi-squared on 18 degrees of freedom, 5 and 95 %: 9.390 and 28.869
    few, many = seeds_needed_range(design(0.25), 0.4)
    assert few == seeds_needed(design(0.25 * np.sqrt(18 / 28.869)), 0.4)
    assert many == seeds_needed(design(0.25 * np.sqrt(18 / 9.390)), 0.4)
    assert few is not None and many is not None and few < 14 < many


@pytest.mark.parametrize(
    ("ablations", "seeds", "of_images", "delta"), [(8, 3, 0.002, 0.5), (8, 5, 0.02, 0.6), (1, 5, 0.002, 0.5)]
)
def test_power_is_what_simulated_studies_find(ablations: int, seeds: int, of_images: float, delta: float) -> None:
    rng, arms = np.random.default_rng(2), ablations + 1
    errors = 0.25 * rng.standard_normal((4000, arms, seeds))
    means = errors.mean(-1) + np.sqrt(of_images / 2) * rng.standard_normal((4000, arms))
    means[:, -1] += delta
    spread = moderate(errors.var(-1, ddof=1), [seeds] * arms)
    last = contrast([-1, *[0] * (ablations - 1), 1], means, [seeds] * arms, spread, of_images)
    found = np.mean((last.p < 0.05) & (last.value > 0))
    assert power(design(0.25, seeds, ablations=ablations, of_images=of_images), delta, 0.05) == pytest.approx(
        found, abs=0.03
    )
