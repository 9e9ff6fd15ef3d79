"""AlexNet, every variant of it, and the CIFAR-10 nets: one class, built from its plan."""

from collections import OrderedDict

import torch
from torch import nn

from alexnet.config.schema import Config
from alexnet.net import specs
from alexnet.net.dropout import NonInvertedDropout
from alexnet.net.layers import ACTIVATIONS, CeilModeConv2d, GroupedLinear, LocallyConnected2d, initialize
from alexnet.net.lrn import LayerStack, LocalResponseNorm, WithinChannelLRN
from alexnet.net.plan import layer_specs
from alexnet.net.specs import Layer, Parametric


class AlexNet(LayerStack):
    """Pixels to logits: float [N, 3, S, S], 0-255 minus the mean image, to float [N, num_classes].

    Parameters are named after their layer (`conv1.weight`, `fc6.bias`). In every two-column layer the maps of
    column a come first, those of column b second. Weights are drawn by `seed`, each from its layer's name and its place
    there (`alexnet.philox`), so that two variants with one seed start from the same values wherever they have the same
    layer. Without a seed they are left to be loaded.

    Raises:
        UserError: the input is too small for the layers.
    """

    def __init__(self, config: Config, *, num_classes: int, seed: int | None) -> None:
        layers = layer_specs(config, num_classes)
        super().__init__(modules(layers, config))
        self.specs = layers
        for layer in layers:
            if isinstance(layer, Parametric) and seed is not None:
                initialize(self, layer, seed)
        # Convolutions and pooling run faster with the maps of a pixel side by side, on CPUs and on tensor cores.
        self.to(memory_format=torch.channels_last)


def modules(layers: tuple[Layer, ...], config: Config) -> OrderedDict[str, nn.Module]:
    """The layers of a plan by name, ready to be drawn or filled, with a flattening one below the first full layer."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in layers:
        if isinstance(layer, specs.LinearSpec):
            modules.setdefault("flatten", nn.Flatten())
        modules[layer.name] = _module(layer, config)
    return modules


def _module(layer: Layer, config: Config) -> nn.Module:
    match layer:
        case specs.ConvSpec():
            return CeilModeConv2d(layer)
        case specs.LocalSpec():
            return LocallyConnected2d(layer.in_channels, layer.channels, kernel=layer.kernel, size=layer.size)
        case specs.ActivationSpec():
            return ACTIVATIONS[layer.function]()
        case specs.LRNSpec():
            lrn = config.lrn
            # The source divides alpha by the window size when it reads its parameter file; the paper does not.
            alpha = lrn.alpha / lrn.size if lrn.divide_alpha else lrn.alpha
            return LocalResponseNorm(columns=layer.columns, size=lrn.size, k=lrn.k, alpha=alpha, beta=lrn.beta)
        case specs.WithinChannelLRNSpec():
            norm = config.within_channel_lrn
            return WithinChannelLRN(size=norm.size, alpha=norm.alpha / norm.size**2, beta=norm.beta)
        case specs.PoolSpec():
            # ceil_mode: the last window is clipped at the border, as in the 2012 source; an average is that of the
            # pixels that are left.
            pooling = nn.MaxPool2d if layer.kind == "max" else nn.AvgPool2d
            return pooling(layer.kernel, layer.stride, ceil_mode=True)
        case specs.LinearSpec():
            return GroupedLinear(layer.in_channels, layer.channels, groups=layer.groups)
        case specs.DropoutSpec():
            return NonInvertedDropout(
                layer.probability, seed=config.seed, layer=layer.layer, first_unit=layer.first_unit
            )
