"""Weights of torchvision's AlexNet, from a file that torch has saved, as a network of this program.

That net (Krizhevsky 2014, "One weird trick") has one column of 64, 192, 384, 256 and 256 channels, no response
normalization, and inputs from 0 to 1, normalized by the mean and the standard deviation of each color. Its first
windows begin two pixels outside of the image, on 55 x 55 positions. Here map sizes round up, to 56: a kernel of
12 x 12, whose last row and column are 0, has the same windows on 55.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.errors import UserError
from alexnet.received import damage_named, open_regular
from alexnet.trained.weights import UNREADABLE, Weights, check_tensors

OVERRIDES = (
    "experiment=ilsvrc2012",
    "columns=ungrouped",
    "lrn=none",
    "dropout=none",  # torchvision scales up in training, and has nothing to do at test
    "scale.conv1_kernel=12",
    "scale.conv1_padding=2",
    "scale.channels=[64,192,384,256,256]",
)
"""The configuration of its layers."""
LAYERS = {
    "features.0": ("conv1", (64, 3, 11, 11)),
    "features.3": ("conv2", (192, 64, 5, 5)),
    "features.6": ("conv3", (384, 192, 3, 3)),
    "features.8": ("conv4", (256, 384, 3, 3)),
    "features.10": ("conv5", (256, 256, 3, 3)),
    "classifier.1": ("fc6", (4096, 9216)),
    "classifier.4": ("fc7", (4096, 4096)),
    "classifier.6": ("fc8", (-1, 4096)),
}
"""Their names there and here, and the shapes of their weights; -1 is any number of classes."""
PARAMETERS = {
    f"{layer}.{kind}": (f"{ours}.{kind}", shape if kind == "weight" else shape[:1])
    for layer, (ours, shape) in LAYERS.items()
    for kind in ("weight", "bias")
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1, as torchvision normalizes ImageNet."""
LARGEST = 2**32
"""Bytes of a file; that of 1,000 classes has 244 MB."""


def read_state(file: Path) -> dict[str, Tensor]:
    """Read the tensors of torchvision's AlexNet, without running code from the file; UserError if it is another net."""
    with damage_named(file), open_regular(file, most=LARGEST) as opened:
        try:
            saved: Any = torch.load(opened, map_location="cpu", weights_only=True)
        except UNREADABLE:  # torch's own words recommend to run the code in the file
            raise UserError(f"{file}: damaged, or more than tensors, as torch.save(model, FILE) writes") from None
    state = saved.get("state_dict", saved) if isinstance(saved, dict) else saved
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{file}: no tensors by name, as torch.save(model.state_dict(), FILE) writes them")
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    for name, (ours, wanted) in PARAMETERS.items():
        of_net = f"{ours.partition('.')[0]} of torchvision's AlexNet"
        if name not in state:
            others = f"it has {', '.join(list(state)[:3])}, ..." if state else "it is empty"
            raise UserError(f"{file}: it has no {name}, which is {of_net}; {others}")
        found = tuple(state[name].shape)
        if len(found) != len(wanted) or any(size not in (-1, here) for size, here in zip(wanted, found, strict=True)):
            raise UserError(f"{file}: {name} is {_shape(found)}; {of_net} is {_shape(wanted)}")
    if extra := sorted(state.keys() - PARAMETERS.keys()):
        raise UserError(f"{file}: {extra[0]} is no part of torchvision's AlexNet")
    if len(state["classifier.6.weight"]) != len(state["classifier.6.bias"]):
        raise UserError(f"{file}: classifier.6 has weights and biases of different numbers of classes")
    check_tensors(state.values(), file)
    return {name: value.float() for name, value in state.items()}


def convert(state: dict[str, Tensor], config: dict[str, Any], class_names: Sequence[str], origin: str) -> Weights:
    """Return the same network for inputs from 0 to 255 minus a mean image, which is one color.

    `config` is the tree of `OVERRIDES`; `origin` takes the place of the fingerprint of the training images. Zeros
    around the image are the mean color in both.
    """
    tensors = {ours: state[name] for name, (ours, _) in PARAMETERS.items()}
    scale = 1 / (255 * torch.tensor(STD, dtype=torch.float64))
    tensors["conv1.weight"] = F.pad((tensors["conv1.weight"] * scale[:, None, None]).float(), (0, 1, 0, 1))
    size = config["scale"]["image_size"]
    tensors["mean_image"] = (255 * torch.tensor(MEAN, dtype=torch.float64)).float().expand(size, size, 3).contiguous()
    tensors["pca_directions"] = torch.zeros(3, 3)
    return Weights(tensors=tensors, config=config, class_names=list(class_names), data_fingerprint=origin)


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join("any" if size < 0 else str(size) for size in sizes)
