"""Power and numbers of seeds against exact distributions at the ends, and against simulated studies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from alexnet.study.crossed import Components, mean_squares
from alexnet.study.power import MOST_SEEDS, POWER, min_detectable_effect, power, seeds_needed
from tests.study.simulation import Population, differences_of, findings


def spread(seed: float = 0.0, image: float = 0.0, residual: float = 0.0, images: int = 1000) -> Components:
    return Components(images=images, seed=seed, image=image, residual=residual)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
@pytest.mark.parametrize("delta", [0.5, 2.0, 6.0])
def test_without_an_image_part_it_is_the_noncentral_t(seeds: int, delta: float) -> None:
    # var = (0.5 + 500 / 1000) / S = 1 / S
    critical = special.stdtrit(seeds - 1, 0.975)
    exact = 1 - special.nctdtr(seeds - 1, delta * np.sqrt(seeds), critical)
    assert power(spread(seed=0.5, residual=500.0), seeds, delta) == pytest.approx(exact, abs=2e-3)


def test_with_nothing_but_an_image_part_it_is_normal() -> None:
    # Standard error 0.5: 80 % power at (1.959964 + 0.841621) * 0.5, at any number of seeds.
    parts = spread(image=250.0)
    for seeds in (2, 9):
        assert min_detectable_effect(parts, seeds) == pytest.approx(2.801585 * 0.5, abs=1e-5)
    assert seeds_needed(parts, 1.41) == 2
    assert seeds_needed(parts, -1.41) == 2
    assert seeds_needed(parts, 1.39) is None


def test_no_delta_beyond_100_points() -> None:
    assert min_detectable_effect(spread(seed=10_000.0), 2) == pytest.approx(100)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 3), st.floats(0, 100), st.floats(0.1, 4))
def test_the_number_is_the_smallest_that_will_do(seed: float, image: float, delta: float) -> None:
    parts = spread(seed, image, residual=1500.0)
    needed = seeds_needed(parts, delta)
    if needed is None:
        assert power(parts, MOST_SEEDS, delta) < POWER
        return
    assert power(parts, needed, delta) >= POWER
    assert needed == 2 or power(parts, needed - 1, delta) < POWER
    assert min_detectable_effect(parts, needed) <= delta * (1 + 1e-6)


def test_more_of_anything_is_harder() -> None:
    base = min_detectable_effect(spread(0.5, 20.0, 1500.0), 3)
    for harder in (spread(1.0, 20.0, 1500.0), spread(0.5, 2000.0, 1500.0), spread(0.5, 20.0, 2500.0)):
        assert min_detectable_effect(harder, 3) > base


@pytest.mark.parametrize("seed", [0.0, 0.5, 30.0])
@pytest.mark.parametrize("image", [0.0, 30.0, 1000.0])
def test_more_seeds_resolve_more(seed: float, image: float) -> None:
    found = [min_detectable_effect(spread(seed, image, 1500.0), seeds) for seeds in (2, 3, 4, 5, 7, 12)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(("seeds", "seed_effect"), [(3, 0.0), (5, 0.04)])
def test_simulated_studies_resolve_what_is_called_resolvable(seeds: int, seed_effect: float) -> None:
    rng = np.random.default_rng(8)
    null = Population(seed_effect=seed_effect, image_effect=0.3)
    parts = mean_squares(differences_of(null.draw(40, rng)[0])[0]).components()
    population = Population(seed_effect=seed_effect, image_effect=0.3, delta=min_detectable_effect(parts, seeds))
    found = [findings(population, seeds, rng).rejected for _ in range(6)]
    assert np.mean(found) == pytest.approx(POWER, abs=0.08)
