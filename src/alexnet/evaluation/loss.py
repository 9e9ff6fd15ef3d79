"""The mean loss of all images of an epoch."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """Mean over images; a loss that is not a number shows, and nothing waits for a GPU before `compute`.

    torchmetrics' own mean weighs a small last batch like a full one when it is told to let NaNs through, and copies
    every weight to the device.
    """

    full_state_update = False
    images: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, mean: Tensor, images: int) -> None:
        """Add a batch: the mean loss of its images, a scalar, and their number."""
        self.total += mean.detach() * images
        self.images += images

    def compute(self) -> Tensor:
        """The mean over all images so far, a scalar."""
        return self.total / self.images
