"""Collecting what the network says about every test image, batch by batch."""

import numpy as np
from torch import Tensor

from alexnet.predictions import ViewPredictions


class PredictionStore:
    """The five most probable classes of every image, per data set and view, in the order of the images."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], list[tuple[Tensor, Tensor, Tensor]]] = {}

    def clear(self) -> None:
        self._parts.clear()

    def add(self, dataset: int, view: str, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch: labels int64 [n] and class probabilities float [n, classes]."""
        top = probabilities.topk(5, dim=1)
        self._parts.setdefault((dataset, view), []).append((labels.cpu(), top.indices.cpu(), top.values.cpu()))

    def collect(self, splits: list[str]) -> dict[str, dict[str, ViewPredictions]]:
        """Predictions by split and view; `splits` names the data sets in the order in which they were evaluated."""
        collected: dict[str, dict[str, ViewPredictions]] = {split: {} for split in splits}
        for (dataset, view), parts in self._parts.items():
            labels, classes, values = (
                np.concatenate([t.numpy() for t in column]) for column in zip(*parts, strict=True)
            )
            collected[splits[dataset]][view] = ViewPredictions.from_top(labels, classes, values)
        return collected
