"""Export to ONNX, with the center crop and the mean image inside the model."""

import json
import warnings
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.evaluation.views import center_logits
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
