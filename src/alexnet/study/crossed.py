"""Error of a mean difference when every seed meets every test image, by a two-way analysis of variance.

The model is that of studies with several readers of the same cases (Dorfman, Berbaum and Metz 1992; Hillis 2007);
here the seeds read. `docs/statistics.md` says why the critical value is that of Cochran and Cox, and how well it does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special  # scipy.stats has the same functions, and takes seconds to import

SEED_VARIANCE_FLOOR = 0.025
"""Seeds that agree more closely than chance allows this often count as agreeing that closely."""

Values = float | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Components:
    """The parts of the variance of one image's difference with one seed, in points squared, on `images` images."""

    images: int
    seed: float
    """Of the delta between seeds, were there endlessly many images."""
    image: float
    """Of an image's mean difference between images, were there endlessly many seeds."""
    residual: float
    """Of seed and image together: what neither explains alone."""


@dataclass(frozen=True, kw_only=True)
class MeanSquares:
    """The analysis of variance of one study, or an array of them: S seeds by N images, in points squared."""

    seeds: int
    images: int
    seed: Values
    image: Values
    residual: Values

    def components(self) -> Components:
        """Return the parts of the variance of one study; a negative estimate is 0."""
        return Components(
            images=self.images,
            seed=max(float(self.seed - self.residual), 0.0) / self.images,
            image=max(float(self.image - self.residual), 0.0) / self.seeds,
            residual=float(self.residual),
        )


def mean_squares(differences: NDArray[np.floating]) -> MeanSquares:
    """Analyze `differences` [..., S, N], in points: S >= 2 seeds by N >= 2 images."""
    seeds, images = differences.shape[-2:]
    by_seed, by_image = differences.mean(axis=-1, keepdims=True), differences.mean(axis=-2, keepdims=True)
    residual = differences - by_seed - by_image + by_seed.mean(axis=-2, keepdims=True)
    return MeanSquares(
        seeds=seeds,
        images=images,
        seed=images * by_seed[..., 0].var(axis=-1, ddof=1),
        image=seeds * by_image[..., 0, :].var(axis=-1, ddof=1),
        residual=(residual**2).sum(axis=(-2, -1)) / ((seeds - 1) * (images - 1)),
    )


@dataclass(frozen=True, kw_only=True)
class MeanError:
    """The squared standard error of a mean over `seeds` seeds, in points squared: of one study, or an array of them."""

    seeds: int
    of_seeds: Values
    """Shrinks with the seeds: their spread, and what each of them does with each image."""
    of_images: Values
    """Stays however many seeds there are: the test set is finite."""

    def standard_error(self) -> Values:
        """Return it in points."""
        return np.sqrt(self.of_seeds + self.of_images)

    def critical_value(self, p: float) -> Values:
        """Return how many standard errors the mean is from its truth with probability `p`, both sides together.

        The variance between seeds is known from S - 1 degrees of freedom, that between images from thousands. For two
        seeds this is the average of the two quantiles, Student's and the normal one, with the two variances as weights
        (Cochran and Cox 1957). From three seeds on that average errs on the safe side, and a weight of
        share ** 1.5 keeps the level closer at any share of the seeds.
        """
        share = self.of_seeds / (self.of_seeds + self.of_images)
        weight = share if self.seeds == 2 else share**1.5
        student, normal = -float(special.stdtrit(self.seeds - 1, p / 2)), -float(special.ndtri(p / 2))
        return weight * student + (1 - weight) * normal

    def half_width(self, p: float) -> Values:
        """Return that of the interval that excludes the truth with probability `p`, in points."""
        return self.critical_value(p) * self.standard_error()


def mean_error(squares: MeanSquares) -> MeanError:
    """Return the error of the mean delta.

    Two or three seeds agree by chance now and then, and their spread then says nothing: it counts at least as much as
    the closest of `SEED_VARIANCE_FLOOR` of all studies would give had the seeds no effect of their own at all.
    """
    dof = squares.seeds - 1
    least = float(special.chdtri(dof, 1 - SEED_VARIANCE_FLOOR)) / dof
    cells = squares.seeds * squares.images
    return MeanError(
        seeds=squares.seeds,
        of_seeds=np.maximum(squares.seed, least * squares.residual) / cells,
        of_images=np.maximum(squares.image - squares.residual, 0.0) / cells,
    )


def two_sided_p(error: MeanError, mean: float) -> float:
    """Return the probability of a mean at least as far from 0 as `mean` (points) if the truth is 0; at least 1e-15."""
    wanted = abs(mean) / float(error.standard_error())
    return math.exp(root(lambda log_p: wanted - float(error.critical_value(math.exp(log_p))), math.log(1e-15), 0.0))


def root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Find where a `rising` function passes 0 between `low` and `high`, by halving; an end if it does not."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
