"""The two halves of a network as data: layers and exchanges of two devices, and weights by column.

Section 3.2: "puts half of the kernels (or neurons) on each GPU, with one additional trick: the GPUs communicate only in
certain layers". Every layer's maps, units or classes are halved. A layer in two blocks (`groups`) reads what its own
device made; one in a single block reads both halves, which the devices exchange below it. Both read the image, and
both get all logits, so that each knows the loss.

In files, weights can have a tensor for each column, as the two devices of 2012 held them: `conv2.weight` becomes
`conv2a.weight` and `conv2b.weight`. A layer that reads both columns has the inputs of column a first in both tensors.
The classifier, which was on one device, stays whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alexnet.config.schema import Config
from alexnet.config.values import ALEXNET, TWO_COLUMNS
from alexnet.errors import UserError
from alexnet.net.specs import ConvSpec, DropoutSpec, Layer, LinearSpec, LRNSpec, Parametric, PoolSpec
from alexnet.parts import shard_of

if TYPE_CHECKING:
    from torch import Tensor

DEVICES = 2
COLUMNS = ("a", "b")
"""Suffixes of the columns' tensors, as in the authors' layer files."""
LOSS = "loss"
"""Reads all logits as a layer would."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What the devices exchange below a layer that reads both halves."""

    reader: str
    numel: int
    """Numbers per image, both halves together; each is sent once."""
    backward: bool
    """Whether gradients come back: each half's from the device that does not hold it. Both compute that of the loss."""

    def bytes_forward(self, itemsize: int) -> int:
        """Return the bytes that both devices send per image, in numbers of `itemsize` bytes."""
        return self.numel * itemsize

    def bytes_backward(self, itemsize: int) -> int:
        """Return the same for the gradients."""
        return self.numel * itemsize if self.backward else 0


def check_two_devices(config: Config) -> None:
    """Raise a UserError if a net cannot be halved."""
    if config.architecture.name != ALEXNET:
        raise UserError(
            f"devices=model_parallel puts a column on each device, and architecture={config.architecture.name} has one"
            " column: add devices=single"
        )
    if config.columns.kind not in TWO_COLUMNS:
        raise UserError(
            f"devices=model_parallel puts a column on each device, and columns={config.columns.kind} has one: choose"
            " columns=two or columns=isolated, or add devices=single"
        )
    if config.lrn.across_columns:
        raise UserError(
            "devices=model_parallel normalizes each column where it is: lrn.across_columns=true needs devices=single"
        )


def exchanges(layers: tuple[Layer, ...]) -> tuple[Exchange, ...]:
    """List the exchanges from the image to the loss.

    Every parametric layer but the first reads both halves unless it is in two blocks.
    """
    weighted = [layer for layer in layers if isinstance(layer, Parametric)]
    readers = (layer for layer in weighted[1:] if layer.groups == 1)
    below = [Exchange(reader=layer.name, numel=layer.inputs, backward=True) for layer in readers]
    return (*below, Exchange(reader=LOSS, numel=weighted[-1].channels, backward=False))


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


def check_two_columns(config: Config) -> None:
    """Raise a UserError if a net has one column."""
    if config.columns.kind not in TWO_COLUMNS:
        raise UserError("the net has one column: its weights have no two-column layout")


def to_columns(tensors: Mapping[str, "Tensor"], layers: Iterable[Layer]) -> dict[str, "Tensor"]:
    """Divide weights and biases by column; other tensors stay as they are."""
    divided = _divided(layers)
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, _, kind = name.partition(".")
        if layer in divided:
            halves = value.chunk(2)  # outputs come first
            result |= {f"{layer}{column}.{kind}": half for column, half in zip(COLUMNS, halves, strict=True)}
        else:
            result[name] = value
    return result


def from_columns(tensors: Mapping[str, "Tensor"], layers: Iterable[Layer]) -> dict[str, "Tensor"]:
    """Invert `to_columns`; KeyError if a column lacks a tensor."""
    import torch  # `alexnet describe` needs this module without it

    result = dict(tensors)
    for layer in _divided(layers):
        for kind in ("weight", "bias"):
            result[f"{layer}.{kind}"] = torch.cat([result.pop(f"{layer}{column}.{kind}") for column in COLUMNS])
    return result


def _divided(layers: Iterable[Layer]) -> list[str]:
    """Name the layers that are divided between the columns: the parametric ones but the classifier."""
    return [layer.name for layer in layers if isinstance(layer, Parametric)][:-1]
