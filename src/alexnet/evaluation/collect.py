"""Predictions of a network, collected batch by batch, and the kernels of its first layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from alexnet.net.alexnet import AlexNet
from alexnet.net.specs import ConvSpec, LinearSpec
from alexnet.net.two_devices import ColumnShard
from alexnet.runs.first_layer import FirstLayer
from alexnet.runs.predictions import ViewPredictions
from alexnet.runs.probabilities import SplitProbabilities
from alexnet.runs.result import ErrorRates


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Predictions for one batch, or for this process's share of it."""

    number: int
    labels: NDArray[np.int64]
    top_classes: NDArray[np.int64]
    top_probabilities: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    """[N, K], or [N, 0] if they are not kept."""


class PredictionStore:
    """The five most probable classes of every image, by data set and view, in the order of the images.

    With `keep_probabilities`, also the probabilities of all classes.
    """

    def __init__(self, *, keep_probabilities: bool = False) -> None:
        self.keep_probabilities = keep_probabilities
        self._batches: dict[tuple[int, str], list[_Batch]] = {}

    def clear(self) -> None:
        self._batches.clear()

    def add(self, dataset: int, view: str, batch: int, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch by its number: labels int64 [N] and class probabilities [N, K]."""
        top = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
        added = _Batch(
            number=batch,
            labels=labels.cpu().numpy(),
            top_classes=top.indices.cpu().numpy(),
            top_probabilities=top.values.cpu().numpy(),
            probabilities=(probabilities if self.keep_probabilities else probabilities[:, :0]).float().cpu().numpy(),
        )
        self._batches.setdefault((dataset, view), []).append(added)

    def merge(self, stores: Iterable["PredictionStore"]) -> None:
        """Replace the content by that of several stores, each with its share of every batch, in the shares' order."""
        merged: dict[tuple[int, str], list[_Batch]] = {}
        for store in stores:
            for key, batches in store._batches.items():  # noqa: SLF001  the same class
                merged.setdefault(key, []).extend(batches)
        self._batches = {key: sorted(batches, key=lambda batch: batch.number) for key, batches in merged.items()}

    def collect(self, splits: list[str]) -> dict[str, dict[str, ViewPredictions]]:
        """Return predictions by split and view; `splits` names the data sets by their numbers."""
        collected: dict[str, dict[str, ViewPredictions]] = {split: {} for split in splits}
        for (dataset, view), batches in self._batches.items():
            collected[splits[dataset]][view] = ViewPredictions.from_top(
                np.concatenate([batch.labels for batch in batches]),
                np.concatenate([batch.top_classes for batch in batches]),
                np.concatenate([batch.top_probabilities for batch in batches]),
            )
        return collected

    def collect_probabilities(self, splits: list[str]) -> dict[str, SplitProbabilities]:
        """Return the probabilities of all classes by split; the store must keep them."""
        assert self.keep_probabilities
        collected = {}
        for number, (split, views) in enumerate(self.collect(splits).items()):
            labels = next(iter(views.values())).labels
            arrays = {
                view: np.concatenate([batch.probabilities for batch in self._batches[number, view]]) for view in views
            }
            collected[split] = SplitProbabilities(labels=labels, views=arrays)
        return collected


def error_rates(predictions: Mapping[str, Mapping[str, ViewPredictions]]) -> dict[str, dict[str, ErrorRates]]:
    """Return the errors by split and view."""
    return {split: {view: seen.error_rates() for view, seen in views.items()} for split, views in predictions.items()}


def first_layer(net: AlexNet | ColumnShard) -> FirstLayer:
    """Return the kernels of the first convolution, and the number of columns above it.

    With one column per process, both processes must call it.
    """
    layers = [layer for layer in net.specs if isinstance(layer, ConvSpec | LinearSpec)]
    name = f"{layers[0].name}.weight"
    weight = net.get_parameter(name).detach()
    if isinstance(net, ColumnShard):
        weight = net.full_state({name: weight})[name]
    return FirstLayer(kernels=weight.float().cpu().numpy(), columns=max(layer.groups for layer in layers))
