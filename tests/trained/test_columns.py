"""The two-column layout: an exact round trip, and tensors that compute what the grouped net computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.trained.weights import Weights, from_columns, safetensors_bytes, to_columns
from tests.conftest import checked

SMALL = ("scale=cifar", "scale.channels=[8,16,24,24,16]", "scale.fc_width=32")
VARIANTS = ((), ("columns.kind=isolated",), ("depth.sixth_conv=true",), ("depth.remove=[3]",), ("depth.remove=[1]",))


@pytest.fixture(scope="module")
def configs() -> list[Config]:
    return [checked(*SMALL, *variant).config for variant in VARIANTS]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), classes=st.integers(2, 9))
def test_there_and_back_is_the_same(configs: list[Config], data: st.DataObject, seed: int, classes: int) -> None:
    net = AlexNet(data.draw(st.sampled_from(configs)), num_classes=classes, seed=seed)
    tensors = {**net.state_dict(), "mean_image": torch.randn(4, 4, 3)}
    divided = to_columns(tensors, net.specs)
    back = from_columns(divided, net.specs)
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], value) for name, value in tensors.items())
    assert sum(value.numel() for value in divided.values()) == sum(value.numel() for value in tensors.values())
    whole = {name for name in divided if name in tensors}
    assert whole == {"fc8.weight", "fc8.bias", "mean_image"}


def test_column_tensors_compute_the_net_column_by_column(configs: list[Config]) -> None:
    """The net of the paper written out by hand for two columns that exchange maps below conv3 and the full layers."""
    net = AlexNet(configs[0], num_classes=5, seed=3).eval()
    t = to_columns(net.state_dict(), net.specs)
    convs = {name: module for name, module in net.named_children() if name.startswith("conv") and "_" not in name}
    pixels = torch.from_numpy(
        np.random.default_rng(0).normal(0, 50, (2, 3, net.specs[0].in_size, net.specs[0].in_size))
    )
    x = pixels.float()

    def conv(name: str, column: str, maps: Tensor) -> Tensor:
        module = convs[name]
        padded = F.pad(maps, module.pad) if module.pad else maps  # type: ignore[arg-type]
        padding = 0 if module.pad else module.padding
        weight, bias = t[f"{name}{column}.weight"], t[f"{name}{column}.bias"]
        return F.relu(F.conv2d(padded, weight, bias, stride=module.stride, padding=padding))  # type: ignore[arg-type]

    def norm_and_pool(maps: Tensor) -> Tensor:
        lrn = configs[0].lrn
        normed = F.local_response_norm(maps, lrn.size, lrn.alpha * lrn.size, lrn.beta, lrn.k)
        return F.max_pool2d(normed, 3, 2, ceil_mode=True)

    with torch.no_grad():
        own = [norm_and_pool(conv("conv1", column, x)) for column in "ab"]
        own = [norm_and_pool(conv("conv2", column, maps)) for column, maps in zip("ab", own, strict=True)]
        both = torch.cat(own, dim=1)
        own = [conv("conv3", column, both) for column in "ab"]
        own = [conv("conv4", column, maps) for column, maps in zip("ab", own, strict=True)]
        own = [conv("conv5", column, maps) for column, maps in zip("ab", own, strict=True)]
        units = torch.cat([F.max_pool2d(maps, 3, 2, ceil_mode=True) for maps in own], dim=1).flatten(1)
        for layer in ("fc6", "fc7"):
            halves = [F.linear(units, t[f"{layer}{column}.weight"], t[f"{layer}{column}.bias"]) for column in "ab"]
            units = 0.5 * torch.cat([F.relu(half) for half in halves], dim=1)
        logits = F.linear(units, t["fc8.weight"], t["fc8.bias"])
        torch.testing.assert_close(logits, net(x), rtol=1e-4, atol=1e-4)


def test_one_column_has_no_two_column_layout() -> None:
    pytest.importorskip("safetensors")
    tree = checked(*SMALL, "columns.kind=one").tree
    weights = Weights(tensors={}, config=tree, class_names=["a", "b"], data_fingerprint="")
    with pytest.raises(UserError, match="one column"):
        safetensors_bytes(weights, "columns")
