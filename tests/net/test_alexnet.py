"""The network against the layer tables of the paper, its footnotes, and the authors' released definitions."""

import pytest
import torch
from rich.console import Console

from alexnet.commands.describe import layer_table
from alexnet.net.alexnet import AlexNet
from alexnet.net.plan import PAPER_SCALE, layer_specs
from alexnet.net.specs import ConvSpec, LinearSpec, LRNSpec, PoolSpec, multiply_adds, parameters, total_parameters
from tests.conftest import Compose

# Totals of layers-145, 145-half, 150 and 146-2012 (the record of the authors' source, and its derived counts).
TOTALS = {"two": 60_965_224, "one": 59_798_312, "isolated": 60_714_408}
TOTALS["ungrouped"] = 62_378_344  # as counted for the undivided AlexNet of later implementations
# Both columns together, layer by layer, of layers-145 and layers-150.
LAYERS_145 = {
    "conv1": 34_944,
    "conv2": 307_456,
    "conv3": 885_120,
    "conv4": 663_936,
    "conv5": 442_624,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "fc8": 4_097_000,
}
LAYERS_150 = LAYERS_145 | {"conv2": 384_320, "conv3": 553_344, "fc6": 37_756_928}


def sizes(compose: Compose, *overrides: str) -> dict[str, int]:
    return {
        layer.name: layer.size
        for layer in layer_specs(compose("scale=paper", *overrides), 1000)
        if isinstance(layer, ConvSpec | PoolSpec)
    }


@pytest.mark.parametrize("columns", TOTALS)
def test_parameters_at_paper_scale(compose: Compose, columns: str) -> None:
    config = compose("scale=paper", f"columns.kind={columns}")
    with torch.device("meta"):
        built = sum(p.numel() for p in _undrawn(config).parameters())
    assert built == total_parameters(layer_specs(config, 1000)) == TOTALS[columns]


def _undrawn(config: object) -> AlexNet:
    """The real class, without drawing 61 million numbers."""
    return AlexNet(config, num_classes=1000, seed=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("columns", "expected"), [("two", LAYERS_145), ("isolated", LAYERS_150)])
def test_parameters_layer_by_layer(compose: Compose, columns: str, expected: dict[str, int]) -> None:
    layers = layer_specs(compose("scale=paper", f"columns.kind={columns}"), 1000)
    assert {layer.name: parameters(layer) for layer in layers if isinstance(layer, ConvSpec | LinearSpec)} == expected


@pytest.mark.parametrize(
    ("overrides", "classes", "total"),
    [
        (("depth.sixth_conv=true",), 10_184, 99_182_152),  # layers-146-2009
        (("depth.sixth_conv=true", "classifier.bottleneck=true"), 21_843, 110_605_267),  # layers-146-2011
        (("depth.sixth_conv=true",), 1000, 61_555_304),  # layers-146-2012-2011, fine-tuned
    ],
)
def test_the_nets_of_pre_training(compose: Compose, overrides: tuple[str, ...], classes: int, total: int) -> None:
    config = compose("scale=paper", *overrides)
    with torch.device("meta"):
        built = AlexNet(config, num_classes=classes, seed=None)
    assert sum(p.numel() for p in built.parameters()) == total_parameters(layer_specs(config, classes)) == total


def test_the_bottleneck_is_linear(compose: Compose) -> None:
    config = compose("scale=cifar", "scale.fc_width=32", "classifier.bottleneck=true")
    names = [layer.name for layer in layer_specs(config, 10)]
    assert names[-3:] == ["dropout7", "bottleneck", "fc8"]
    net = AlexNet(config, num_classes=10, seed=1)
    assert net.get_submodule("bottleneck").weight.shape == (16, 32)
    assert net.get_submodule("fc8").weight.shape == (10, 16)


def test_map_sizes_of_the_paper(compose: Compose) -> None:
    assert list(sizes(compose).values()) == [55, 27, 27, 13, 13, 13, 13, 6]


def test_map_sizes_without_overlap_are_those_of_net_147(compose: Compose) -> None:
    assert list(sizes(compose, "pooling.size=2").values()) == [55, 28, 26, 13, 13, 13, 11, 6]


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_leaving_a_convolution_out_keeps_the_maps_below_fc6(compose: Compose, missing: int) -> None:
    found = sizes(compose, f"depth.remove=[{missing}]")
    assert f"conv{missing}" not in found
    assert [found[f"pool{n}"] for n in (1, 2, 5)] == [27, 13, 6]


def test_columns_still_meet_without_conv3(compose: Compose) -> None:
    groups = {
        layer.name: layer.groups
        for layer in layer_specs(compose("scale=paper", "depth.remove=[3]"), 1000)
        if isinstance(layer, ConvSpec)
    }
    assert groups == {"conv1": 1, "conv2": 2, "conv4": 1, "conv5": 2}


def test_multiply_adds_and_neurons(compose: Compose) -> None:
    layers = layer_specs(compose("scale=paper"), 1000)
    # conv: 55^2*96*363 + 27^2*256*1200 + 13^2*(384*2304 + 384*1728 + 256*1728); fc: 9216*4096 + 4096^2 + 4096*1000
    assert sum(multiply_adds(layer) for layer in layers) == 665_784_864 + 58_621_952
    neurons = [layer.channels * layer.size**2 for layer in layers if isinstance(layer, ConvSpec)]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264]


def test_normalisation_stays_inside_a_column(compose: Compose) -> None:
    for columns, blocks in (("two", 2), ("isolated", 2), ("one", 1)):
        layers = layer_specs(compose("scale=paper", f"columns.kind={columns}"), 1000)
        assert [layer.columns for layer in layers if isinstance(layer, LRNSpec)] == [blocks, blocks]


def test_normalization_after_pooling_changes_the_order_alone(compose: Compose) -> None:
    usual = [layer.name for layer in layer_specs(compose(), 10)]
    other = [layer.name for layer in layer_specs(compose("lrn.after_pooling=true"), 10)]
    assert usual[:4] == ["conv1", "conv1_relu", "lrn1", "pool1"]
    assert other[:4] == ["conv1", "conv1_relu", "pool1", "lrn1"] and sorted(other) == sorted(usual)


@pytest.mark.parametrize("columns", ["two", "one", "isolated"])
def test_gradient_of_a_column_b_logit_path(compose: Compose, columns: str) -> None:
    """Which maps of pool2 a map of conv3's first half listens to: all of them, or its own column's."""
    net = AlexNet(compose("scale=small", f"columns.kind={columns}"), num_classes=10, seed=0).eval()
    maps = net(torch.zeros(1, 3, 56, 56))
    assert maps.shape == (1, 10)
    pool2 = torch.randn(1, net.conv3.in_channels, 6, 6, requires_grad=True)
    half = net.conv3.out_channels // 2
    (grad,) = torch.autograd.grad(net.conv3(pool2)[:, :half].sum(), pool2)
    listens = grad.abs().sum(dim=(0, 2, 3)) > 0
    expected = torch.ones(len(listens), dtype=torch.bool)
    if columns == "isolated":
        expected[len(listens) // 2 :] = False
    assert torch.equal(listens, expected)


def test_initial_weights_and_biases(compose: Compose) -> None:
    net = AlexNet(
        compose("scale=small", "init.std_conv3_to_5=0.01", "init.preserve_gain=false"), num_classes=100, seed=0
    )
    for name, tensor in net.named_parameters():
        layer, _, kind = name.partition(".")
        if kind == "bias":
            assert tensor.unique().tolist() == [1.0 if layer in {"conv2", "conv4", "conv5", "fc6", "fc7"} else 0.0]
        else:
            # five standard errors of the estimated std
            assert abs(tensor.std().item() / 0.01 - 1) < 5 / (2 * tensor.numel()) ** 0.5
            assert abs(tensor.mean().item()) < 5 * 0.01 / tensor.numel() ** 0.5


def test_a_narrow_net_keeps_each_layers_gain(compose: Compose) -> None:
    def gains(scale: str) -> list[float]:
        layers = layer_specs(compose(f"scale={scale}"), 1000)
        return [layer.std**2 * layer.fan_in for layer in layers if isinstance(layer, ConvSpec | LinearSpec)]

    assert gains("small") == pytest.approx(gains("paper"))
    assert gains("cifar") == pytest.approx(gains("paper"))


def test_paper_scale_stands_in_one_form(compose: Compose) -> None:
    assert compose("scale=paper").scale == PAPER_SCALE


def test_variants_start_from_the_same_weights_where_they_share_a_layer(compose: Compose) -> None:
    base = AlexNet(compose("scale=small"), num_classes=10, seed=3).state_dict()
    without = AlexNet(compose("scale=small", "depth.remove=[4]"), num_classes=10, seed=3).state_dict()
    assert without.keys() == {name for name in base if not name.startswith("conv4")}
    for name, tensor in without.items():
        assert torch.equal(tensor, base[name])
    other = AlexNet(compose("scale=small"), num_classes=10, seed=4).state_dict()
    assert not torch.equal(other["conv1.weight"], base["conv1.weight"])


@pytest.mark.parametrize(
    ("scale", "toggle"),
    [
        ("small", "pooling.size=2"),
        ("cifar", "pooling.size=2"),
        ("cifar", "columns.kind=one"),
        ("cifar", "columns.kind=isolated"),
        ("cifar", "depth.sixth_conv=true"),
        ("cifar", "lrn.layers=[]"),
    ],
)
def test_every_toggle_runs_forward_and_backward(compose: Compose, scale: str, toggle: str) -> None:
    config = compose(f"scale={scale}", toggle)
    net = AlexNet(config, num_classes=7, seed=0)
    pools = [layer.size for layer in net.specs if isinstance(layer, PoolSpec)]
    assert pools[-1] >= 3
    logits = net(torch.randn(2, 3, config.scale.crop_size, config.scale.crop_size))
    logits.square().sum().backward()
    assert logits.shape == (2, 7)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_table_ends_with_the_total_and_fits_80_columns(compose: Compose) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(layer_table(layer_specs(compose("scale=paper"), 1000)))
    lines = [line for line in capture.get().splitlines() if line.strip()]
    assert lines[-1].split() == ["total", "60,965,224", "724,406,816"]
    assert not any("…" in line for line in lines)
    assert any(line.split()[:2] == ["conv1,", "relu"] and "11/4/0,3" in line for line in lines)
