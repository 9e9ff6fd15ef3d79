"""Collecting what the network says about every test image, batch by batch."""

import numpy as np
from torch import Tensor

from alexnet.predictions import ViewPredictions
from alexnet.probabilities import Answers


class PredictionStore:
    """What the network said about every image, per data set and view, in the order of the images.

    The five most probable classes, and with `whole` the probabilities of all.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self._parts: dict[tuple[int, str], list[tuple[Tensor, Tensor, Tensor]]] = {}
        self._probabilities: dict[tuple[int, str], list[Tensor]] = {}

    def clear(self) -> None:
        self._parts.clear()
        self._probabilities.clear()

    def add(self, dataset: int, view: str, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch: labels int64 [n] and class probabilities float [n, classes]."""
        top = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
        self._parts.setdefault((dataset, view), []).append((labels.cpu(), top.indices.cpu(), top.values.cpu()))
        if self.whole:
            self._probabilities.setdefault((dataset, view), []).append(probabilities.float().cpu())

    def collect(self, splits: list[str]) -> dict[str, dict[str, ViewPredictions]]:
        """Predictions by split and view; `splits` names the data sets in the order in which they were evaluated."""
        collected: dict[str, dict[str, ViewPredictions]] = {split: {} for split in splits}
        for (dataset, view), parts in self._parts.items():
            labels, classes, values = (
                np.concatenate([t.numpy() for t in column]) for column in zip(*parts, strict=True)
            )
            collected[splits[dataset]][view] = ViewPredictions.from_top(labels, classes, values)
        return collected

    def answers(self, splits: list[str]) -> dict[str, Answers]:
        """The probabilities of all classes by split; the store must be `whole`."""
        assert self.whole
        collected = {}
        for split, views in self.collect(splits).items():
            labels = next(iter(views.values())).labels
            parts = {view: self._probabilities[splits.index(split), view] for view in views}
            arrays = {view: np.concatenate([t.numpy() for t in tensors]) for view, tensors in parts.items()}
            collected[split] = Answers(labels=labels, views=arrays)
        return collected
