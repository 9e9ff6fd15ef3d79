"""The half of the network that one of two processes holds, and the exchanges with the other half (section 3.2).

The layers, their initial weights and their dropout masks are halves of those of `AlexNet`, so that two processes
compute what one would, up to the order of sums.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.config.schema import Config
from alexnet.net.alexnet import AlexNet, modules
from alexnet.net.halves import DEVICES, LOSS, Exchange, check_two_devices, exchanges, half
from alexnet.net.lrn import LayerStack
from alexnet.net.specs import Parametric
from alexnet.sharding import Shard, shard_of


class ColumnGroup:
    """The connection to the process that holds the other half."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.bytes_sent = 0
        """By this process; not counted in compiled networks, where this would be a constant."""
        self.group: dist.ProcessGroup | None = None

    def connect(self, group: dist.ProcessGroup) -> None:
        """Use this group of two processes; that of column 0 has rank 0 in it."""
        assert group.size() == DEVICES and group.rank() == self.column
        self.group = group

    def exchange(self, own: Tensor, numel: int) -> Tensor:
        """Send all numbers of a tensor, and receive this many of the same type, flat.

        Backward, the gradient of what was received is sent, and that of what was sent arrives.
        """
        received: Tensor = _Exchanged.apply(own.reshape(-1).contiguous(), numel, self)
        return received

    def both(self, own: Tensor, other: Tensor, dimension: int) -> Tensor:
        """Put the halves together in the order of the columns."""
        return torch.cat((own, other) if self.column == 0 else (other, own), dim=dimension)

    def with_other(self, numel: int) -> list[int]:
        """Return how many numbers each process sends or receives: none for this one."""
        return [0, numel] if self.column == 0 else [numel, 0]


class _Exchanged(torch.autograd.Function):
    """`ColumnGroup.exchange`, whose gradient is an exchange in the other direction."""

    @staticmethod
    def forward(ctx: Any, sent: Tensor, numel: int, link: ColumnGroup) -> Tensor:
        ctx.link, ctx.numel = link, sent.numel()
        received = sent.new_empty(numel)
        assert link.group is not None, "connect the halves first"
        if not torch.compiler.is_compiling():
            link.bytes_sent += sent.numel() * sent.element_size()
        dist.all_to_all_single(received, sent, link.with_other(numel), link.with_other(sent.numel()), group=link.group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.link.exchange(gradient, ctx.numel), None, None


class AllGatherColumns(nn.Module):
    """Features of this process to those of both; backward, the gradients of both processes' readers are added up."""

    def __init__(self, link: ColumnGroup, exchange: Exchange) -> None:
        super().__init__()
        self.link, self.exchange = link, exchange

    def forward(self, x: Tensor) -> Tensor:
        """Float [N, own, ...] to [N, whole, ...]."""
        # The maps of a pixel lie side by side in memory: in that order nothing is copied to be sent.
        own = x.movedim(1, -1)
        *places, features = own.shape  # images and pixels
        of_other = self.exchange.forward // prod(places[1:]) - features
        other = self.link.exchange(own if self.exchange.backward else own.detach(), prod(places) * of_other)
        return self.link.both(x, other.view(*places, of_other).movedim(-1, 1), dimension=1)

    def extra_repr(self) -> str:
        return f"{self.exchange.forward} numbers an image"


class ColumnShard(LayerStack):
    """Pixels to all logits, as `AlexNet`, with half of every layer: float [N, 3, S, S] to float [N, classes].

    Both processes must see the same images at the same time. Parameters have the names that they have in the whole.
    `connect` it before the first batch.
    """

    def __init__(self, net: AlexNet, config: Config, *, column: int) -> None:
        """Take half of a network, with its present weights; UserError if it cannot be halved."""
        check_two_devices(config)
        link = ColumnGroup(column)
        super().__init__(_modules(net, config, link))
        self.specs = net.specs
        """The layers of the whole network."""
        self.link = link
        self.device: torch.device | None = None
        self.to(memory_format=torch.channels_last)
        self.load_state_dict(self.shard_state(net.state_dict()))

    def connect(self, group: dist.ProcessGroup, device: torch.device) -> None:
        """Exchange with the other half through a group of two processes, which can send from `device`."""
        self.link.connect(group)
        self.device = device

    def shard_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's half of tensors that belong to parameters of the whole network, by name."""
        parts = self._parts
        return {name: tensor[parts[name].within].clone() for name, tensor in tensors.items()}

    def full_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole network's tensors from both processes' halves, on the CPU; both processes must call it.

        The names are those of parameters, and the same in both processes.
        """
        parts = self._parts
        return {name: self._gathered(tensor.detach(), parts[name]) for name, tensor in tensors.items()}

    def _gathered(self, own: Tensor, rows: Shard) -> Tensor:
        shape = (rows.whole - rows.count, *own.shape[1:])
        other = self.link.exchange(own.to(self.device), prod(shape))
        return self.link.both(own.cpu(), other.view(shape).cpu(), dimension=0)

    @property
    def _parts(self) -> dict[str, Shard]:
        """Which outputs of each layer, by parameter: they come first in weights and biases."""
        return {
            f"{layer.name}.{kind}": shard_of(layer.channels, index=self.link.column, parts=DEVICES)
            for layer in self.specs
            if isinstance(layer, Parametric)
            for kind in ("weight", "bias")
        }


def _modules(net: AlexNet, config: Config, link: ColumnGroup) -> OrderedDict[str, nn.Module]:
    """The halves of the layers, and an exchange below each that reads both."""
    read = {exchange.reader: exchange for exchange in exchanges(net.specs)}
    layers = tuple(half(layer, device=link.column) for layer in net.specs)
    built: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in modules(layers, config).items():
        if name in read:
            built[f"exchange_{name}"] = AllGatherColumns(link, read[name])
        built[name] = module
    built[f"exchange_{LOSS}"] = AllGatherColumns(link, read[LOSS])
    return built
