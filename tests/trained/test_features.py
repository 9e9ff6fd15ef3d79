"""Features against the net taken apart by hand."""

from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from alexnet.data.augment import Augmenter
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.trained import similar
from alexnet.trained.network import TrainedModel
from alexnet.trained.similar import image_features, split_features, truncate_at
from tests.conftest import Compose
from tests.evaluation.test_views import augmenter

NARROW = ("scale=cifar", "scale.channels=[8,8,16,16,8]", "scale.fc_width=32")


class Images:
    """A split in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.labels = np.zeros(len(images), np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]


@pytest.fixture(scope="module")
def net(compose: Compose) -> AlexNet:
    return AlexNet(compose(*NARROW), num_classes=7, seed=3).eval()


@pytest.fixture(scope="module")
def views(compose: Compose) -> Augmenter:
    scale = compose(*NARROW).scale
    return augmenter(scale.image_size, scale.crop_size)


@pytest.fixture(scope="module")
def images(views: Augmenter) -> Images:
    size = views.geometry.image_size
    return Images(np.random.default_rng(1).integers(0, 256, (11, size, size, 3), np.uint8))


@pytest.fixture(scope="module")
def trained(net: AlexNet, views: Augmenter) -> TrainedModel:
    """What features need of a trained model."""
    return cast("TrainedModel", SimpleNamespace(net=net, augmenter=views, device=torch.device("cpu")))


@pytest.mark.parametrize("batch_size", [4, 256])
def test_split_features_of_fc7_are_what_the_classifier_reads(
    trained: TrainedModel, net: AlexNet, views: Augmenter, images: Images, batch_size: int
) -> None:
    found = split_features(trained, images, batch_size=batch_size)  # type: ignore[arg-type]

    crop, center = views.geometry.crop_size, views.geometry.center
    pixels = images.images.astype(np.float32) - views.mean_image.numpy()
    cut = pixels[:, center : center + crop, center : center + crop].transpose(0, 3, 1, 2)
    read: list[torch.Tensor] = []
    hook = net.get_submodule("fc8").register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        net(torch.from_numpy(np.ascontiguousarray(cut)))
    hook.remove()
    assert found.dtype == np.float32 and found.shape == (11, 32)
    np.testing.assert_allclose(found, read[0].numpy(), rtol=1e-4, atol=1e-5)
    assert (found > 0).any()


def test_images_that_cannot_be_read_are_not_taken_for_a_full_disk(trained: TrainedModel, images: Images) -> None:
    class Damaged(Images):
        def gather(self, indices: np.ndarray) -> np.ndarray:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        split_features(trained, Damaged(images.images))  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_told_with_what_is_needed(
    trained: TrainedModel, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "TemporaryFile", lambda **_: FileIO("/dev/full", "r+"))
    with pytest.raises(UserError, match=r"No space left on device; the features need 0.0 GB, set TMPDIR"):
        split_features(trained, images)  # type: ignore[arg-type]


def test_truncate_at_a_layer_with_weights_keeps_its_activation_and_dropout(net: AlexNet) -> None:
    ends = {
        layer: next(reversed(list(truncate_at(net, layer).named_children())))[0]
        for layer in ("conv1", "fc6", "fc7", "fc8")
    }
    assert ends == {"conv1": "conv1_relu", "fc6": "dropout6", "fc7": "dropout7", "fc8": "fc8"}
    assert next(reversed(list(truncate_at(net, "pool5").named_children())))[0] == "pool5"


def test_image_features_of_a_convolution_are_vectors(trained: TrainedModel, net: AlexNet, images: Images) -> None:
    found = image_features(trained, images.images, layer="pool5")
    assert found.shape == (11, net.get_submodule("fc6").weight.shape[1])


def test_truncate_at_a_misspelled_layer_names_the_nearest(net: AlexNet) -> None:
    with pytest.raises(UserError, match=r"no layer fc77: did you mean fc7\?"):
        truncate_at(net, "fc77")
