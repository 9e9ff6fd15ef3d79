"""The variance of a difference when every seed meets every test image: two-way analysis of variance.

The method is that of studies with several readers of the same cases (Dorfman, Berbaum and Metz 1992; Hillis 2007);
here the seeds read. All figures are in points.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Components:
    """The parts of the variance of one image's difference with one seed, in points squared, on `images` images."""

    images: int
    seed: float
    """Of the delta between seeds, were there endlessly many images."""
    image: float
    """Of an image's mean difference between images, were there endlessly many seeds."""
    rest: float
    """Of seed and image together: what neither explains alone."""

    def standard_error(self, seeds: int) -> float:
        """Of the mean over `seeds` and all images."""
        return math.sqrt((self._of_seed() + seeds * self.image) / (seeds * self.images))

    def freedom(self, seeds: int) -> float:
        """Hillis's degrees of freedom of that error, for 2 seeds or more."""
        of_seed, of_image = self._of_seed(), seeds * self.image
        return (seeds - 1) * ((of_seed + of_image) / of_seed) ** 2 if of_seed > 1e-9 * of_image else math.inf

    def _of_seed(self) -> float:
        """Expected mean square between seeds."""
        return self.images * self.seed + self.rest


def components(differences: NDArray[np.float64]) -> Components:
    """The parts of the variance of `differences` [S, N], S >= 2 seeds by N >= 2 images; none is below 0."""
    seeds, images = differences.shape
    by_seed, by_image, mean = differences.mean(axis=1), differences.mean(axis=0), differences.mean()
    rest = differences - by_seed[:, None] - by_image[None, :] + mean
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    ms_seed = images * float(by_seed.var(ddof=1))
    ms_image = seeds * float(by_image.var(ddof=1))
    return Components(
        images=images,
        seed=max(ms_seed - ms_rest, 0.0) / images,
        image=max(ms_image - ms_rest, 0.0) / seeds,
        rest=ms_rest,
    )
