"""Features against the net taken apart by hand."""

import numpy as np
import pytest
import torch

from alexnet.data.batches.augment import Augmenter
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.trained.features import features, up_to
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
    return AlexNet(compose(*NARROW), num_classes=7, seed=3)


@pytest.fixture(scope="module")
def views(compose: Compose) -> Augmenter:
    scale = compose(*NARROW).scale
    return augmenter(scale.image_size, scale.crop_size)


@pytest.fixture(scope="module")
def images(views: Augmenter) -> Images:
    size = views.geometry.image_size
    return Images(np.random.default_rng(1).integers(0, 256, (11, size, size, 3), np.uint8))


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_fc7_is_what_the_classifier_reads(net: AlexNet, views: Augmenter, images: Images, batch_size: int) -> None:
    net.train()
    found = features(net, views, images, batch_size=batch_size)  # type: ignore[arg-type]
    assert net.training and all(module.training for module in net)

    crop, centre = views.geometry.crop_size, views.geometry.center
    pixels = images.images.astype(np.float32) - views.mean_image.numpy()
    cut = pixels[:, centre : centre + crop, centre : centre + crop].transpose(0, 3, 1, 2)
    read: list[torch.Tensor] = []
    hook = net.get_submodule("fc8").register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    net.eval()
    with torch.no_grad():
        net(torch.from_numpy(np.ascontiguousarray(cut)))
    hook.remove()
    assert found.dtype == np.float32 and found.shape == (11, 32)
    np.testing.assert_allclose(found, read[0].numpy(), rtol=1e-4, atol=1e-5)
    assert (found > 0).any()


def test_a_layer_with_weights_ends_with_its_nonlinearity_and_dropout(net: AlexNet) -> None:
    ends = {
        layer: next(reversed(list(up_to(net, layer).named_children())))[0] for layer in ("conv1", "fc6", "fc7", "fc8")
    }
    assert ends == {"conv1": "conv1_relu", "fc6": "dropout6", "fc7": "dropout7", "fc8": "fc8"}
    assert next(reversed(list(up_to(net, "pool5").named_children())))[0] == "pool5"


def test_maps_become_vectors(net: AlexNet, views: Augmenter, images: Images) -> None:
    found = features(net, views, images, layer="pool5")  # type: ignore[arg-type]
    assert found.shape == (11, net.get_submodule("fc6").weight.shape[1])


def test_misspelt_layer(net: AlexNet) -> None:
    with pytest.raises(UserError, match=r"no layer fc77: did you mean fc7\?"):
        up_to(net, "fc77")
