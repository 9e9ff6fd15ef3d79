"""Feature vectors of images: the activations of one layer (Section 6.1)."""

from collections import OrderedDict
from itertools import takewhile
from tempfile import TemporaryFile, gettempdir

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.pack.splits import Split
from alexnet.errors import UserError, did_you_mean
from alexnet.evaluation.views import center_logits
from alexnet.net.dropout import UNITWISE
from alexnet.net.specs import LinearSpec
from alexnet.trained.network import TrainedModel

LAST_HIDDEN = "fc7"
"""The paper's "last, 4096-dimensional hidden layer"."""


def split_features(
    trained: TrainedModel, split: Split, *, layer: str = LAST_HIDDEN, batch_size: int = 256
) -> NDArray[np.float32]:
    """Compute the features [N, D] of every image, in the order of the split; D is 4096 for fc7.

    They are memory-mapped from a temporary file without a name: 21 GB for the training images of ILSVRC-2012.

    Raises:
        UserError: the net has no such layer, or the folder for temporary files is full.
    """
    with TemporaryFile(buffering=0) as file:  # closing has nothing left to write on a full disk
        for start in range(0, len(split), batch_size):
            indices = np.arange(start, min(start + batch_size, len(split)))
            part = image_features(trained, split.gather(indices), layer=layer).cpu().numpy()
            rest = part.data.cast("B")
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                need = f"the features need {len(split) * part[0].nbytes / 1e9:.1f} GB"
                raise UserError(f"{gettempdir()}: {error.strerror}; {need}, set TMPDIR") from None
        return np.asarray(np.memmap(file, np.float32, "c", shape=(len(split), part.shape[1])))


@torch.inference_mode()
def image_features(trained: TrainedModel, images: NDArray[np.uint8], *, layer: str) -> Tensor:
    """Compute the features float32 [N, D] of the center crops of images uint8 [N, S, S, 3], on the net's device."""
    batch = torch.from_numpy(images).to(trained.device)
    return center_logits(truncate_at(trained.net, layer), trained.augmenter, batch).flatten(1).float()


def truncate_at(net: nn.Sequential, layer: str) -> nn.Sequential:
    """Return the backbone that ends with a layer and the activation and dropout directly after it; modules are shared.

    In evaluation mode that dropout scales the units by their keep rate, as in the 2012 source (shownet.py, feature
    mode). UserError without such a layer.
    """
    children = list(net.named_children())
    names = [name for name, _ in children]
    if layer not in names:
        raise UserError(f"the net has no layer {layer}{did_you_mean(layer, names)}")
    end = names.index(layer) + 1
    following = takewhile(lambda child: isinstance(child[1], UNITWISE), children[end:])
    return nn.Sequential(OrderedDict([*children[:end], *following]))


def last_hidden(trained: TrainedModel) -> str | None:
    """Return the paper's fc7, or another net's last fully connected layer before the classifier; None without one."""
    hidden = [layer.name for layer in trained.net.specs if isinstance(layer, LinearSpec)][:-1]
    return LAST_HIDDEN if LAST_HIDDEN in hidden else next(reversed(hidden), None)
