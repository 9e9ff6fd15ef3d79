"""Training images that a network sees as most alike (section 6.1 and Figure 4, right)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.pack.splits import Split
from alexnet.net.specs import LinearSpec
from alexnet.trained.features import LAST_HIDDEN, features, image_features, up_to
from alexnet.trained.neighbours import Neighbors, nearest_neighbours
from alexnet.trained.network import TrainedModel


def nearest_training_images(
    trained: TrainedModel, images: NDArray[np.uint8], train: Split, *, layer: str, k: int
) -> Neighbors:
    """The images of `train` nearest to uint8 images [n, S, S, 3], by Euclidean distance between the activities of a
    layer, of centre crops."""
    database = torch.from_numpy(features(trained.net, trained.augmenter, train, layer=layer))
    return nearest_neighbours(query_features(trained, images, layer=layer), database, k=k)


def query_features(trained: TrainedModel, images: NDArray[np.uint8], *, layer: str) -> Tensor:
    """Activities float32 [n, d] of the centre crops of uint8 images [n, S, S, 3], on the net's device."""
    batch = torch.from_numpy(images).to(trained.device)
    return image_features(up_to(trained.net, layer), trained.augmenter, batch)


def last_hidden(trained: TrainedModel) -> str | None:
    """The paper's fc7, or the last fully connected layer before the classifier of another net; None without one."""
    hidden = [layer.name for layer in trained.net.specs if isinstance(layer, LinearSpec)][:-1]
    if LAST_HIDDEN in hidden:
        return LAST_HIDDEN
    return hidden[-1] if hidden else None
