"""Networks of and for other programs: export to ONNX, and torchvision's AlexNet from a file that torch has saved.

torchvision's net (Krizhevsky 2014, "One weird trick") has one column of 64, 192, 384, 256 and 256 channels, no response
normalization, and inputs from 0 to 1, normalized by the mean and the standard deviation of each color. Its first
windows begin two pixels outside of the image, on 55 x 55 positions. Here map sizes round up, to 56: a kernel of
12 x 12, whose last row and column are 0, has the same windows on 55.
"""

import json
import warnings
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.evaluation import center_logits
from alexnet.trained.network import TrainedModel
from alexnet.trained.weights import Weights, check_tensors, not_installed, shown_shape
from alexnet.untrusted import damage_named, open_regular

OPSET = 18
TOLERANCE = 1e-5
"""Largest difference from our logits, relative to the largest of them (at least 1)."""


class FromImages(nn.Module):
    """The net from whole images on, in operations that every runtime has."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.augmenter = deepcopy(trained.augmenter).cpu()
        self.net = deepcopy(trained.net).cpu()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float32 [N, K] of images uint8 [N, S, S, 3]."""
        return center_logits(self.net, self.augmenter, images)


def onnx_bytes(trained: TrainedModel) -> bytes:
    """Make an ONNX model from `images` uint8 [N, S, S, 3] to `logits` float32 [N, K], checked against the net.

    Class names and configuration are in its metadata.

    Raises:
        UserError: a package is not installed, or the model's logits differ from the net's.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    size = trained.config.scale.image_size
    example = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.onnx.export(
            FromImages(trained).eval(),
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(
        model, {"class_names": json.dumps(trained.class_names), "config": json.dumps(trained.weights.config)}
    )
    content: bytes = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in (example, example[:1]):  # two batch sizes, to show that neither is fixed in the model
        with torch.inference_mode():
            ours = center_logits(trained.net, trained.augmenter, images.to(trained.device)).cpu().numpy()
        difference = float(np.abs(session.run(["logits"], {"images": images.numpy()})[0] - ours).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(ours).max())):
            raise UserError(f"{trained.path}: the ONNX model's logits differ by {difference:g}; nothing was written")
    return content


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


def read_torchvision(file: Path) -> dict[str, Tensor]:
    """Read the tensors of torchvision's AlexNet, without running code from the file; UserError if it is another net."""
    # Torch's own words recommend to run the code in the file.
    with (
        damage_named(file, "damaged, or more than tensors, as torch.save(model, FILE) writes"),
        open_regular(file, most=LARGEST) as opened,
    ):
        saved: Any = torch.load(opened, map_location="cpu", weights_only=True)
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
            raise UserError(f"{file}: {name} is {shown_shape(found)}; {of_net} is {shown_shape(wanted)}")
    if extra := sorted(state.keys() - PARAMETERS.keys()):
        raise UserError(f"{file}: {extra[0]} is no part of torchvision's AlexNet")
    if len(state["classifier.6.weight"]) != len(state["classifier.6.bias"]):
        raise UserError(f"{file}: classifier.6 has weights and biases of different numbers of classes")
    check_tensors(state.values(), file)
    return {name: value.float() for name, value in state.items()}


def from_torchvision(
    state: dict[str, Tensor], config: dict[str, Any], class_names: Sequence[str], origin: str
) -> Weights:
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
