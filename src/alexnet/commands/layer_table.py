"""The layer table of a planned network: maps, kernels, parameters and multiply-adds."""

from rich.box import SIMPLE
from rich.table import Table

from alexnet.net.specs import (
    ActivationSpec,
    Conv,
    DropoutSpec,
    Layer,
    LinearSpec,
    LocalSpec,
    LRNSpec,
    Pool,
    WithinChannelLRNSpec,
)


def parameters(layer: Layer) -> int:
    """Weights and biases of a layer."""
    match layer:
        case Conv():
            return layer.maps * (layer.fan_in + 1)
        case LocalSpec():
            return layer.maps * layer.size**2 * (layer.fan_in + 1)
        case LinearSpec():
            return layer.units * (layer.fan_in + 1)
        case _:
            return 0


def multiply_adds(layer: Layer) -> int:
    """Multiplications with an addition that one image costs in the forward pass; biases not counted."""
    match layer:
        case Conv() | LocalSpec():
            return layer.maps * layer.size**2 * layer.fan_in
        case LinearSpec():
            return layer.units * layer.fan_in
        case _:
            return 0


def total_parameters(layers: tuple[Layer, ...]) -> int:
    return sum(parameters(layer) for layer in layers)


def layer_table(layers: tuple[Layer, ...]) -> Table:
    """One row a layer, totals last; non-linearities are named beside the layer that they follow.

    Pooling is by the maximum unless the row says otherwise. A window is kernel/stride/padding: left and top and, where
    they differ, right and bottom (negative: cut off).
    """
    table = Table("layer", "window", "groups", "output", "parameters", "mult-adds", show_footer=True)
    table.box, table.padding = SIMPLE, (0, 1, 0, 0)  # 80 columns hold it
    for column in table.columns[1:]:
        column.justify = "right"
    for position, layer in enumerate(layers):
        if not isinstance(layer, ActivationSpec):
            follower = layers[position + 1] if position + 1 < len(layers) else None
            table.add_row(*_cells(layer, follower.function if isinstance(follower, ActivationSpec) else None))
    table.columns[0].footer = "total"
    table.columns[4].footer = f"{total_parameters(layers):,}"
    table.columns[5].footer = f"{sum(multiply_adds(layer) for layer in layers):,}"
    return table


def _cells(layer: Layer, activation: str | None) -> tuple[str, ...]:
    average = " (average)" if isinstance(layer, Pool) and layer.kind == "average" else ""
    name = f"{layer.name}{average}, {activation}" if activation else f"{layer.name}{average}"
    counts = (_count(parameters(layer)), _count(multiply_adds(layer)))
    match layer:
        case Conv():
            padding = f"{layer.before}" if layer.before == layer.after else f"{layer.before},{layer.after}"
            window = f"{layer.kernel}/{layer.stride}/{padding}"
            return (name, window, str(layer.groups), _maps(layer.maps, layer.size), *counts)
        case LocalSpec():
            return (name, f"{layer.kernel}/1/{layer.padding}", "", _maps(layer.maps, layer.size), *counts)
        case Pool():
            return (name, f"{layer.kernel}/{layer.stride}/0", "", _maps(layer.maps, layer.size), *counts)
        case LRNSpec():
            return (name, "", str(layer.columns), "", *counts)
        case WithinChannelLRNSpec():
            return (name, "", "", "", *counts)
        case LinearSpec():
            return (name, "", str(layer.groups), f"{layer.units}", *counts)
        case DropoutSpec():
            return (name, f"p = {layer.probability:g}", "", "", *counts)
        case ActivationSpec():
            raise AssertionError("non-linearities share the row of the layer that they follow")


def _maps(maps: int, size: int) -> str:
    return f"{maps} x {size} x {size}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
