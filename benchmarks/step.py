"""A training step of the paper's network with everything on, beside `torchvision.models.alexnet` without.

python benchmarks/step.py [--rounds 7] [--batches 32 128] [--minutes 9]
python benchmarks/step.py --compiled [--rounds 3] [--batches 32]        torch.compile beside eager; minutes of compiling

Forward, backward and update on one batch of random pixels, one thread. The peer is torchvision's network, which has no
normalisation and no columns, and scales its dropout, eager with torch's SGD as a script would write it; `same tuning`
is that network channels last with the fused update and oneDNN's products: the limit.

Prints and writes each batch size as it comes, the first within a minute or two; fewer rounds are done where all would
take longer than the minutes given, and bfloat16 is left out where the processor emulates it.

The floor is what the core needs for the multiply-adds at the rate of large products that it reaches here in oneDNN, or
for reading and writing every map and parameter that a part needs, whichever is more.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from alexnet.config.job import check
from alexnet.net.alexnet import AlexNet
from alexnet.net.specs import ConvSpec, Layer, LinearSpec, LRNSpec, PoolSpec, multiply_adds, total_parameters
from alexnet.training.optimizer import SGD2012, parameter_groups
from measuring import (
    Parts,
    Stopwatch,
    as_plain,
    computes_bfloat16,
    copying_bandwidth,
    in_each_process,
    interleaved,
    multiplying_rate,
    one_core,
    print_table,
    report,
    tune_allocator,
)

PARTS = ("forward", "backward", "update")
CLASSES = 1000
RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4
PEER = "torchvision"
ALLOCATORS = ("default", "tuned")


@dataclass(frozen=True)
class Candidate:
    """A network, how it is computed, and one batch."""

    net: nn.Module
    optimizer: Optimizer
    pixels: Tensor
    bfloat16: bool = False
    onednn: bool = False

    def step(self) -> Parts:
        labels = torch.arange(len(self.pixels)) % CLASSES
        choice = "bf16" if self.onednn else "none"
        torch.backends.mkldnn.matmul.fp32_precision = choice  # type: ignore[attr-defined]
        watch = Stopwatch()
        with watch.part("all"):
            with watch.part("forward"), torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                loss = F.cross_entropy(self.net(self.pixels).float(), labels)
            with watch.part("backward"):
                torch.autograd.backward(loss)
            with watch.part("update"):
                self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return watch.parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="of measuring; of --compiled each net compiles besides"
    )
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--allocator", choices=["default", "tuned"], help=argparse.SUPPRESS)
    parser.add_argument("--print-json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.print_json:
        seconds = 60 * options.minutes / len(ALLOCATORS)
        for rows in measured(options.allocator, options.batches, options.rounds, seconds, compiled=options.compiled):
            print(json.dumps(rows), flush=True)
        return
    passed_on = ["--rounds", str(options.rounds), "--minutes", str(options.minutes)]
    passed_on += ["--batches", *map(str, options.batches), *(["--compiled"] if options.compiled else [])]
    name = "step_compiled" if options.compiled else "step"
    report(in_each_process("allocator", ALLOCATORS, passed_on), show, name, options.rounds)


def measured(
    allocator: str, batches: list[int], rounds: int, seconds: float, *, compiled: bool
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each batch size, which has its share of the seconds."""
    end = time.perf_counter() + seconds
    one_core()
    if allocator == "tuned":
        tune_allocator()
    bandwidth = copying_bandwidth()
    native = computes_bfloat16()
    dtypes = (torch.float32, torch.bfloat16) if native else (torch.float32,)
    rates = {dtype: multiplying_rate(dtype) for dtype in dtypes}
    for number, batch in enumerate(batches):
        rows = []
        print(f"batches of {batch}, {allocator} allocator", file=sys.stderr, flush=True)
        share = (end - time.perf_counter()) * batch / sum(batches[number:])
        candidates, layers = _candidates(batch)
        candidates = {way: one for way, one in candidates.items() if native or not one.bfloat16}
        if compiled:
            candidates = _compiled(candidates)
        steps: dict[str, Callable[[], Parts]] = {name: candidate.step for name, candidate in candidates.items()}
        for name, parts in interleaved(steps, rounds, seconds=share).items():
            dtype = torch.bfloat16 if candidates[name].bfloat16 else torch.float32
            least = floor(layers, batch, dtype, rates[dtype], bandwidth) if name.startswith("ours") else None
            rows.append({"batch": batch, "allocator": allocator, "way": name, "floor": least, **as_plain(parts)})
        yield rows


def _candidates(batch: int) -> tuple[dict[str, Candidate], tuple[Layer, ...]]:
    pixels = 50 * torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    side_by_side = pixels.contiguous(memory_format=torch.channels_last)
    peer, tuned_peer = (torchvision.models.alexnet(num_classes=CLASSES) for _ in range(2))
    tuned_peer.to(memory_format=torch.channels_last)
    config = check(["experiment=ilsvrc2012", "data.root=none"]).config
    net = AlexNet(config, num_classes=CLASSES, seed=0)
    sgd = SGD(peer.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    fused = SGD(tuned_peer.parameters(), RATE, MOMENTUM, weight_decay=DECAY, fused=True)
    groups = parameter_groups(net, config.optimizer, [])
    rule = SGD2012(groups, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    candidates = {
        PEER: Candidate(peer, sgd, pixels),
        "ours": Candidate(net, rule, side_by_side),
        "ours, onednn": Candidate(net, rule, side_by_side, onednn=True),
        "torchvision, same tuning": Candidate(tuned_peer, fused, side_by_side, onednn=True),
        "torchvision, bfloat16": Candidate(peer, sgd, pixels, bfloat16=True),
        "ours, bfloat16": Candidate(net, rule, side_by_side, bfloat16=True),
        "torchvision, same tuning, bfloat16": Candidate(tuned_peer, fused, side_by_side, bfloat16=True),
    }
    return candidates, net.specs


def _compiled(candidates: dict[str, Candidate]) -> dict[str, Candidate]:
    """The peer's net and ours, eager and as torch's compiler makes them of the same weights."""
    eager = {way: candidates[way] for way in (PEER, "ours", "ours, bfloat16") if way in candidates}
    made: dict[str, Candidate] = {}
    for way, candidate in eager.items():
        net = copy.deepcopy(candidate.net)
        net.compile()
        optimizer = type(candidate.optimizer)(net.parameters(), **candidate.optimizer.defaults)
        made[f"{way}, compiled"] = replace(candidate, net=net, optimizer=optimizer)
    return eager | made


def floor(layers: tuple[Layer, ...], batch: int, dtype: torch.dtype, rate: float, bandwidth: float) -> dict[str, float]:
    """Seconds by part; weights, their gradients and velocities are float32, maps are of `dtype`."""
    operations = batch * sum(multiply_adds(layer) for layer in layers)
    first = batch * multiply_adds(layers[0])  # pixels need no gradient
    maps = batch * dtype.itemsize * sum(_outputs(layers))
    weights = 4 * total_parameters(layers)
    floors = {
        "forward": max(operations / rate, (weights + 2 * maps) / bandwidth),
        "backward": max((2 * operations - first) / rate, (2 * weights + 3 * maps) / bandwidth),
        "update": 5 * weights / bandwidth,
    }
    return {**floors, "all": sum(floors.values())}


def _outputs(layers: tuple[Layer, ...]) -> list[int]:
    """Numbers per image that each layer hands on; non-linearities and dropout work in place of their input."""
    sizes: list[int] = []
    for layer in layers:
        match layer:
            case ConvSpec() | PoolSpec():
                sizes.append(layer.channels * layer.size**2)
            case LinearSpec():
                sizes.append(layer.channels)
            case LRNSpec():
                sizes.append(sizes[-1])
    return sizes


def show(rows: list[dict[str, Any]]) -> None:
    """The ratio is to torchvision's network in float32 under the same allocator."""
    table = []
    for row in rows:
        group = [row["batch"], row["allocator"]]
        (peer,) = (r for r in rows if r["way"] == PEER and [r["batch"], r["allocator"]] == group)
        times = [f"{1e3 * row[part]['cpu']:.0f}" for part in (*PARTS, "all")]
        reached = f"{row['floor']['all'] / row['all']['cpu']:.0%}" if row["floor"] else ""
        ratio = f"{peer['all']['cpu'] / row['all']['cpu']:.2f}"
        table.append([str(row["batch"]), row["allocator"], row["way"], *times, ratio, reached])
    header = ["batch", "allocator", "way", *(f"{part}, ms" for part in PARTS), "step, ms", "times as fast"]
    print_table([*header, "of the floor"], table)


if __name__ == "__main__":
    main()
