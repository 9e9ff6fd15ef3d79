"""The network on two devices, as data: the half of every layer that each holds, and what they hand each other.

Section 3.2: "puts half of the kernels (or neurons) on each GPU, with one additional trick: the GPUs communicate only in
certain layers". Every layer's maps, units or classes are halved. A layer in two blocks (`groups`) reads what its own
device made; one in a single block reads both halves, which the devices exchange below it. Both read the image, and
both get all logits, so that each knows the loss.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from alexnet.config.schema import ALEXNET, Config
from alexnet.errors import UserError
from alexnet.net.specs import Conv, DropoutSpec, Layer, LinearSpec, LocalSpec, LRNSpec, Parametric, Pool
from alexnet.parts import Shard, shard_of

DEVICES = 2
LOSS = "loss"
"""Reads all logits as a layer would."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What the devices hand each other below a layer that reads both halves."""

    reader: str
    numbers: int
    """Of one image, both halves together: each is sent once."""
    backward: bool
    """Whether gradients come back: each half's from the device that does not hold it. Both compute that of the loss."""

    def bytes_forward(self, itemsize: int) -> int:
        """Sent for one image by both devices together, in numbers of `itemsize` bytes."""
        return self.numbers * itemsize

    def bytes_backward(self, itemsize: int) -> int:
        """The same for the gradients."""
        return self.numbers * itemsize if self.backward else 0


def check_two_devices(config: Config) -> None:
    """Refuse a net that cannot be halved; UserError."""
    if config.architecture.name != ALEXNET:
        raise UserError(
            f"devices=model_parallel puts a column on each device, and architecture={config.architecture.name} has one"
            " column: add devices=single"
        )
    if config.columns.kind == "one":
        raise UserError(
            "devices=model_parallel puts a column on each device, and columns=one has one: choose columns=two or"
            " columns=isolated, or add devices=single"
        )
    if config.lrn.layers and config.lrn.across_columns:
        raise UserError(
            "devices=model_parallel normalises each column where it is: lrn.across_columns=true needs devices=single"
        )


def exchanges(layers: tuple[Layer, ...]) -> tuple[Exchange, ...]:
    """Where the devices communicate, from the image to the loss.

    Every layer with weights but the first reads both halves unless it is in two blocks.
    """
    return (*_below_layers(layers), Exchange(reader=LOSS, numbers=outputs(layers[-1]), backward=False))


def _below_layers(layers: tuple[Layer, ...]) -> Iterator[Exchange]:
    weighted = [layer for layer in layers if isinstance(layer, Parametric)]
    for layer in weighted[1:]:
        match layer:
            case Conv(groups=1):
                yield Exchange(reader=layer.name, numbers=layer.in_maps * layer.in_size**2, backward=True)
            case LinearSpec(groups=1):
                yield Exchange(reader=layer.name, numbers=layer.inputs, backward=True)


def outputs(layer: Layer) -> int:
    """Maps, units or classes of a layer with weights."""
    match layer:
        case Conv() | LocalSpec():
            return layer.maps
        case LinearSpec():
            return layer.units
        case _:
            raise AssertionError(f"{layer.name} has no outputs of its own")


def everywhere(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The same layers, each reading both halves: the network that would communicate below every one."""
    return tuple(replace(layer, groups=1) if isinstance(layer, Conv | LinearSpec) else layer for layer in layers)


def half(layer: Layer, *, device: int) -> Layer:
    """What one device holds of a layer; those without maps or units of their own are the same on both."""
    match layer:
        case Conv():
            maps = shard_of(layer.maps, index=device, parts=DEVICES).count
            return replace(layer, maps=maps, in_maps=layer.in_maps // layer.groups, groups=1)
        case LinearSpec():
            units = shard_of(layer.units, index=device, parts=DEVICES).count
            return replace(layer, units=units, inputs=layer.inputs // layer.groups, groups=1)
        case Pool():
            return replace(layer, maps=shard_of(layer.maps, index=device, parts=DEVICES).count)
        case LRNSpec():
            assert layer.columns == DEVICES, "a window that crosses columns is refused by check_two_devices"
            return replace(layer, columns=1)
        case _:
            return layer


def dropped_units(layers: tuple[Layer, ...], *, device: int) -> dict[str, Shard]:
    """Which units each dropout masks on a device, of those that the layer below has on both."""
    weighted = (layer for layer in layers if isinstance(layer, Parametric | DropoutSpec))
    return {
        layer.name: shard_of(outputs(below), index=device, parts=DEVICES)
        for below, layer in pairwise(weighted)
        if isinstance(layer, DropoutSpec)
    }
