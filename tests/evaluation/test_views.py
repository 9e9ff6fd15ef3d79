"""Centre crop and ten crops against numpy with explicit slices."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.augment import Augmenter, CropGeometry
from alexnet.data.pack.statistics import PixelStats
from alexnet.evaluation import center_logits, probabilities, view_crops

COLOR = ColorConfig(std=0.1, magnitude="std")
CROPS = CropsConfig(random=True, flip=True, include_last_offset=False)


def augmenter(size: int, crop: int) -> Augmenter:
    stats = PixelStats(
        mean_image=np.random.default_rng(7).uniform(90, 150, (size, size, 3)).astype(np.float32),
        covariance=np.eye(3),
        eigenvalues=np.ones(3),
        eigenvectors=np.eye(3),
    )
    return Augmenter(stats, CropGeometry(image_size=size, crop_size=crop), crops=CROPS, color=COLOR)


def softmax(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(crop=st.integers(2, 8), margin=st.integers(0, 5), n=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_ten_crops_are_the_mean_of_the_softmax_of_ten_patches(crop: int, margin: int, n: int, seed: int) -> None:
    size, classes = crop + margin, 6
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, size, size, 3), np.uint8)
    weight = rng.normal(0, 0.02, (classes, 3 * crop * crop)).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * crop * crop, classes, bias=False))
    net[1].weight.data = torch.from_numpy(weight)
    views = augmenter(size, crop)

    pixels = images.astype(np.float64) - views.mean_image.numpy().astype(np.float64)
    middle = margin // 2
    five = [
        pixels[:, :crop, :crop],  # top left
        pixels[:, :crop, size - crop :],  # top right
        pixels[:, middle : middle + crop, middle : middle + crop],  # centre
        pixels[:, size - crop :, :crop],  # bottom left
        pixels[:, size - crop :, size - crop :],  # bottom right
    ]
    patches = five + [patch[:, :, ::-1] for patch in five]
    logits = [patch.transpose(0, 3, 1, 2).reshape(n, -1) @ weight.astype(np.float64).T for patch in patches]

    with torch.no_grad():
        seen = probabilities(net, views, torch.from_numpy(images))
        centre = center_logits(net, views, torch.from_numpy(images))
    assert set(seen) == {"center", "ten_crop"}
    np.testing.assert_allclose(seen["ten_crop"].numpy(), np.mean([softmax(one) for one in logits], axis=0), atol=1e-5)
    np.testing.assert_allclose(seen["center"].numpy(), softmax(logits[2]), atol=1e-5)
    np.testing.assert_allclose(centre.numpy(), logits[2], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(seen["ten_crop"].sum(dim=1).numpy(), 1, atol=1e-6)


def test_the_ten_patches_stand_in_the_documented_order() -> None:
    paper = CropGeometry(image_size=256, crop_size=224)
    corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    assert view_crops("ten_crop", paper) == [
        *((row, column, False) for row, column in corners),
        *((row, column, True) for row, column in corners),
    ]
    assert view_crops("center", paper) == [(16, 16, False)]


def test_an_average_of_probabilities_is_not_one_of_logits() -> None:
    """Two confident patches that disagree: the mean of softmax outputs stays undecided between them."""
    size, crop = 4, 2
    images = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    images[0, 0, 0] = 255  # seen by the top left patch alone
    views = augmenter(size, crop)
    views.mean_image.zero_()

    class Brightness(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.amax(dim=(1, 2, 3)) > 100
            return torch.stack([1000.0 * bright, 10.0 * ~bright], dim=1)

    ten_crop = probabilities(Brightness(), views, images)["ten_crop"]
    # the top left patch and its mirror image are sure of class 0, the eight others nearly sure of class 1
    sure = 1 / (1 + np.exp(-10.0))
    np.testing.assert_allclose(ten_crop.numpy(), [[0.2 + 0.8 * (1 - sure), 0.8 * sure]], atol=1e-6)
