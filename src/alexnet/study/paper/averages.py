"""Averages of several nets' probabilities (section 6), and the weights that the authors' tool can tune on validation.

An average is taken of the probabilities of all classes: the five most probable ones of each net are not enough.
If classes tie, the one with the lower number counts as more probable.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet.study.statistics import Interval, PairedDelta, error_interval, mean_interval, paired_delta

MEASURES = {"top1": 1, "top5": 5}
"""Measure -> among how many of the most probable classes the label must be."""
GRID = np.arange(21) / 20
"""Weights that the search looks at: 0 to 1 in steps of 0.05, as in the authors' tool."""
START = 0.5
PASSES = 5
_ROWS = 8192
"""Images at a time: a full-size float64 copy of ImageNet's probabilities would take gigabytes."""

Member = NDArray[np.float32]
"""Probabilities [N, classes] of one net."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """Share of the misclassified images, in percent, with a 95 % interval for the finite test set."""

    percent: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An ensemble against its members, one measure; differences are in points, below 0 the ensemble is better."""

    best: int
    """Number of the member with the lowest error on these very images: chosen with hindsight, which flatters it."""
    to_best: PairedDelta
    to_mean: float
    """Error minus the mean of the members' errors."""
    to_mean_interval: Interval
    """95 %, for other images; the members count as given."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A weighted average. The mappings are over `MEASURES`."""

    name: str
    weights: tuple[float, ...]
    errors: dict[str, Error]
    contrasts: dict[str, Contrast]


def ranks(members: Sequence[Member], weights: Sequence[float], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the classes more probable than the label, [N], by the weighted sum of the members' probabilities."""
    found = []
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        scores: NDArray[np.float64] = np.zeros(members[0][part].shape)
        for member, weight in zip(members, weights, strict=True):
            scores += weight * member[part].astype(np.float64)
        own = scores[np.arange(len(scores)), labels[part]][:, None]
        before = np.arange(scores.shape[1]) < labels[part][:, None]
        found.append(((scores > own) | ((scores == own) & before)).sum(axis=1))
    return np.concatenate(found)


def tuned_weights(members: Sequence[Member], labels: NDArray[np.int32]) -> tuple[float, ...]:
    """Search weights that lower the top-5 error on these images, one net at a time.

    Like the authors' tool: all weights start at 0.5; each in turn tries the grid and takes what lowers the error;
    up to five passes, fewer if one changes nothing.
    """
    weights = [START] * len(members)
    wrong = _top5_wrong(members, weights, labels)
    for _ in range(PASSES):
        before = wrong
        for place in range(len(members)):
            for value in GRID:
                tried = [*weights[:place], float(value), *weights[place + 1 :]]
                if (count := _top5_wrong(members, tried, labels)) < wrong:
                    weights, wrong = tried, count
        if wrong == before:
            break
    return tuple(weights)


def _top5_wrong(members: Sequence[Member], weights: Sequence[float], labels: NDArray[np.int32]) -> int:
    return int((ranks(members, weights, labels) >= MEASURES["top5"]).sum())


def single_errors(members: Sequence[Member], labels: NDArray[np.int32]) -> list[dict[str, Error]]:
    """Return the errors of each member."""
    return [_errors(ranks([member], [1.0], labels)) for member in members]


def plain_mean(members: Sequence[Member], labels: NDArray[np.int32]) -> Ensemble:
    """Evaluate the average in which all members count the same."""
    return ensemble("mean", members, [1 / len(members)] * len(members), labels)


def ensemble(name: str, members: Sequence[Member], weights: Sequence[float], labels: NDArray[np.int32]) -> Ensemble:
    """Evaluate an average, and compare it with its best member and with the mean of its members."""
    together = ranks(members, weights, labels)
    alone = np.stack([ranks([member], [1.0], labels) for member in members])
    contrasts = {measure: _contrast(alone >= among, together >= among) for measure, among in MEASURES.items()}
    return Ensemble(name=name, weights=tuple(weights), errors=_errors(together), contrasts=contrasts)


def _errors(found: NDArray[np.int64]) -> dict[str, Error]:
    images, errors = len(found), {}
    for measure, among in MEASURES.items():
        wrong = int((found >= among).sum())
        errors[measure] = Error(percent=100 * wrong / images, interval=error_interval(wrong, images))
    return errors


def _contrast(members_wrong: NDArray[np.bool_], ensemble_wrong: NDArray[np.bool_]) -> Contrast:
    best = int(members_wrong.sum(axis=1).argmin())
    differences = 100 * (ensemble_wrong.astype(np.float64) - members_wrong.mean(axis=0))
    return Contrast(
        best=best,
        to_best=paired_delta(~members_wrong[best], ~ensemble_wrong),
        to_mean=math.fsum(differences) / len(differences),
        to_mean_interval=mean_interval(differences),
    )
