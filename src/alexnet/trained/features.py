"""The activities of one layer for every image of a split: the feature vectors of section 6.1."""

from collections import OrderedDict
from itertools import takewhile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.batches.augment import Augmenter
from alexnet.data.pack.splits import Split
from alexnet.errors import UserError, did_you_mean
from alexnet.evaluation.views import center_logits
from alexnet.net.layers import Activation, NonInvertedDropout

LAST_HIDDEN = "fc7"
"""The paper's "last, 4096-dimensional hidden layer"."""


def features(
    net: nn.Sequential, augmenter: Augmenter, split: Split, *, layer: str = LAST_HIDDEN, batch_size: int = 256
) -> NDArray[np.float32]:
    """Activities [n, d] of `layer` for the centre crop of every image, in the order of the split; d is 4096 for fc7.

    Those of a layer with weights are taken behind its non-linearity and its dropout, which is off: the units are
    scaled by their keep rate, as in the 2012 source (shownet.py, feature mode). Computed on the device that the net and
    the augmenter are on.

    Raises:
        UserError: the net has no such layer.
    """
    below = up_to(net, layer)
    device = augmenter.mean_image.device
    was_training = [module.training for module in below]
    below.eval()
    collected: NDArray[np.float32] | None = None
    for start in range(0, len(split), batch_size):
        indices = np.arange(start, min(start + batch_size, len(split)))
        part = image_features(below, augmenter, torch.from_numpy(split.gather(indices)).to(device)).cpu().numpy()
        if collected is None:
            collected = np.empty((len(split), part.shape[1]), np.float32)
        collected[start : start + len(part)] = part
    for module, training in zip(below, was_training, strict=True):
        module.train(training)
    assert collected is not None, "a split holds at least one image"
    return collected


@torch.inference_mode()
def image_features(below: nn.Sequential, augmenter: Augmenter, images: Tensor) -> Tensor:
    """Activities float32 [n, d] of the centre crops of uint8 images [n, S, S, 3]; `below` ends with the layer."""
    return center_logits(below, augmenter, images).flatten(1).float()


def up_to(net: nn.Sequential, layer: str) -> nn.Sequential:
    """The net up to and with a layer and the non-linearity and dropout that follow it directly; shares its modules.

    Raises:
        UserError: the net has no such layer.
    """
    children = list(net.named_children())
    names = [name for name, _ in children]
    if layer not in names:
        raise UserError(f"the net has no layer {layer}{did_you_mean(layer, names)}")
    end = names.index(layer) + 1
    following = takewhile(lambda child: isinstance(child[1], Activation | NonInvertedDropout), children[end:])
    return nn.Sequential(OrderedDict([*children[:end], *following]))
