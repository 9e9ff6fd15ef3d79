"""Weights in files that other programs read: safetensors, and ONNX with the mean image inside."""

import json
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.config.compose import validate
from alexnet.errors import UserError
from alexnet.evaluation.views import center_logits
from alexnet.net.columns import check_two_columns, from_columns, to_columns
from alexnet.net.lrn import LocalResponseNorm, WithinChannelLRN
from alexnet.net.plan import plan
from alexnet.trained.network import TrainedModel, Weights

FORMAT = "alexnet weights"
VERSION = "1"
LAYOUTS = ("grouped", "columns")
OPSET = 18
CLOSENESS = 1e-5
"""How far the logits of another runtime may be from ours, as a share of the largest of them (at least of 1)."""


def not_installed(error: ModuleNotFoundError) -> UserError:
    """What to do about a missing optional package."""
    return UserError(f"{error.name} is not installed: uv sync --extra export, or pip install 'alexnet[export]'")


def safetensors_bytes(weights: Weights, layout: str) -> bytes:
    """A safetensors file: the tensors, and in its metadata configuration, class names and layout.

    Raises:
        UserError: safetensors is not installed, or the net has no two columns.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    tensors = dict(weights.tensors)
    if layout == "columns":
        config = validate(weights.tree)
        check_two_columns(config)
        tensors = to_columns(tensors, plan(config, len(weights.class_names)))
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "layout": layout,
        "config": json.dumps(weights.tree),
        "class_names": json.dumps(weights.class_names),
        "data_fingerprint": weights.data_fingerprint,
    }
    return bytes(save({name: value.contiguous() for name, value in tensors.items()}, metadata))


def read_safetensors(file: Path) -> Weights:
    """The content of a file that `safetensors_bytes` made, whatever its layout.

    Raises:
        UserError: safetensors is not installed, or the file is damaged or another program's.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    try:
        with safe_open(file, framework="pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if (metadata.get("format"), metadata.get("version")) != (FORMAT, VERSION):
            raise UserError(f"{file}: its metadata are not those of {FORMAT}, version {VERSION}")
        weights = _with_metadata(tensors, metadata)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{file}: damaged: {error}") from None
    return weights


def _with_metadata(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Weights:
    tree: dict[str, Any] = json.loads(metadata["config"])
    class_names: list[str] = json.loads(metadata["class_names"])
    if metadata["layout"] == "columns":
        tensors = from_columns(tensors, plan(validate(tree), len(class_names)))
    return Weights(tensors=tensors, tree=tree, class_names=class_names, data_fingerprint=metadata["data_fingerprint"])


class FromImages(nn.Module):
    """Whole images to the logits of their center crops, in operations that every runtime has."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.augmenter = deepcopy(trained.augmenter).cpu()
        self.net = with_plain_norms(trained.net)

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [n, S, S, 3] to logits float32 [n, classes]."""
        return center_logits(self.net, self.augmenter, images)


def with_plain_norms(net: nn.Module) -> nn.Module:
    """A copy of a net on the CPU whose norms are torch's own operations, which exporters know."""
    copy = deepcopy(net).cpu()
    for name, module in copy.named_children():
        if isinstance(module, LocalResponseNorm):
            setattr(copy, name, PlainLrn(module))
        if isinstance(module, WithinChannelLRN):
            setattr(copy, name, PlainSameMapNorm(module))
    return copy


class PlainLrn(nn.Module):
    """Normalisation between the maps of each column; torch's alpha is divided by the size of the window."""

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, activity: Tensor) -> Tensor:
        """Normalise float maps [N, C, H, W]."""
        norm = self.norm
        parts = activity.chunk(norm.columns, dim=1)
        done = [F.local_response_norm(part, norm.size, norm.alpha * norm.size, norm.beta, norm.k) for part in parts]
        return torch.cat(done, dim=1)


class PlainSameMapNorm(nn.Module):
    """Normalisation between the pixels of each map."""

    def __init__(self, norm: WithinChannelLRN) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, activity: Tensor) -> Tensor:
        """Normalise float maps [N, C, H, W]."""
        norm = self.norm
        mean = F.avg_pool2d(activity * activity, norm.size, stride=1, padding=norm.size // 2)  # zeros beyond the border
        return activity / (1.0 + norm.alpha * norm.size**2 * mean) ** norm.beta


def onnx_bytes(trained: TrainedModel) -> bytes:
    """An ONNX model, `images` uint8 [n, S, S, 3] to `logits` float32 [n, classes], checked against the net itself.

    Class names and configuration are in its metadata.

    Raises:
        UserError: a package is not installed, or the model computes something else than the net.
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
        warnings.simplefilter("ignore")  # of the exporter's own making
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
    for images in (example, example[:1]):  # two numbers of images: none may have been taken for the only one
        _check_close(session.run(["logits"], {"images": images.numpy()})[0], trained, images)
    return content


def _check_close(theirs: NDArray[np.float32], trained: TrainedModel, images: Tensor) -> None:
    with torch.inference_mode():
        ours = center_logits(trained.net, trained.augmenter, images.to(trained.device)).cpu().numpy()
    apart = float(np.abs(theirs - ours).max())
    if not apart <= CLOSENESS * max(1.0, float(np.abs(ours).max())):
        raise UserError(f"{trained.path}: the exported model's logits differ by {apart:g}: not written")
