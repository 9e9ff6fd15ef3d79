"""Test-time views: the center crop, and the ten crops of Section 4.1."""

import torch
from torch import Tensor, nn

from alexnet.data.batches.augment import Augmenter, CropGeometry
from alexnet.net.layers import at_least_float32

VIEWS = ("center", "ten_crop")


def view_crops(view: str, geometry: CropGeometry) -> list[tuple[int, int, bool]]:
    """Return the row, the column and the horizontal flip of each crop of a view.

    Ten crops in the order of the 2012 source: top left, top right, center, bottom left, bottom right, then flipped.
    """
    center, last = geometry.center, geometry.margin
    if view == "center":
        return [(center, center, False)]
    assert view == "ten_crop"
    corners = [(0, 0), (0, last), (center, center), (last, 0), (last, last)]
    return [(row, column, flip) for flip in (False, True) for row, column in corners]


def probabilities(net: nn.Module, augmenter: Augmenter, images: Tensor) -> dict[str, Tensor]:
    """Return class probabilities float32 [N, K] of images uint8 [N, S, S, 3], by view.

    A view's prediction is the mean of its crops' softmax outputs (Section 4.1; 2012 source: layer.cu). Every distinct
    crop is computed once: the center crop is in both views, and crops as large as the image coincide.
    """
    crops = {view: view_crops(view, augmenter.geometry) for view in VIEWS}
    outputs = {
        crop: _logits(net, augmenter, images, crop).float().softmax(dim=1) for crop in dict.fromkeys(crops["ten_crop"])
    }
    return {view: torch.stack([outputs[crop] for crop in of_view]).mean(dim=0) for view, of_view in crops.items()}


def center_logits(net: nn.Module, augmenter: Augmenter, images: Tensor) -> Tensor:
    """Return logits [N, K], float32 or wider, of the center crops of images uint8 [N, S, S, 3]."""
    (crop,) = view_crops("center", augmenter.geometry)
    return _logits(net, augmenter, images, crop)


def _logits(net: nn.Module, augmenter: Augmenter, images: Tensor, crop: tuple[int, int, bool]) -> Tensor:
    logits: Tensor = net(augmenter.crop_at(images, *crop))
    return at_least_float32(logits)
