"""A training step of two processes that hold a column each, beside one process with the whole network.

python benchmarks/two_devices.py [--rounds 7] [--batch 32] [--scales small paper] [--bfloat16]

Forward, backward and update on one batch of random pixels, by the clock. On a CPU each of the two has one thread, and
the one has one and two; where there are two GPUs, each of the two has one. Candidates take turns in the same two
processes: while one works alone the other sleeps.

`without exchanges` is the two processes again, each of which takes its own half for the other's as well: it computes as
much and waits for nobody. What a step with exchanges takes longer is their share.
"""

import argparse
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from alexnet.commands.describe import traffic
from alexnet.config.job import check
from alexnet.config.schema import Config
from alexnet.net.alexnet import AlexNet
from alexnet.net.two_devices import AllGatherColumns, ColumnShard
from alexnet.training.optimizer import SGD2012, parameter_groups
from measuring import Parts, Stopwatch, computes_bfloat16, interleaved, print_table, report

CLASSES = 1000
RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4
TWO, WITHOUT = "two processes", "two processes, without exchanges"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the two processes are to do."""

    configs: dict[str, Config]
    """By scale and columns."""
    batch: int
    rounds: int
    bfloat16: bool
    cuda: bool
    folder: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network, or half of one, and how it is computed."""

    net: nn.Module | None
    """None in a process that does not take part."""
    config: Config
    device: torch.device
    threads: int
    work: Work

    def prepared(self) -> Callable[[], Parts]:
        """A step between two barriers, timed from one to the other."""
        step = partial(self._step, self.net, *self._rule_and_batch(self.net)) if self.net else _nothing

        def timed() -> Parts:
            torch.set_num_threads(self.threads)
            watch = Stopwatch()
            dist.barrier()
            with watch.part("all"):
                step()
                dist.barrier()
            return watch.parts

        return timed

    def _rule_and_batch(self, net: nn.Module) -> tuple[SGD2012, Tensor, Tensor]:
        net.to(self.device)
        groups = parameter_groups(net, self.config.optimizer, [])
        rule = SGD2012(groups, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        side = self.config.scale.crop_size
        pixels = 50 * torch.randn(self.work.batch, 3, side, side, generator=torch.Generator().manual_seed(0))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return rule, pixels.to(self.device), (torch.arange(self.work.batch) % CLASSES).to(self.device)

    def _step(self, net: nn.Module, rule: SGD2012, pixels: Tensor, labels: Tensor) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.work.bfloat16):
            loss = F.cross_entropy(net(pixels).float(), labels)
        torch.autograd.backward(loss)
        rule.step()
        rule.zero_grad(set_to_none=True)
        if self.work.cuda:
            torch.cuda.synchronize()


def _nothing() -> None:
    pass


class OwnTwice(nn.Module):
    """In the place of an exchange: as many numbers, all of them this process's."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--scales", nargs="+", default=["small", "paper"])
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    configs = {
        f"{scale}, {columns}": check([f"scale={scale}", f"columns={columns}"]).config
        for scale in options.scales
        for columns in ("two", "isolated")
    }
    if options.bfloat16 and not computes_bfloat16():
        parser.error("--bfloat16 measures nothing here")
    with TemporaryDirectory() as folder:
        work = Work(
            configs=configs,
            batch=options.batch,
            rounds=options.rounds,
            bfloat16=options.bfloat16,
            cuda=torch.cuda.device_count() >= 2,
            folder=folder,
        )
        spawn(measure, (work,), nprocs=2)  # type: ignore[no-untyped-call]


def measure(rank: int, work: Work) -> None:
    """The body of one of the two processes; the first shows and writes what it saw."""
    rendezvous = f"file://{work.folder}/rendezvous"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    device = torch.device("cuda", rank) if work.cuda else torch.device("cpu")
    if work.cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if work.cuda else "gloo", init_method=rendezvous, rank=rank, world_size=2)
    groups = (_measured(rank, name, config, device, work) for name, config in work.configs.items())
    if rank == 0:
        name, chip = ("two_devices_gpu", torch.cuda.get_device_name()) if work.cuda else ("two_devices", "cpu")
        report(groups, show, name, work.rounds, on=chip, bfloat16=work.bfloat16)
    else:
        deque(groups, maxlen=0)
    dist.destroy_process_group()


def _measured(rank: int, name: str, config: Config, device: torch.device, work: Work) -> list[dict[str, Any]]:
    whole = AlexNet(config, num_classes=CLASSES, seed=0)
    halves = [ColumnShard(whole, config, column=rank) for _ in range(2)]
    with_exchanges, without = halves
    with_exchanges.connect(dist.group.WORLD, device)  # type: ignore[arg-type]
    for key, module in without.named_children():
        if isinstance(module, AllGatherColumns):
            setattr(without, key, OwnTwice())
    nets: dict[str, tuple[nn.Module | None, int]] = {TWO: (with_exchanges, 1), WITHOUT: (without, 1)}
    for threads in (1,) if work.cuda else (1, 2):
        nets[_alone(threads)] = (whole if rank == 0 else None, threads)
    candidates = {
        way: Candidate(net=net, config=config, device=device, threads=threads, work=work).prepared()
        for way, (net, threads) in nets.items()
    }
    medians = interleaved(candidates, work.rounds)
    planned = traffic(whole.specs)[0] * (2 if work.bfloat16 else 4) * work.batch
    assert 2 * with_exchanges.link.bytes_sent == planned * (work.rounds + 1), "the plan tells what is sent"
    return [
        {"net": name, "batch": work.batch, "way": way, "seconds": parts["all"].wall, "bytes_a_step": planned}
        for way, parts in medians.items()
    ]


def _alone(threads: int) -> str:
    return f"one process, {threads} thread{'s' if threads > 1 else ''}"


def show(rows: list[dict[str, Any]]) -> None:
    """Ratios are of medians, within one net."""
    table = []
    for row in rows:
        seconds = {other["way"]: other["seconds"] for other in rows if other["net"] == row["net"]}
        share = f"{1 - seconds[WITHOUT] / seconds[TWO]:.0%}" if row["way"] == TWO else ""
        sent = f"{row['bytes_a_step'] / 1e6:.2f}" if row["way"] == TWO else ""
        ratios = [f"{seconds[way] / row['seconds']:.2f}" for way in map(_alone, (1, 2)) if way in seconds]
        table.append([row["net"], row["way"], f"{1e3 * row['seconds']:.1f}", *ratios, sent, share])
    beside = [f"times {way}" for way in map(_alone, (1, 2)) if any(row["way"] == way for row in rows)]
    print_table(["net", "way", "step, ms", *beside, "MB exchanged", "exchanges' share"], table)


if __name__ == "__main__":
    main()
