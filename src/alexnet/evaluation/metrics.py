"""Errors and losses over all images of an epoch."""

import torch
from torch import Tensor
from torchmetrics import Metric

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
