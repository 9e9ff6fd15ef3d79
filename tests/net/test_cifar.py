"""The CIFAR-10 nets against the layer definitions of their release (cuda-convnet, example-layers, July 2012)."""

import numpy as np
import pytest
import torch

from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.net.plan import layer_specs
from alexnet.net.specs import ConvSpec, LinearSpec, LocalSpec, Parametric, PoolSpec, parameters, total_parameters
from tests.conftest import Compose

PLAIN = ("columns.kind=one", "dropout.layers=[]", "lrn.layers=[]")
LOCAL_LAYERS = {"conv1": 4_864, "conv2": 102_464, "local3": 664_704, "local4": 332_928, "fc5": 11_530}

# Layers in order with the side of their maps, and the std of their initial weights.
THREE_CONVS = ["conv1 32", "pool1 16", "act1", "conv2 16", "act2", "pool2 8", "conv3 8", "act3", "pool3 4"]
LOCAL_NET = [
    "conv1 24",
    "act1",
    "pool1 12",
    "conv2 12",
    "act2",
    "pool2 6",
    "local3 6",
    "act3",
    "local4 6",
    "act4",
    "fc5 10",
]
ORDER = {
    "cifar_80sec": [*THREE_CONVS, "fc4 64", "act4", "fc5 10"],
    "cifar_19pct": [*THREE_CONVS, "fc4 10"],
    "cifar_13pct": LOCAL_NET,
    "cifar_11pct": LOCAL_NET,
}
STDS = {
    "cifar_80sec": [1e-4, 0.01, 0.01, 0.1, 0.1],
    "cifar_19pct": [1e-4, 0.01, 0.01, 0.01],
    "cifar_13pct": [1e-4, 0.01, 0.04, 0.04, 0.01],
    "cifar_11pct": [1e-4, 0.01, 0.04, 0.04, 0.01],
}
TOTALS = {"cifar_80sec": 145_578, "cifar_19pct": 89_578, "cifar_13pct": 1_116_490, "cifar_11pct": 2_112_970}


def overrides(name: str) -> tuple[str, ...]:
    crop_size = 32 if name in ("cifar_80sec", "cifar_19pct") else 24
    return f"architecture.name={name}", "scale.image_size=32", f"scale.crop_size={crop_size}", *PLAIN


def shown(layer: object) -> str:
    if isinstance(layer, ConvSpec | LocalSpec | PoolSpec):
        return f"{layer.name} {layer.size}"
    return f"{layer.name} {layer.channels}" if isinstance(layer, LinearSpec) else str(layer.name).split("_")[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TOTALS)
def test_parameters(compose: Compose, name: str) -> None:
    config = compose(*overrides(name))
    built = sum(p.numel() for p in AlexNet(config, num_classes=10, seed=0).parameters())
    assert built == total_parameters(layer_specs(config, 10)) == TOTALS[name]


def test_parameters_of_the_local_nets_layer_by_layer(compose: Compose) -> None:
    layers = layer_specs(compose(*overrides("cifar_13pct")), 10)
    assert {layer.name: parameters(layer) for layer in layers if isinstance(layer, Parametric)} == LOCAL_LAYERS
    wide = layer_specs(compose(*overrides("cifar_11pct")), 10)
    expected = LOCAL_LAYERS | {"local3": 1_329_408, "local4": 664_704}
    assert {layer.name: parameters(layer) for layer in wide if isinstance(layer, Parametric)} == expected


@pytest.mark.parametrize("name", TOTALS)
def test_order_sizes_and_initial_weights(compose: Compose, name: str) -> None:
    config = compose(*overrides(name))
    layers = layer_specs(config, 10)
    assert [shown(layer) for layer in layers] == ORDER[name]
    weighted = [layer for layer in layers if isinstance(layer, Parametric)]
    assert [layer.std for layer in weighted] == STDS[name]
    net = AlexNet(config, num_classes=10, seed=0)
    for layer in weighted:
        module = net.get_submodule(layer.name)
        assert isinstance(module.weight, torch.Tensor) and isinstance(module.bias, torch.Tensor)
        # five standard errors of the estimated std
        assert abs(module.weight.std().item() / layer.std - 1) < 5 / (2 * module.weight.numel()) ** 0.5
        assert not module.bias.any()
    assert {layer.kernel for layer in weighted if isinstance(layer, ConvSpec)} == {5}
    assert {layer.kernel for layer in weighted if isinstance(layer, LocalSpec)} <= {3}


@pytest.mark.parametrize("name", ["cifar_80sec", "cifar_19pct"])
def test_pooling_is_by_the_maximum_first_and_then_by_the_average(compose: Compose, name: str) -> None:
    layers = layer_specs(compose(*overrides(name)), 10)
    assert [layer.kind for layer in layers if isinstance(layer, PoolSpec)] == ["max", "average", "average"]


def test_an_average_is_that_of_the_pixels_inside_the_maps(compose: Compose) -> None:
    """As in the source (conv_util.cuh): the last window of 16 pixels holds two columns, the corner four pixels."""
    net = AlexNet(compose(*overrides("cifar_19pct")), num_classes=10, seed=0)
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    pooled = net.get_submodule("pool2")(x)[0, 0].numpy()
    expected = [
        [np.mean(x[0, 0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].numpy()) for column in range(8)]
        for row in range(8)
    ]
    np.testing.assert_allclose(pooled, expected, rtol=1e-12)


def test_windows_larger_than_the_maps_are_refused(compose: Compose) -> None:
    """Torch would end in a traceback where no window begins on the maps."""
    config = compose(*overrides("cifar_19pct"), "pooling.size=11")
    with pytest.raises(UserError, match=r"pooling.size=11 is larger than the 2 x 2 map of conv3 .*: use smaller"):
        layer_specs(config, 10)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("cifar_13pct", ["conv1", "act1", "lrn1", "pool1", "conv2", "act2", "lrn2", "pool2"]),
        ("cifar_11pct", ["conv1", "act1", "pool1", "lrn1", "conv2", "act2", "lrn2", "pool2"]),
        ("cifar_19pct", ["conv1", "pool1", "act1", "lrn1", "conv2", "act2", "lrn2", "pool2"]),
    ],
)
def test_where_the_norms_stand(compose: Compose, name: str, order: list[str]) -> None:
    layers = layer_specs(compose(*(one for one in overrides(name) if "lrn" not in one), "lrn.layers=[1,2]"), 10)
    assert [layer.name.split("_")[0] for layer in layers][:8] == order
    assert total_parameters(layers) == TOTALS[name]


def test_the_published_norm_divides_alpha_by_its_nine_maps(compose: Compose) -> None:
    config = compose("experiment=cifar10_normalization", "+ablation=cifar10/norm_published")
    net = AlexNet(config, num_classes=10, seed=0)
    x = torch.randn(2, 64, 12, 12, dtype=torch.float64) * 30
    squares = torch.nn.functional.pad(x**2, (0, 0, 0, 0, 4, 4)).unfold(1, 9, 1).sum(-1)
    expected = x * (1 + 1e-3 / 9 * squares) ** -0.75
    torch.testing.assert_close(net.get_submodule("lrn1")(x), expected)


@pytest.mark.parametrize(
    ("name", "activation"), list(zip(TOTALS, ["relu", "tanh", "sigmoid", "abs_tanh"], strict=True))
)
def test_every_net_runs_with_every_non_linearity(compose: Compose, name: str, activation: str) -> None:
    config = compose(*overrides(name), f"activation.name={activation}")
    net = AlexNet(config, num_classes=7, seed=0)
    logits = net(torch.randn(3, 3, config.scale.crop_size, config.scale.crop_size) * 60)
    logits.square().sum().backward()
    assert logits.shape == (3, 7)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_runs_with_one_seed_start_alike_where_they_share_a_layer(compose: Compose) -> None:
    narrow = AlexNet(compose(*overrides("cifar_13pct")), num_classes=10, seed=1).state_dict()
    wide = AlexNet(compose(*overrides("cifar_11pct")), num_classes=10, seed=1).state_dict()
    shared = [name for name in narrow if narrow[name].shape == wide[name].shape]
    assert {"conv1.weight", "conv2.weight", "fc5.weight"} <= set(shared)
    assert all(torch.equal(narrow[name], wide[name]) for name in shared)
