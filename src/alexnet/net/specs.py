"""The layers of a network as data, and the sizes of their maps.

Sizes follow the 2012 source: maps round up, windows hang over the right and bottom edge.
"""

from dataclasses import dataclass
from math import ceil

from alexnet.config.schema import Config
from alexnet.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Parametric:
    """A layer with parameters. Units are maps of a single pixel."""

    name: str
    in_channels: int
    channels: int
    in_size: int = 1
    """Side of the maps that it reads, in pixels."""
    size: int = 1
    kernel: int = 1
    groups: int = 1
    std: float
    bias: float = 0.0

    @property
    def inputs(self) -> int:
        """Numbers that it reads of an image."""
        return self.in_channels * self.in_size**2

    @property
    def fan_in(self) -> int:
        return self.in_channels // self.groups * self.kernel**2


@dataclass(frozen=True, kw_only=True)
class ConvSpec(Parametric):
    """A convolution."""

    stride: int = 1
    pad_before: int
    """Zeros on the left and top, in pixels."""

    @property
    def pad_after(self) -> int:
        """Zeros that the last window needs on the right and bottom; where negative, pixels that no window needs."""
        return (self.size - 1) * self.stride + self.kernel - self.in_size - self.pad_before


@dataclass(frozen=True, kw_only=True)
class LocalSpec(Parametric):
    """A locally connected layer: a convolution that keeps the size of its maps, with kernels and biases for each
    position."""


@dataclass(frozen=True, kw_only=True)
class LinearSpec(Parametric):
    """A fully connected layer; with two groups each column sees its own half of the inputs."""


@dataclass(frozen=True, kw_only=True)
class ActivationSpec:
    name: str
    function: str


@dataclass(frozen=True, kw_only=True)
class LRNSpec:
    """Response normalization between the maps of each column."""

    name: str
    columns: int


@dataclass(frozen=True, kw_only=True)
class WithinChannelLRNSpec:
    """Response normalization between the pixels of each map."""

    name: str


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """Pooling without padding; windows are clipped at the right and bottom border."""

    name: str
    kind: str
    """`max` or `average`"""
    kernel: int
    stride: int
    size: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class DropoutSpec:
    name: str
    probability: float
    layer: str
    """The one whose units are dropped."""
    units: int
    first_unit: int = 0
    """Their place among all units of that layer."""


Layer = ConvSpec | LocalSpec | LinearSpec | ActivationSpec | LRNSpec | WithinChannelLRNSpec | PoolSpec | DropoutSpec


def convolved_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Side of the maps of a convolution over maps of side `size`."""
    return 1 + ceil((2 * padding + size - kernel) / stride)


def pooled_size(size: int, kernel: int, stride: int) -> int:
    """Side of the maps of a pooling layer over maps of side `size`."""
    return 1 + ceil((size - kernel) / stride) if size >= kernel else 1


def pool_spec(config: Config, name: str, kind: str, *, below: str, channels: int, size: int) -> PoolSpec:
    """Return the configured pooling of maps of side `size`; UserError if no window would begin on them."""
    kernel, stride = config.pooling.size, config.pooling.stride
    if kernel - size >= stride:
        raise UserError(
            f"pooling.size={kernel} is larger than the {size} x {size} map of {below} at"
            f" scale.crop_size={config.scale.crop_size}: use smaller windows"
        )
    size = pooled_size(size, kernel, stride)
    return PoolSpec(name=name, kind=kind, kernel=kernel, stride=stride, size=size, channels=channels)


def parameters(layer: Layer) -> int:
    """Count a layer's weights and biases."""
    if not isinstance(layer, Parametric):
        return 0
    positions = layer.size**2 if isinstance(layer, LocalSpec) else 1
    return positions * layer.channels * (layer.fan_in + 1)


def multiply_adds(layer: Layer) -> int:
    """Count the multiply-adds of one image's forward pass, without biases."""
    return layer.channels * layer.size**2 * layer.fan_in if isinstance(layer, Parametric) else 0


def total_parameters(layers: tuple[Layer, ...]) -> int:
    return sum(parameters(layer) for layer in layers)
