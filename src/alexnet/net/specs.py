"""The layers of a network as data, and the sizes of their maps.

Sizes follow the 2012 source: maps round up, windows hang over the right and bottom edge.
"""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, kw_only=True)
class ConvSpec:
    """A convolution."""

    name: str
    in_channels: int
    channels: int
    kernel: int
    stride: int = 1
    pad_before: int
    """Zeros on the left and top, in pixels."""
    groups: int = 1
    in_size: int
    size: int
    std: float
    bias: float = 0.0

    @property
    def pad_after(self) -> int:
        """Zeros that the last window needs on the right and bottom; where negative, pixels that no window needs."""
        return (self.size - 1) * self.stride + self.kernel - self.in_size - self.pad_before

    @property
    def fan_in(self) -> int:
        return self.in_channels // self.groups * self.kernel**2


@dataclass(frozen=True, kw_only=True)
class LocalSpec:
    """A locally connected layer: a convolution at stride 1 with separate kernels and biases at each position."""

    name: str
    in_channels: int
    channels: int
    kernel: int
    padding: int
    """Zeros on each side, in pixels."""
    size: int
    std: float
    bias: float = 0.0

    @property
    def fan_in(self) -> int:
        return self.in_channels * self.kernel**2


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
class LinearSpec:
    """A fully connected layer; with two groups each column sees its own half of the inputs."""

    name: str
    inputs: int
    channels: int
    """Units: each is a map of a single pixel."""
    size: int = 1
    groups: int = 1
    std: float
    bias: float = 0.0

    @property
    def fan_in(self) -> int:
        return self.inputs // self.groups


@dataclass(frozen=True, kw_only=True)
class DropoutSpec:
    name: str
    probability: float


Parametric = ConvSpec | LocalSpec | LinearSpec
"""Layers with parameters."""
Layer = Parametric | ActivationSpec | LRNSpec | WithinChannelLRNSpec | PoolSpec | DropoutSpec


def convolved_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Side of the maps of a convolution over maps of side `size`."""
    return 1 + ceil((2 * padding + size - kernel) / stride)


def pooled_size(size: int, kernel: int, stride: int) -> int:
    """Side of the maps of a pooling layer over maps of side `size`."""
    return 1 + ceil((size - kernel) / stride) if size >= kernel else 1


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
