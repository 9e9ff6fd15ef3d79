"""Training images that a network sees as most alike (section 6.1 and Figure 4, right)."""

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.data.pack import Split
from alexnet.evaluation.features import LAST_HIDDEN, features, image_features, up_to
from alexnet.evaluation.neighbours import nearest_neighbours
from alexnet.evaluation.trained import Trained
from alexnet.net.specs import Full


def nearest_training_images(
    trained: Trained, images: NDArray[np.uint8], train: Split, *, layer: str, k: int
) -> NDArray[np.int64]:
    """Numbers [n, k] of the images of `train` nearest to uint8 images [n, S, S, 3], the nearest first.

    By Euclidean distance between the activities of a layer, of centre crops.
    """
    batch = torch.from_numpy(images).to(trained.device)
    queries = image_features(up_to(trained.net, layer), trained.augmenter, batch).cpu()
    database = torch.from_numpy(features(trained.net, trained.augmenter, train, layer=layer))
    return np.asarray(nearest_neighbours(queries, database, k=k).indices.numpy())


def last_hidden(trained: Trained) -> str | None:
    """The paper's fc7, or the last fully connected layer before the classifier of another net; None without one."""
    hidden = [layer.name for layer in trained.net.plan if isinstance(layer, Full)][:-1]
    if LAST_HIDDEN in hidden:
        return LAST_HIDDEN
    return hidden[-1] if hidden else None
