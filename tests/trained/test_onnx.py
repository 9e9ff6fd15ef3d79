"""What is exported computes what the net computes."""

import numpy as np
import pytest
import torch

from alexnet.config.compose import register
from alexnet.config.job import check
from alexnet.net.alexnet import AlexNet
from alexnet.net.lrn import LocalResponseNorm, WithinChannelLRN
from alexnet.trained.onnx import with_plain_norms


@pytest.mark.parametrize("recipe", ["paper", "source_2012"])
def test_a_net_with_plain_norms_is_the_same_net(recipe: str) -> None:
    register()
    small = ("scale=cifar", "scale.channels=[8,16,24,24,16]", "scale.fc_width=32")
    # A strong norm, so that a wrong one shows.
    config = check([*small, f"recipe={recipe}", "lrn.alpha=0.05"]).config
    net = AlexNet(config, classes=5, seed=1).eval()
    norms = [module for module in net if isinstance(module, LocalResponseNorm | WithinChannelLRN)]
    assert len(norms) == (2 if recipe == "paper" else 3)
    plain = with_plain_norms(net)
    assert not any(isinstance(module, LocalResponseNorm | WithinChannelLRN) for module in plain.children())
    size = config.scale.crop_size
    pixels = torch.from_numpy(np.random.default_rng(0).normal(0, 60, (3, 3, size, size)).astype(np.float32))
    with torch.no_grad():
        without = torch.nn.Sequential(*[module for module in net if module not in norms])(pixels)
        torch.testing.assert_close(plain(pixels), net(pixels), rtol=1e-5, atol=1e-5)
        assert (without - net(pixels)).abs().max() > 1e-3
