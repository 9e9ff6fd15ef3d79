"""The CIFAR-10 nets of the authors' own software, as data: configuration -> a tuple of layers.

Order, sizes and initial weights are those of its layer definitions (cuda-convnet, `example-layers`, July 2012), whose
layers fc64 and fc10 are numbered here like all others. Every bias starts at 0. Convolutions and local layers keep the
size of their maps; pooling windows are the configuration's, in the released nets 3 pixels wide and 2 apart. The
configuration also says which convolutions are normalized, and how: `lrn.layers=[]` in all nets but the 11 % ones.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from alexnet.config.schema import Config
from alexnet.net.specs import ActivationSpec, ConvSpec, Layer, LinearSpec, LocalSpec, LRNSpec, pool_spec


class Step(NamedTuple):
    """One layer of a net, before the sizes of its inputs are known."""

    kind: str
    """`conv` 5 x 5, `local` 3 x 3, `full`, `classify`, `max` and `average` pooling, `activate`, or `normalize`."""
    channels: int = 0
    """Kernels or units, where the layer has weights."""
    std: float = 0.0
    """Standard deviation of the initial weights."""


ACTIVATE, MAX, AVERAGE = Step("activate"), Step("max"), Step("average")
NORMALIZE = Step("normalize")
"""Position of response normalization, if the configuration normalizes the convolution before it."""

# In front of pool1's non-linearity there is no norm in any release; section 3.3 puts it behind the non-linearity.
CONV1 = (Step("conv", 32, 1e-4), MAX, ACTIVATE, NORMALIZE)
CONV2 = (Step("conv", 32, 0.01), ACTIVATE, NORMALIZE, AVERAGE)
CONV3 = (Step("conv", 64, 0.01), ACTIVATE, AVERAGE)
WIDE_CONV1 = Step("conv", 64, 1e-4)
WIDE_CONV2 = (Step("conv", 64, 0.01), ACTIVATE, NORMALIZE, MAX)
LOCAL = (Step("local", 32, 0.04), ACTIVATE)
WIDE_LOCAL = (Step("local", 64, 0.04), ACTIVATE)

NETS = {
    "cifar_80sec": (*CONV1, *CONV2, *CONV3, Step("full", 64, 0.1), ACTIVATE, Step("classify", std=0.1)),
    "cifar_19pct": (*CONV1, *CONV2, *CONV3, Step("classify", std=0.01)),
    # Normalized over conv1 before it is pooled, as in the 11 % net's first version (revision 3878e8f).
    "cifar_13pct": (
        *(WIDE_CONV1, ACTIVATE, NORMALIZE, MAX),
        *(*WIDE_CONV2, *LOCAL, *LOCAL),
        Step("classify", std=0.01),
    ),
    "cifar_11pct": (
        *(WIDE_CONV1, ACTIVATE, MAX, NORMALIZE),
        *(*WIDE_CONV2, *WIDE_LOCAL, *LOCAL),
        Step("classify", std=0.01),
    ),
}
"""Layers in order, by `architecture.name`."""


def cifar_layers(config: Config, num_classes: int) -> Iterator[Layer]:
    """Lay out the configured net, from crops of `scale.crop_size` pixels to logits."""
    channels, size, number = 3, config.scale.crop_size, 0
    for step in NETS[config.architecture.name]:
        number += step.std > 0  # it has weights
        name = f"{step.kind}{number}"
        spatial: dict[str, Any] = {"in_channels": channels, "channels": step.channels, "in_size": size, "size": size}
        match step.kind:
            case "conv":
                yield ConvSpec(name=name, kernel=5, pad_before=2, std=step.std, **spatial)
                channels = step.channels
            case "local":
                yield LocalSpec(name=name, kernel=3, std=step.std, **spatial)
                channels = step.channels
            case "full" | "classify":
                units = step.channels or num_classes
                # A full layer reads every pixel of the maps below it; its own output is one pixel.
                yield LinearSpec(name=f"fc{number}", in_channels=channels * size**2, channels=units, std=step.std)
                channels, size = units, 1
            case "max" | "average":
                below = f"conv{number}"
                pool = pool_spec(config, f"pool{number}", step.kind, below=below, channels=channels, size=size)
                yield pool
                size = pool.size
            case "activate":
                yield ActivationSpec(name=f"act{number}_{config.activation.name}", function=config.activation.name)
            case "normalize":
                if number in config.lrn.layers:
                    yield LRNSpec(name=f"lrn{number}", columns=1)
