"""What one published run may show, by the worked example and against its own promise."""

from dataclasses import replace

import numpy as np
import pytest

from alexnet.study.power import predict, seeds_to_test
from alexnet.study.statistics import contrast, moderate
from tests.study.test_family import ERRORS, NO_LRN, spread


def test_prediction_of_a_published_run_by_hand() -> None:
    found = predict(spread(ERRORS), NO_LRN, [3, 3, 3, 3])
    delta = np.mean(ERRORS[NO_LRN]) - np.mean(ERRORS[0])
    assert (delta - found.half, delta + found.half) == pytest.approx((0.5187, 1.9813), abs=5e-5)
    assert found.least == pytest.approx(1.959964 * np.sqrt(0.0346444 + 0.0407778), abs=1e-4)


def test_prediction_with_endless_seeds_is_what_is_left() -> None:
    many = predict(spread(ERRORS), NO_LRN, [10**9] * 4)
    few = predict(spread(ERRORS), NO_LRN, [3] * 4)
    assert many.half < few.half and many.least == few.least


def test_prediction_for_other_images_is_wider_and_a_larger_test_set_helps() -> None:
    def half(**settings: float | bool) -> float:
        settings = {"floor": 0.014, "of_images": 0.01} | settings
        return float(predict(spread(ERRORS), NO_LRN, [3] * 4, **settings).half)  # type: ignore[arg-type]

    same = half()
    other = half(same_images=False)
    larger = half(same_images=False, published_share=1 / 3)
    assert same < other and larger < other
    # of_images counts once for ours and once, by its share, for theirs
    wide = half(same_images=False, of_images=1.0) ** 2 - half(of_images=0.0) ** 2
    assert wide == pytest.approx(1.96**2 * 2.0, rel=0.05)


def test_prediction_holds_a_new_pair_of_runs() -> None:
    rng = np.random.default_rng(6)
    errors = 0.25 * rng.standard_normal((4000, 9, 5))
    found = predict(moderate(errors.var(-1, ddof=1), [5] * 9), 1, [5] * 9)
    new = 0.25 * rng.standard_normal((2, 4000))
    ours = contrast([-1, 1, *[0] * 7], errors.mean(-1), [5] * 9, moderate(errors.var(-1, ddof=1), [5] * 9)).value
    assert np.mean(np.abs(new[0] - new[1] - ours) > found.half) == pytest.approx(0.05, abs=3 * 0.0034)


def test_seeds_to_test_are_the_fewest_that_do() -> None:
    found = seeds_to_test(spread(ERRORS), NO_LRN, 0.60)
    assert found is not None

    def half(seeds: int) -> float:
        many = replace(spread(ERRORS), dof=np.full(4, seeds + 3.0), pooled_dof=np.asarray(4.0 * (seeds - 1)))
        return float(predict(many, NO_LRN, [seeds] * 4).half)

    assert half(found) < 0.60 <= half(found - 1)
    assert seeds_to_test(spread(ERRORS), NO_LRN, 0.50) is None  # single published runs are too noisy
