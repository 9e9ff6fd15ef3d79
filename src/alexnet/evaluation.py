"""A network in memory is tested: its views of an image, its errors, its predictions batch by batch.

Views are the center crop, and the ten crops of Section 4.1.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from alexnet.data.augment import Augmenter, CropGeometry
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.net.layers import at_least_float32
from alexnet.net.specs import Parametric
from alexnet.net.two_devices import ColumnShard
from alexnet.runs.arrays import FirstLayer, ViewPredictions
from alexnet.runs.result import DIVERGED, ErrorRates

VIEWS = ("center", "ten_crop")


def view_crops(view: str, geometry: CropGeometry) -> list[tuple[int, int, bool]]:
    """Return the row, the column and the horizontal flip of each crop of a view.

    Ten crops in the order of the 2012 source: top left, top right, center, bottom left, bottom right, then flipped.
    """
    center, last = geometry.center, geometry.margin
    if view == "center":
        return [(center, center, False)]
    assert view == "ten_crop"
    corners = [(0, 0), (0, last), (center, center), (last, 0), (last, last)]
    return [(row, column, flip) for flip in (False, True) for row, column in corners]


def probabilities(net: nn.Module, augmenter: Augmenter, images: Tensor) -> dict[str, Tensor]:
    """Return class probabilities float32 [N, K] of images uint8 [N, S, S, 3], by view.

    A view's prediction is the mean of its crops' softmax outputs (Section 4.1; 2012 source: layer.cu). Every distinct
    crop is computed once: the center crop is in both views, and crops as large as the image coincide.
    """
    crops = {view: view_crops(view, augmenter.geometry) for view in VIEWS}
    outputs = {
        crop: _logits(net, augmenter, images, crop).float().softmax(dim=1) for crop in dict.fromkeys(crops["ten_crop"])
    }
    return {view: torch.stack([outputs[crop] for crop in of_view]).mean(dim=0) for view, of_view in crops.items()}


def center_logits(net: nn.Module, augmenter: Augmenter, images: Tensor) -> Tensor:
    """Return logits [N, K], float32 or wider, of the center crops of images uint8 [N, S, S, 3]."""
    (crop,) = view_crops("center", augmenter.geometry)
    return _logits(net, augmenter, images, crop)


def _logits(net: nn.Module, augmenter: Augmenter, images: Tensor, crop: tuple[int, int, bool]) -> Tensor:
    logits: Tensor = net(augmenter.crop_at(images, *crop))
    return at_least_float32(logits)


TOP = 5


class TopKErrors(Metric):
    """Share of images whose label is not the most probable class, and not among the five most probable.

    Counts are integers summed over batches and devices, so every image has the same weight for any batch size. Among
    fewer than five classes the latter says nothing, and is left out.
    """

    full_state_update = False
    images: Tensor
    incorrect: Tensor

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.most = min(TOP, classes)
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("incorrect", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Count a batch of scores [N, K] (logits or probabilities) against int64 labels [N]."""
        correct = scores.topk(self.most, dim=1).indices == labels[:, None]
        self.images += len(labels)
        self.incorrect += len(labels) - torch.stack([correct[:, 0].sum(), correct.any(dim=1).sum()])

    def compute(self) -> dict[str, Tensor]:
        """Return error rates in [0, 1], by `top1` and `top5`, over the images of all processes."""
        return self.local_rates()

    def local_rates(self) -> dict[str, Tensor]:
        """Return the error rates over the images of this process, without communication."""
        rates = self.incorrect.cpu().double() / self.images.cpu()  # MPS has no float64
        return {"top1": rates[0], "top5": rates[1]} if self.most == TOP else {"top1": rates[0]}


class MeanLoss(Metric):
    """Mean loss over images. It keeps NaNs, and does not wait for a GPU before `compute`.

    torchmetrics' own mean gives a small last batch the weight of a full one if NaNs may pass, and copies every weight
    to the device.
    """

    full_state_update = False
    images: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, mean: Tensor, images: int) -> None:
        """Add a batch: the mean loss over its images, a scalar, and their number."""
        self.total += mean.detach() * images
        self.images += images

    def compute(self) -> Tensor:
        """Return the mean over all images so far, a scalar."""
        return self.total / self.images


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
