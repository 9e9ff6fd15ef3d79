"""Studies whose truth is known, and how often the statistics find it.

`python tests/study/simulation.py` prints the table of `docs/statistics.md`; a number of studies may follow.

An image is wrong where a normal score is above 0. The score adds up what makes the image hard, what each arm (baseline
or ablated net) does to it at every seed, what the seed does to both arms and to each, and what the training noise does
to the image in both arms of a pair and in each. The chance of an error over all images and seeds is then a normal
probability, so the true delta is known exactly.
"""

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from alexnet.study.crossed import mean_error, mean_squares
from alexnet.study.statistics import paired_delta

HARDNESS, PAIR_NOISE, NOISE = 1.0, 0.5, 0.5
"""Standard deviations of the score: of images, and of the noise that the arms of a pair share and do not share."""
SHARED_SEED = 0.05
"""What a seed does to both arms alike: it moves an error by about a point, and a delta hardly at all."""
BATCH = 100
STUDIES = 5000


@dataclass(frozen=True, kw_only=True)
class Population:
    """What studies are drawn from. An effect is a standard deviation of the score; 0.1 moves an error by 2 points."""

    error: float = 0.7
    """Of the baseline, as a fraction."""
    delta: float = 0.0
    """True, in points."""
    images: int = 1000
    seed_effect: float = 0.0
    """Of a seed on either arm by itself."""
    image_effect: float = 0.0
    """Of either arm on an image, at every seed."""

    @property
    def spread(self) -> float:
        """Standard deviation of the score over images and noise, at one seed."""
        return math.hypot(HARDNESS, PAIR_NOISE, NOISE, self.image_effect)

    def thresholds(self) -> NDArray[np.float64]:
        """The mean score [2] of each arm with which the errors over all images and seeds are exact."""
        errors = np.array([self.error, self.error + self.delta / 100])
        return special.ndtri(errors) * math.hypot(self.spread, SHARED_SEED, self.seed_effect)

    def draw(self, seeds: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether each image is right [B, 2, S, N] in `BATCH` studies, and the true delta of each pair [B, S]."""

        def normal(scale: float, *shape: int) -> NDArray[np.float32]:
            return np.float32(scale) * rng.standard_normal((BATCH, *shape), dtype=np.float32)

        by_seed = normal(SHARED_SEED, 1, seeds, 1) + normal(self.seed_effect, 2, seeds, 1)
        means = self.thresholds()[:, None, None] + by_seed
        score = normal(NOISE, 2, seeds, self.images)
        score += normal(PAIR_NOISE, 1, seeds, self.images)
        score += normal(HARDNESS, 1, 1, self.images)
        score += normal(self.image_effect, 2, 1, self.images)
        errors = 100 * special.ndtr(means[..., 0] / self.spread)
        return score <= -means, errors[:, 1] - errors[:, 0]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a batch of studies found, each array [B]."""

    truth: NDArray[np.float64]
    """With one seed, the delta of that very pair over all images; else that over all images and seeds."""
    delta: NDArray[np.float64]
    half: NDArray[np.float64]
    """Half the width of the interval."""
    covered: NDArray[np.bool_]
    """Whether the interval holds the truth."""
    rejected: NDArray[np.bool_]
    """Whether p is below 0.05."""


def findings(population: Population, seeds: int, rng: np.random.Generator) -> Findings:
    """Draw `BATCH` studies and analyze them as a report does."""
    right, of_pairs = population.draw(seeds, rng)
    if seeds == 1:
        return _one_seed(right, of_pairs[:, 0])
    truth = np.full(BATCH, population.delta)
    differences = differences_of(right)
    delta = differences.mean(axis=(-2, -1), dtype=np.float64)
    half = np.asarray(mean_error(mean_squares(differences)).half_width(0.05))
    covered, rejected = abs(delta - truth) <= half, abs(delta) > half  # p agrees with the interval: tested elsewhere
    return Findings(truth=truth, delta=delta, half=half, covered=covered, rejected=rejected)


def differences_of(right: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Differences [B, S, N], in points, from `right` [B, 2, S, N]."""
    return np.float32(100) * (right[:, 0].astype(np.float32) - right[:, 1])


def _one_seed(right: NDArray[np.bool_], truth: NDArray[np.float64]) -> Findings:
    pairs = [paired_delta(*study[:, 0]) for study in right]
    delta, p = np.array([pair.delta for pair in pairs]), np.array([pair.p for pair in pairs])
    low, high = np.array([pair.interval for pair in pairs]).T
    return Findings(
        truth=truth,
        delta=delta,
        half=(high - low) / 2,
        covered=(low <= truth) & (truth <= high),
        rejected=p < 0.05,
    )


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often studies of one population found the truth, as fractions."""

    covered: float
    """Intervals that hold the true delta, 2 points."""
    rejected: float | None
    """Tests significant where the true delta is 0; None with one seed that has an effect, where no delta is 0."""
    half: float
    """Median of half the width of the interval, in points."""


def rates(population: Population, seeds: int, studies: int, rng: np.random.Generator) -> Rates:
    """Draw `studies` studies with a true delta of 2 points, and as many with none."""
    effect = [findings(replace(population, delta=2.0), seeds, rng) for _ in range(studies // BATCH)]
    covered = float(np.mean([batch.covered for batch in effect]))
    half = float(np.median([batch.half for batch in effect]))
    if seeds == 1 and population.seed_effect:
        return Rates(covered=covered, rejected=None, half=half)
    none = [findings(population, seeds, rng) for _ in range(studies // BATCH)]
    return Rates(covered=covered, rejected=float(np.mean([batch.rejected for batch in none])), half=half)


POPULATIONS = (
    *(
        Population(seed_effect=seed_effect, image_effect=image_effect)
        for seed_effect in (0.0, 0.04, 0.15)
        for image_effect in (0.0, 0.3, 0.6)
    ),
    Population(error=0.8, images=2000, seed_effect=0.04, image_effect=0.3),
    Population(error=0.6, images=5000, image_effect=0.3),
    Population(error=0.6, images=5000, seed_effect=0.04, image_effect=0.3),
)
SEEDS = (1, 2, 3, 5)


def ratios(population: Population, rng: np.random.Generator) -> tuple[float, float]:
    """N var(seed) / var(rest) and var(image) / var(rest), the components of the differences.

    They decide how hard the interval is. Estimated from 500 studies of 20 seeds.
    """
    batches = [mean_squares(differences_of(population.draw(20, rng)[0])) for _ in range(5)]
    seed, image, rest = (np.mean([getattr(one, part) for one in batches]) for part in ("seed", "image", "residual"))
    return max(float(seed / rest) - 1, 0.0), max(float(image / rest) - 1, 0.0) / 20


def main(studies: int) -> None:
    """Print the table, in Markdown."""
    rng = np.random.default_rng(2012)
    print("| error | images | seed ratio | image ratio | seeds | coverage | false positives | half-width |")
    print("| ---: " * 8 + "|")
    for population in POPULATIONS:
        seed_ratio, image_ratio = ratios(population, rng)
        for seeds in SEEDS:
            seen = rates(population, seeds, studies, rng)
            false = "" if seen.rejected is None else f"{100 * seen.rejected:.1f} %"
            print(
                f"| {100 * population.error:.0f} % | {population.images} | {seed_ratio:.1f} "
                f"| {image_ratio:.2f} | {seeds} | {100 * seen.covered:.1f} % | {false} | {seen.half:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES)
