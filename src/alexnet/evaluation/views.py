"""The views on which the network is asked at test time: the centre crop, and the paper's ten patches (section 4.1)."""

import torch
from torch import Tensor, nn

from alexnet.data.batches.augment import Augmenter, CropGeometry
from alexnet.net.precision import at_least_float32

VIEWS = ("center", "ten_crop")


def view_offsets(view: str, geometry: CropGeometry) -> list[tuple[int, int, bool]]:
    """Row, column and mirroring of each patch of a view set.

    Ten patches in the order of the 2012 source: top left, top right, centre, bottom left, bottom right, and mirrored.
    """
    center, last = geometry.center, geometry.margin
    if view == "center":
        return [(center, center, False)]
    assert view == "ten_crop"
    corners = [(0, 0), (0, last), (center, center), (last, 0), (last, last)]
    return [(row, column, mirrored) for mirrored in (False, True) for row, column in corners]


def probabilities(net: nn.Module, augmenter: Augmenter, images: Tensor) -> dict[str, Tensor]:
    """Class probabilities float32 [n, classes] of uint8 images [n, S, S, 3], per view set.

    A view set's prediction is the arithmetic mean of its patches' softmax outputs (section 4.1; 2012 source: layer.cu).
    Each patch is computed once for both sets, and once where patches coincide: whole images have two, not ten.
    """
    offsets = {view: view_offsets(view, augmenter.geometry) for view in VIEWS}
    outputs = {patch: _softmax(net, augmenter, images, patch) for patch in dict.fromkeys(offsets["ten_crop"])}
    return {view: torch.stack([outputs[patch] for patch in patches]).mean(dim=0) for view, patches in offsets.items()}


def center_logits(net: nn.Module, augmenter: Augmenter, images: Tensor) -> Tensor:
    """Logits, float32 or wider [n, classes] of the centre crops."""
    (patch,) = view_offsets("center", augmenter.geometry)
    return _logits(net, augmenter, images, patch)


def _softmax(net: nn.Module, augmenter: Augmenter, images: Tensor, patch: tuple[int, int, bool]) -> Tensor:
    return _logits(net, augmenter, images, patch).float().softmax(dim=1)


def _logits(net: nn.Module, augmenter: Augmenter, images: Tensor, patch: tuple[int, int, bool]) -> Tensor:
    logits: Tensor = net(augmenter.crop_at(images, *patch))
    return at_least_float32(logits)
