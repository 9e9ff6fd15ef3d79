"""Collecting what the network says about every test image, batch by batch."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from alexnet.runs.predictions import ViewPredictions
from alexnet.runs.probabilities import SplitProbabilities


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What the network said about one batch, or this process's part of it."""

    number: int
    labels: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32] | None


class PredictionStore:
    """What the network said about every image, per data set and view, in the order of the images.

    The five most probable classes, and with `whole` the probabilities of all.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self._batches: dict[tuple[int, str], list[_Batch]] = {}

    def clear(self) -> None:
        self._batches.clear()

    def add(self, dataset: int, view: str, batch: int, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch by its number: labels int64 [n] and class probabilities float [n, classes]."""
        top = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
        seen = _Batch(
            number=batch,
            labels=labels.cpu().numpy(),
            classes=top.indices.cpu().numpy(),
            values=top.values.cpu().numpy(),
            probabilities=probabilities.float().cpu().numpy() if self.whole else None,
        )
        self._batches.setdefault((dataset, view), []).append(seen)

    def merge(self, stores: Iterable["PredictionStore"]) -> None:
        """Take the place of several, each of which has seen its part of every batch, in the order of the parts."""
        merged: dict[tuple[int, str], list[_Batch]] = {}
        for store in stores:
            for key, batches in store._batches.items():
                merged.setdefault(key, []).extend(batches)
        self._batches = {key: sorted(batches, key=lambda batch: batch.number) for key, batches in merged.items()}

    def collect(self, splits: list[str]) -> dict[str, dict[str, ViewPredictions]]:
        """Predictions by split and view; `splits` names the data sets in the order in which they were evaluated."""
        collected: dict[str, dict[str, ViewPredictions]] = {split: {} for split in splits}
        for (dataset, view), batches in self._batches.items():
            collected[splits[dataset]][view] = ViewPredictions.from_top(
                np.concatenate([batch.labels for batch in batches]),
                np.concatenate([batch.classes for batch in batches]),
                np.concatenate([batch.values for batch in batches]),
            )
        return collected

    def answers(self, splits: list[str]) -> dict[str, SplitProbabilities]:
        """The probabilities of all classes by split; the store must be `whole`."""
        assert self.whole
        collected = {}
        for split, views in self.collect(splits).items():
            labels = next(iter(views.values())).labels
            arrays = {view: self._probabilities(splits.index(split), view) for view in views}
            collected[split] = SplitProbabilities(labels=labels, views=arrays)
        return collected

    def _probabilities(self, dataset: int, view: str) -> npt.NDArray[np.float32]:
        kept = [batch.probabilities for batch in self._batches[dataset, view]]
        return np.concatenate([array for array in kept if array is not None])
