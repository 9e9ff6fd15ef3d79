"""The two halves of a network as data: layers and exchanges of two devices.

Section 3.2: "puts half of the kernels (or neurons) on each GPU, with one additional trick: the GPUs communicate only in
certain layers". Every layer's maps, units or classes are halved. A layer in two blocks (`groups`) reads what its own
device made; one in a single block reads both halves, which the devices exchange below it. Both read the image, and
both get all logits, so that each knows the loss.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from alexnet.config.schema import Config
from alexnet.config.values import ALEXNET, TWO_COLUMNS
from alexnet.errors import UserError
from alexnet.net.specs import ConvSpec, DropoutSpec, Layer, LinearSpec, LRNSpec, Parametric, PoolSpec
from alexnet.sharding import shard_of

DEVICES = 2
LOSS = "loss"
"""Reads all logits as a layer would."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What the devices exchange below a layer that reads both halves."""

    reader: str
    forward: int
    """Numbers per image, both halves together; each is sent once."""
    backward: int
    """Gradients per image that come back: each half's from the device that does not hold it. 0 for the loss, whose
    gradient both compute."""


def check_two_devices(config: Config) -> None:
    """Raise a UserError if a net cannot be halved."""
    places = "devices=model_parallel puts a column on each device, and"
    if (net := config.architecture.name) != ALEXNET:
        raise UserError(f"{places} architecture={net} has one column: add devices=single")
    if (kind := config.columns.kind) not in TWO_COLUMNS:
        ways = "choose columns=two or columns=isolated, or add devices=single"
        raise UserError(f"{places} columns={kind} has one: {ways}")
    if config.lrn.across_columns:
        what = "devices=model_parallel normalizes each column where it is"
        raise UserError(f"{what}: lrn.across_columns=true needs devices=single")


def exchanges(layers: tuple[Layer, ...]) -> tuple[Exchange, ...]:
    """List the exchanges from the image to the loss.

    Every parametric layer but the first reads both halves unless it is in two blocks.
    """
    weighted = [layer for layer in layers if isinstance(layer, Parametric)]
    readers = (layer for layer in weighted[1:] if layer.groups == 1)
    below = [Exchange(reader=layer.name, forward=layer.inputs, backward=layer.inputs) for layer in readers]
    return (*below, Exchange(reader=LOSS, forward=weighted[-1].channels, backward=0))


def everywhere(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a network that would communicate below every one."""
    return tuple(replace(layer, groups=1) if isinstance(layer, Parametric) else layer for layer in layers)


def half(layer: Layer, *, device: int) -> Layer:
    """Return what one device holds of a layer; layers without channels or units are the same on both."""

    def own(channels: int) -> int:
        return shard_of(channels, index=device, parts=DEVICES).count

    match layer:
        case ConvSpec() | LinearSpec():
            return replace(layer, channels=own(layer.channels), in_channels=layer.in_channels // layer.groups, groups=1)
        case PoolSpec():
            return replace(layer, channels=own(layer.channels))
        case LRNSpec():
            assert layer.columns == DEVICES, "a window that crosses columns is refused by check_two_devices"
            return replace(layer, columns=1)
        case DropoutSpec():
            shard = shard_of(layer.units, index=device, parts=DEVICES)
            return replace(layer, units=shard.count, first_unit=shard.first)
        case _:
            return layer
