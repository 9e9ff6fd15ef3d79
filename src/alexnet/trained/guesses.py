"""What a trained network makes of single images."""

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.evaluation.views import probabilities
from alexnet.trained.network import TrainedModel


def guess(
    trained: TrainedModel, images: NDArray[np.uint8], *, view: str, most: int = 5
) -> list[list[tuple[str, float]]]:
    """The most probable classes with their probabilities, most probable first, of uint8 images [n, S, S, 3]."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(trained.device)
    with torch.inference_mode():
        scores = probabilities(trained.net, trained.augmenter, batch)[view]
    top = scores.topk(min(most, scores.shape[1]), dim=1)
    return [
        [(trained.class_names[number], float(value)) for number, value in zip(classes, values, strict=True)]
        for classes, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
