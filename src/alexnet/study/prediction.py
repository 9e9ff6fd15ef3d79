"""What one published run of each arm may show: the interval for a number that has an error of its own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from alexnet.study.family import CONFIDENCE, PRIOR_DOF, Family, Floats, Spread, dof_limit, fewest_seeds, satterthwaite


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Half-widths around our delta, in points: numbers, or arrays over studies."""

    half: Floats
    """Holds the delta of one more run of each arm in 95 % of the cases."""
    least: Floats
    """What would be left of `half` with endless seeds on our side."""


def predict(
    spread: Spread,
    place: int,
    runs: ArrayLike,
    *,
    floor: ArrayLike = 0.0,
    of_images: ArrayLike = 0.0,
    published_share: float = 1.0,
    same_images: bool = True,
) -> Prediction:
    """Predict the delta between one run of the arm at `place` and one of the baseline.

    `floor` [A] and `of_images` are the parts of the finite test set, ours; `published_share` is the size of ours over
    that of the published one. On the same images they have no part in the difference of two deltas.
    """
    used = [place, 0]
    variance, counts = spread.variance[..., used], np.asarray(runs, dtype=np.float64)[..., used]
    of_test_set = np.broadcast_to(np.asarray(floor, dtype=np.float64), spread.variance.shape)[..., used]
    theirs = np.maximum(variance - of_test_set, 0.0) + of_test_set * published_share
    parts = variance / counts + theirs
    known = np.asarray(0.0 if same_images else np.asarray(of_images) * (1 + published_share))
    dof = satterthwaite(parts, spread.dof[..., used], dof_limit(spread, used), known)
    left = theirs.sum(-1) + known * published_share / (1 + published_share)
    return Prediction(
        half=np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, dof) * np.sqrt(parts.sum(-1) + known)),
        least=np.asarray(stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(left)),
    )


def seeds_to_test(spread: Spread, place: int, distance: float, **images: Any) -> int | None:
    """Return the fewest seeds in every arm with which `half` is below `distance`; None if even the most would not do.

    `images` are the keywords of `predict`.
    """
    arms = spread.variance.shape[-1]

    def is_enough(seeds: int) -> bool:
        pooled_dof = float(arms * (seeds - 1))
        dof = np.where(spread.stands_out, seeds - 1.0, seeds - 1.0 + min(PRIOR_DOF, pooled_dof))
        grown = replace(spread, dof=dof, pooled_dof=np.asarray(pooled_dof))
        return bool(predict(grown, place, [seeds] * arms, **images).half < distance)

    return fewest_seeds(is_enough)


def published_images(family: Family, of_images: ArrayLike, images: int | None) -> dict[str, Any]:
    """Return the keywords of `predict` for a number published on so many test images.

    Equal numbers are the same images. Where it is unknown, as many other images as here are taken.
    """
    ours = family.arms[0].images
    return {
        "floor": family.floor,
        "of_images": of_images,
        "published_share": ours / (images or ours),
        "same_images": images == ours,
    }
