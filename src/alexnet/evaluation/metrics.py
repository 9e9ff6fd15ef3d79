"""Top-1 and top-5 error, counted exactly."""

import torch
from torch import Tensor
from torchmetrics import Metric


class TopKErrors(Metric):
    """Share of images whose label is not the most probable class, and not among the five most probable.

    Counts are integers summed over batches and devices, so every image weighs the same whatever the batch sizes.
    """

    full_state_update = False
    images: Tensor
    wrong: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Count a batch of scores [n, classes] (logits or probabilities) against int64 labels [n]."""
        right = top5(scores) == labels[:, None]
        self.images += len(labels)
        self.wrong += len(labels) - torch.stack([right[:, 0].sum(), right.any(dim=1).sum()])

    def compute(self) -> dict[str, Tensor]:
        """Error rates in [0, 1], by `top1` and `top5`, of the images that all processes have seen."""
        return self.rates()

    def rates(self) -> dict[str, Tensor]:
        """The same of the images that this process has seen; asks no other for anything."""
        rates = self.wrong.cpu().double() / self.images.cpu()  # not every accelerator knows float64
        return {"top1": rates[0], "top5": rates[1]}


def top5(scores: Tensor) -> Tensor:
    """The five most probable classes int64 [n, 5], most probable first."""
    return scores.topk(5, dim=1).indices
