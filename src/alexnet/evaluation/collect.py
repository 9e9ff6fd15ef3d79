"""Predictions of a network, collected batch by batch, and the kernels of its first layer."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.net.specs import Parametric
from alexnet.net.two_devices import ColumnShard
from alexnet.runs.arrays import FirstLayer, ViewPredictions
from alexnet.runs.result import DIVERGED, ErrorRates


class _Batch(NamedTuple):
    """Predictions for one batch, or for this process's share of it."""

    number: int
    labels: Tensor
    top_classes: Tensor
    top_probabilities: Tensor
    probabilities: Tensor
    """float32 [N, K], or [N, 0] if they are not kept."""


class PredictionStore:
    """The five most probable classes of every image, by data set and view, in the order of the images.

    With `keep_probabilities`, also the probabilities of all classes. They stay on their device to the end: no batch
    waits for it.
    """

    def __init__(self, *, keep_probabilities: bool = False) -> None:
        self.keep_probabilities = keep_probabilities
        self._batches: dict[tuple[int, str], list[_Batch]] = {}

    def clear(self) -> None:
        self._batches.clear()

    def add(self, dataset: int, view: str, batch: int, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch by its number: labels int64 [N] and class probabilities [N, K]."""
        top = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
        kept = probabilities.float() if self.keep_probabilities else probabilities.new_empty((len(labels), 0))
        self._batches.setdefault((dataset, view), []).append(_Batch(batch, labels, top.indices, top.values, kept))

    def on_host(self) -> Self:
        """Move the content to the CPU, where another process can take it from."""
        for batches in self._batches.values():
            batches[:] = [_Batch(number, *(tensor.cpu() for tensor in tensors)) for number, *tensors in batches]
        return self

    def merge(self, stores: Iterable["PredictionStore"]) -> None:
        """Replace the content by that of several stores, each with its share of every batch, in the shares' order."""
        merged: dict[tuple[int, str], list[_Batch]] = {}
        for store in stores:
            for key, batches in store._batches.items():  # noqa: SLF001  the same class
                merged.setdefault(key, []).extend(batches)
        self._batches = {key: sorted(batches, key=lambda batch: batch.number) for key, batches in merged.items()}

    def collect(self, splits: list[str]) -> dict[str, dict[str, ViewPredictions]]:
        """Return predictions by split and view; `splits` names the data sets by their numbers.

        UserError: outputs are not finite; their order, and so the errors, would be chance.
        """
        collected: dict[str, dict[str, ViewPredictions]] = {split: {} for split in splits}
        for (dataset, view), batches in self._batches.items():
            _, *arrays = zip(*batches, strict=True)
            labels, classes, top, probabilities = (torch.cat(parts).cpu().numpy() for parts in arrays)
            if wild := int((~np.isfinite(top)).any(axis=1).sum()):
                where = f"the outputs for {wild:,} of {len(top):,} {splits[dataset]} images are not finite"
                raise UserError(f"{DIVERGED}: {where}; try a lower optimizer.lr")
            kept = probabilities if self.keep_probabilities else None
            collected[splits[dataset]][view] = ViewPredictions.from_top(labels, classes, top, kept)
        return collected


def error_rates(predictions: Mapping[str, Mapping[str, ViewPredictions]]) -> dict[str, dict[str, ErrorRates]]:
    """Return the errors by split and view."""
    return {split: {view: seen.error_rates() for view, seen in views.items()} for split, views in predictions.items()}


def first_layer(net: AlexNet | ColumnShard) -> FirstLayer:
    """Return the kernels of the first convolution, and the number of columns above it.

    With one column per process, both processes must call it.
    """
    layers = [layer for layer in net.specs if isinstance(layer, Parametric)]
    name = f"{layers[0].name}.weight"
    weight = net.get_parameter(name).detach()
    if isinstance(net, ColumnShard):
        weight = net.full_state({name: weight})[name]
    return FirstLayer(kernels=weight.float().cpu().numpy(), columns=max(layer.groups for layer in layers))
