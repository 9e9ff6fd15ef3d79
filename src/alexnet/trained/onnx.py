"""Export to ONNX, with the center crop and the mean image inside the model."""

import json
import warnings
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.evaluation.views import center_logits
from alexnet.net.lrn import LocalResponseNorm, WithinChannelLRN
from alexnet.trained.network import TrainedModel
from alexnet.trained.weights import not_installed

OPSET = 18
TOLERANCE = 1e-5
"""Largest difference from our logits, relative to the largest of them (at least 1)."""


class FromImages(nn.Module):
    """The net from whole images on, in operations that every runtime has."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.augmenter = deepcopy(trained.augmenter).cpu()
        self.net = with_plain_norms(trained.net)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float32 [N, K] of images uint8 [N, S, S, 3]."""
        return center_logits(self.net, self.augmenter, images)


def with_plain_norms(net: nn.Module) -> nn.Module:
    """Copy a net to the CPU with its LRN layers written in torch's own operations, which exporters know."""
    copy = deepcopy(net).cpu()
    for name, module in copy.named_children():
        if isinstance(module, LocalResponseNorm):
            setattr(copy, name, PlainLRN(module))
        if isinstance(module, WithinChannelLRN):
            setattr(copy, name, PlainWithinChannelLRN(module))
    return copy


class PlainLRN(nn.Module):
    """LRN across the channels of each column; torch divides its alpha by the window size."""

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize floats [N, C, H, W]."""
        norm = self.norm
        columns = x.chunk(norm.columns, dim=1)
        return torch.cat(
            [F.local_response_norm(one, norm.size, norm.alpha * norm.size, norm.beta, norm.k) for one in columns], dim=1
        )


class PlainWithinChannelLRN(nn.Module):
    """LRN across the pixels of each channel."""

    def __init__(self, norm: WithinChannelLRN) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize floats [N, C, H, W]."""
        norm = self.norm
        mean = F.avg_pool2d(x * x, norm.size, stride=1, padding=norm.size // 2)  # zeros beyond the border
        return x / (1.0 + norm.alpha * norm.size**2 * mean) ** norm.beta


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
        model, {"class_names": json.dumps(trained.class_names), "config": json.dumps(trained.weights.tree)}
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
