"""What two devices hand each other, beside what they compute: why the authors let the columns meet where they do."""

from dataclasses import dataclass, replace

from rich.box import SIMPLE
from rich.table import Table

from alexnet.commands.layer_table import multiply_adds
from alexnet.config.schema import ColumnsConfig, Config
from alexnet.net.halves import Exchange, check_two_devices, everywhere, exchanges
from alexnet.net.plan import plan
from alexnet.net.specs import Layer

ITEMSIZES = {"32-true": 4, "bf16-mixed": 2}
"""Bytes of a number that is handed over, by `hardware.precision`."""
MEETING = ("two", "isolated")
"""The values of `columns.kind` with two columns."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Of one image in a training step: forward and backward, both devices together."""

    bytes_sent: int
    multiply_adds: int

    @property
    def per_thousand(self) -> float:
        """Bytes for every 1,000 multiply-adds."""
        return 1000 * self.bytes_sent / self.multiply_adds


def traffic(layers: tuple[Layer, ...], itemsize: int) -> Traffic:
    """What a training step sends and computes per image, in numbers of `itemsize` bytes."""
    return Traffic(
        bytes_sent=sum(_both_ways(exchange, itemsize) for exchange in exchanges(layers)),
        # Backward, each layer costs as much again for its weights, and for its inputs unless they are pixels.
        multiply_adds=3 * sum(multiply_adds(layer) for layer in layers) - multiply_adds(layers[0]),
    )


def exchange_tables(config: Config, classes: int) -> list[Table]:
    """Every exchange of the configured net, then its total beside those of nets that meet elsewhere.

    Raises:
        UserError: the net cannot be held by two devices.
    """
    check_two_devices(config)
    itemsize, batch = ITEMSIZES[config.hardware.precision], config.optimizer.batch_size
    chosen = {kind: plan(replace(config, columns=ColumnsConfig(kind=kind)), classes) for kind in MEETING}
    here = chosen[config.columns.kind]
    each = _exchanges(here, itemsize, batch)
    each.title = f"exchanged in numbers of {itemsize} bytes, {batch:,} images a step"
    return [each, _totals(chosen | {"at every layer": everywhere(here)}, itemsize, batch)]


def _both_ways(exchange: Exchange, itemsize: int) -> int:
    return exchange.bytes_forward(itemsize) + exchange.bytes_backward(itemsize)


def _exchanges(layers: tuple[Layer, ...], itemsize: int, batch: int) -> Table:
    """One row for each layer that could read both columns, and what it would take where it reads its own alone."""
    table = _table("read by", "numbers", "bytes forward", "bytes backward", "MB a step", "if exchanged")
    sent = {exchange.reader: exchange for exchange in exchanges(layers)}
    for possible in exchanges(everywhere(layers)):
        megabytes = f"{_both_ways(possible, itemsize) * batch / 1e6:.2f}"
        if possible.reader in sent:
            each_way = (possible.bytes_forward(itemsize), possible.bytes_backward(itemsize))
            table.add_row(possible.reader, f"{possible.numbers:,}", *(f"{n:,}" for n in each_way), megabytes, "")
        else:
            table.add_row(possible.reader, f"{possible.numbers:,}", "", "", "", megabytes)
    return table


def _totals(nets: dict[str, tuple[Layer, ...]], itemsize: int, batch: int) -> Table:
    table = _table("columns", "bytes an image", "MB a step", "mult-adds", "bytes per 1,000")
    for name, layers in nets.items():
        total = traffic(layers, itemsize)
        table.add_row(
            name,
            f"{total.bytes_sent:,}",
            f"{total.bytes_sent * batch / 1e6:.2f}",
            f"{total.multiply_adds:,}",
            f"{total.per_thousand:.3f}",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=SIMPLE, padding=(0, 1, 0, 0))
    for name in others:
        table.add_column(name, justify="right")
    return table
