"""`alexnet describe`: the layers of any configuration, and what two devices exchange between them."""

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from alexnet.config.compose import searched
from alexnet.config.job import check
from alexnet.config.schema import Config
from alexnet.config.values import TWO_COLUMNS, ColumnsConfig
from alexnet.net import specs
from alexnet.net.halves import check_two_devices, everywhere, exchanges
from alexnet.net.plan import layer_specs
from alexnet.terminal import Terminal, fitted

ITEMSIZES = {"32-true": 4, "bf16-mixed": 2, "auto": 4}
"""Bytes of an exchanged number, at most, by `hardware.precision`."""
LEAST = ("mult-adds", "groups", "window", "bytes backward", "bytes forward", "if exchanged")
"""Headings of the columns that a narrow terminal has no room for, the first first."""


def run(overrides: list[str], *, classes: int, config_dir: Path | None) -> None:
    """Print the layers of a configuration, and the exchanges if each column has a device."""
    chosen = any(override.startswith(("scale=", "experiment=")) for override in overrides)
    config = check([*searched(config_dir), *overrides, *([] if chosen else ["scale=paper"])]).config
    tables = [layer_table(layer_specs(config, classes))]
    if config.devices.model_parallel:
        tables += exchange_tables(config, classes)
    console = Terminal()
    console.print(*(fitted(table, console, LEAST) for table in tables))


def layer_table(layers: tuple[specs.Layer, ...]) -> Table:
    """Make a table with one row per layer and the totals. An activation is named after the layer that it follows."""
    table = _table("layer", "window", "groups", "output", "parameters", "mult-adds", show_footer=True)
    table.title = "window: kernel/stride/padding, left and top, then right and bottom if they differ (<0: cut off)"
    for layer, follower in zip(layers, (*layers[1:], None), strict=True):
        if not isinstance(layer, specs.ActivationSpec):
            average = " (average)" if isinstance(layer, specs.PoolSpec) and layer.kind == "average" else ""
            activation = f", {follower.function}" if isinstance(follower, specs.ActivationSpec) else ""
            counts = (f"{count:,}" if count else "" for count in (specs.parameters(layer), specs.multiply_adds(layer)))
            table.add_row(f"{layer.name}{average}{activation}", *_shape(layer), *counts)
    table.columns[0].footer = "total"
    table.columns[4].footer = f"{specs.total_parameters(layers):,}"
    table.columns[5].footer = f"{sum(specs.multiply_adds(layer) for layer in layers):,}"
    return table


def _shape(layer: specs.Layer) -> tuple[str, str, str]:
    """Return window, groups and output of a layer."""
    match layer:
        case specs.ConvSpec():
            before, after = layer.pad_before, layer.pad_after
            padding = f"{before}" if before == after else f"{before},{after}"
            output = f"{layer.channels} x {layer.size} x {layer.size}"
            return f"{layer.kernel}/{layer.stride}/{padding}", str(layer.groups), output
        case specs.LocalSpec():
            return f"{layer.kernel}/1/{layer.kernel // 2}", "", f"{layer.channels} x {layer.size} x {layer.size}"
        case specs.PoolSpec():
            return f"{layer.kernel}/{layer.stride}/0", "", f"{layer.channels} x {layer.size} x {layer.size}"
        case specs.LinearSpec():
            return "", str(layer.groups), f"{layer.channels}"
        case specs.LRNSpec():
            return "", str(layer.columns), ""
        case specs.DropoutSpec():
            return f"p = {layer.probability:g}", "", ""
        case _:
            return "", "", ""


def traffic(layers: tuple[specs.Layer, ...]) -> tuple[int, int]:
    """Count the numbers that a training step sends for one image, and its multiply-adds, on both devices together."""
    # Backward, each layer costs as much again for its weights, and for its inputs unless they are pixels.
    multiply_adds = 3 * sum(map(specs.multiply_adds, layers)) - specs.multiply_adds(layers[0])
    return sum(exchange.forward + exchange.backward for exchange in exchanges(layers)), multiply_adds


def exchange_tables(config: Config, num_classes: int) -> list[Table]:
    """Make a table of the configured net's exchanges, and one of totals with nets that exchange at other layers."""
    check_two_devices(config)
    itemsize, batch = ITEMSIZES[config.hardware.precision], config.optimizer.batch_size
    nets = {kind: layer_specs(replace(config, columns=ColumnsConfig(kind=kind)), num_classes) for kind in TWO_COLUMNS}
    layers = nets[config.columns.kind]
    each = _table("read by", "numbers", "bytes forward", "bytes backward", "MB a step", "if exchanged")
    each.title = f"exchanged in numbers of {itemsize} bytes, {batch:,} images a step"
    sent = {exchange.reader for exchange in exchanges(layers)}
    for exchange in exchanges(everywhere(layers)):
        forward, backward = itemsize * exchange.forward, itemsize * exchange.backward
        megabytes = f"{(forward + backward) * batch / 1e6:.2f}"
        shown = (f"{forward:,}", f"{backward:,}", megabytes, "") if exchange.reader in sent else ("", "", "", megabytes)
        each.add_row(exchange.reader, f"{exchange.forward:,}", *shown)
    totals = _table("columns", "bytes an image", "MB a step", "mult-adds", "bytes per 1,000")
    for name, net in (nets | {"at every layer": everywhere(layers)}).items():
        numbers, multiply_adds = traffic(net)
        size = itemsize * numbers
        per_thousand = f"{1000 * size / multiply_adds:.3f}"
        totals.add_row(name, f"{size:,}", f"{size * batch / 1e6:.2f}", f"{multiply_adds:,}", per_thousand)
    return [each, totals]


def _table(first: str, *others: str, show_footer: bool = False) -> Table:
    """Make a table of numbers that fits in 80 columns."""
    table = Table(first, box=SIMPLE, padding=(0, 1, 0, 0), show_footer=show_footer)
    for name in others:
        table.add_column(name, justify="right")
    return table
