"""The network as data: configuration -> a tuple of layers with every size worked out.

`net.alexnet` builds these layers and `alexnet describe` prints them. Sizes follow the 2012 source: map sizes round up,
and windows extend over the right and bottom edges (layer.py and layers-145.cfg of the authors' release).
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import sqrt

from alexnet.config.schema import Config
from alexnet.config.values import ALEXNET, CONV_LAYERS, POOLED, TWO_COLUMNS, ScaleConfig
from alexnet.errors import UserError, did_you_mean
from alexnet.net import specs
from alexnet.net.cifar import cifar_layers
from alexnet.net.specs import Layer, Parametric, convolved_size, pool_spec, pooled_size

PAPER_SCALE = ScaleConfig(
    image_size=256,
    crop_size=224,
    conv1_kernel=11,
    conv1_stride=4,
    conv1_padding=0,
    channels=[96, 256, 384, 384, 256],
    fc_width=4096,
)
"""The paper's sizes (section 3.5): the fan-ins that initial weights refer to."""

KERNELS = {2: 5, 3: 3, 4: 3, 5: 3, 6: 3}
"""Kernel sides of conv2 to conv5 (section 3.5) and of the sixth convolution; conv1's depends on the scale."""
BIASED = (2, 4, 5, 6)
"""Convolutions whose neurons start with a positive bias (section 5; conv6 as in layers-146)."""
MOST_PARAMETERS = 10**12
PAPER_POOL = (3, 2)
"""Side and stride of the paper's pooling windows (section 3.4), which fix the map sizes of every variant."""


def layer_specs(config: Config, num_classes: int) -> tuple[Layer, ...]:
    """Lay out the network of a configuration, from pixels to logits; UserError if its crops are too small."""
    lay_out = _alexnet if config.architecture.name == ALEXNET else cifar_layers
    layers = tuple(lay_out(config, num_classes))
    _check_layer_names(config, layers)
    if (count := specs.total_parameters(layers)) > MOST_PARAMETERS:
        raise UserError(f"the network would have {count:,} parameters: choose a smaller scale")
    return layers


def _check_layer_names(config: Config, layers: tuple[Layer, ...]) -> None:
    names = [layer.name for layer in layers if isinstance(layer, Parametric)]
    named = {
        "optimizer.weight_decay_multipliers": config.optimizer.weight_decay_multipliers,
        "optimizer.lr_multipliers": config.optimizer.lr_multipliers,
        "pretrained.reinit": config.pretrained.reinit,
    }
    for key, layers_of_key in named.items():
        for name in layers_of_key:
            if name not in names:
                raise UserError(f"{key}: there is no layer {name}{did_you_mean(name, names)}")


def _alexnet(config: Config, num_classes: int) -> Iterator[Layer]:
    layers = _layers(config, num_classes)
    if not config.init.preserve_gain:
        return layers
    # The two plans differ only in scale, so their layers correspond one to one in every variant.
    return map(_keep_gain, layers, _layers(replace(config, scale=PAPER_SCALE), num_classes))


def _keep_gain(layer: Layer, paper: Layer) -> Layer:
    """Scale a layer's std so that it passes on as much signal as its original at the paper's fan-in."""
    if isinstance(layer, Parametric):
        assert isinstance(paper, Parametric)
        return replace(layer, std=layer.std * sqrt(paper.fan_in / layer.fan_in))
    return layer


def _layers(config: Config, num_classes: int) -> Iterator[Layer]:
    channels, size = 3, config.scale.crop_size
    convs = [number for number in CONV_LAYERS if number not in config.depth.remove]
    convs += [6] if config.depth.sixth_conv else []
    for number, following in pairwise([*convs, 7]):
        # The pooling after a removed layer stays: it moves behind the layer before.
        is_first = number == convs[0]
        pools = [pooled for pooled in POOLED if (is_first or number <= pooled) and pooled < following]
        conv = _conv(config, number, channels, size, is_first=is_first, pools=pools)
        channels, size = conv.channels, conv.size
        yield conv
        activate = specs.ActivationSpec(name=f"conv{number}_{config.activation.name}", function=config.activation.name)
        if number not in config.relu_position.after_pooling:
            yield activate
        if not config.lrn.after_pooling:
            yield from _norms(config, number)
        for pooled in pools:
            pool = pool_spec(config, f"pool{pooled}", "max", below=conv.name, channels=channels, size=size)
            yield pool
            size = pool.size
        if number in config.relu_position.after_pooling:
            yield activate
        if config.lrn.after_pooling:
            yield from _norms(config, number)
    yield from _classifier(config, channels * size**2, num_classes)


def _norms(config: Config, number: int) -> Iterator[Layer]:
    """Yield the layers that normalize a convolution's output: between maps, then within each."""
    if number in config.lrn.layers:
        in_columns = config.columns.kind in TWO_COLUMNS and not config.lrn.across_columns
        yield specs.LRNSpec(name=f"lrn{number}", columns=2 if in_columns else 1)
    if number in config.within_channel_lrn.layers:
        yield specs.WithinChannelLRNSpec(name=f"within_channel_lrn{number}")


def _conv(
    config: Config, number: int, in_channels: int, in_size: int, *, is_first: bool, pools: list[int]
) -> specs.ConvSpec:
    scale = config.scale
    kernel = scale.conv1_kernel if number == 1 else KERNELS[number]
    stride = scale.conv1_stride if is_first else 1
    if is_first:
        pad_before, size = scale.conv1_padding, _reference_sizes(scale)["conv1"]
    else:
        pad_before = _padding(config, kernel, in_size, pools)
        size = convolved_size(in_size, kernel, stride, pad_before)
    if size < 1:
        raise UserError(f"scale.crop_size={scale.crop_size} leaves no pixels for conv{number}: use larger crops")
    return specs.ConvSpec(
        name=f"conv{number}",
        in_channels=in_channels,
        channels=_channels(config, number),
        kernel=kernel,
        stride=stride,
        pad_before=pad_before,
        groups=1 if is_first else _groups(config, number),
        in_size=in_size,
        size=size,
        std=config.init.std_conv3_to_5 if number in (3, 4, 5, 6) else config.init.std,
        bias=config.init.bias if number in BIASED else 0.0,
    )


def _channels(config: Config, number: int) -> int:
    channels = config.scale.channels[min(number, 5) - 1]
    if config.columns.kind == "one" and number <= 4:
        return channels // 2  # footnote 2 of the paper: conv5 and the fully connected layers keep their width
    if config.columns.kind == "isolated" and number == 2:
        return channels * 5 // 4  # net 150 widens conv2 from 128 to 160 maps a column, to keep the parameter count
    return channels


def _groups(config: Config, number: int) -> int:
    """Return the number of groups of a convolution (section 3.2 and Figure 2)."""
    if config.columns.kind not in TWO_COLUMNS:
        return 1
    if config.columns.kind == "isolated":
        return 2
    # The columns exchange their maps below layer 3; without it, the next layer does so.
    exchanging = {3, 6} if 3 not in config.depth.remove else {4, 6}
    return 1 if number in exchanging else 2


def _padding(config: Config, kernel: int, in_size: int, pools: list[int]) -> int:
    """Return the widest padding, at most `kernel // 2`, with which the next pooling yields maps of the paper's size.

    Pooling windows other than the paper's leave maps a pixel larger or smaller. As in the authors' net 147, the
    convolution before makes up the difference (conv2's padding 2 -> 1, conv5's 1 -> 0), so that fc6 is unchanged.
    """
    same = kernel // 2
    if not pools:
        return same
    target = _reference_sizes(config.scale)[f"pool{pools[-1]}"]
    for padding in range(same, -1, -1):
        size = convolved_size(in_size, kernel, 1, padding)
        for _ in pools:
            size = pooled_size(size, config.pooling.size, config.pooling.stride)
        if size == target:
            return padding
    return same


def _reference_sizes(scale: ScaleConfig) -> dict[str, int]:
    """Return the map sizes of the paper's network at this scale: 55, 27, 13 and 6 on 224 pixels."""
    conv1 = convolved_size(scale.crop_size, scale.conv1_kernel, scale.conv1_stride, scale.conv1_padding)
    pool1 = pooled_size(conv1, *PAPER_POOL)
    pool2 = pooled_size(pool1, *PAPER_POOL)
    return {"conv1": conv1, "pool1": pool1, "pool2": pool2, "pool5": pooled_size(pool2, *PAPER_POOL)}


def _classifier(config: Config, features: int, num_classes: int) -> Iterator[Layer]:
    init, hidden = config.init, config.scale.fc_width
    isolated = config.columns.kind == "isolated"
    # Net 150: each column has an fc6 as wide as the whole layer of the paper's net, and half of fc7.
    for number, units in ((6, 2 * hidden if isolated else hidden), (7, hidden)):
        name, groups = f"fc{number}", 2 if isolated else 1
        yield specs.LinearSpec(
            name=name, in_channels=features, channels=units, groups=groups, std=init.std, bias=init.bias
        )
        yield specs.ActivationSpec(name=f"{name}_{config.activation.name}", function=config.activation.name)
        if number in config.dropout.layers:
            probability = config.dropout.probability
            yield specs.DropoutSpec(name=f"dropout{number}", probability=probability, layer=name, units=units)
        features = units
    if config.classifier.bottleneck:
        # Net 146-2011: two layers of 1024, one a column, but each reads both halves of fc7: together one of 2048.
        yield specs.LinearSpec(name="bottleneck", in_channels=features, channels=hidden // 2, std=init.std)
        features = hidden // 2
    yield specs.LinearSpec(name="fc8", in_channels=features, channels=num_classes, std=init.std)
