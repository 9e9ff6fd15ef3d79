"""Response normalisation, forward and backward, beside `torch.nn.LocalResponseNorm`.

python benchmarks/lrn.py [--rounds 7] [--batch 128]

On the maps of conv1 and conv2, one thread. Torch's layer has no bfloat16 on a CPU; its columns are not divided.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from alexnet.net.lrn import LocalResponseNorm
from measuring import (
    Parts,
    Stopwatch,
    as_plain,
    copying_bandwidth,
    in_each_process,
    interleaved,
    one_core,
    print_table,
    report,
    tune_allocator,
)

MAPS = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
LAYOUTS = {"channels last": torch.channels_last, "planes": torch.contiguous_format}
PEER = "torch.nn"
PASSES = 5
"""Reading x and writing y; reading x and dL/dy and writing dL/dx: the least that memory has to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--allocator", choices=["default", "tuned"], help=argparse.SUPPRESS)
    parser.add_argument("--print-json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.print_json:
        for rows in measured(options.allocator, options.batch, options.rounds):
            print(json.dumps(rows), flush=True)
        return
    passed_on = ["--rounds", str(options.rounds), "--batch", str(options.batch)]
    report(
        in_each_process("allocator", ["default", "tuned"], passed_on), show, "lrn", options.rounds, batch=options.batch
    )


def measured(allocator: str, batch: int, rounds: int) -> Iterator[list[dict[str, Any]]]:
    one_core()
    if allocator == "tuned":
        tune_allocator()
    bandwidth = copying_bandwidth()
    for layer, shape in MAPS.items():
        rows: list[dict[str, Any]] = []
        candidates = _candidates((batch, *shape))
        for name, parts in interleaved(candidates, rounds).items():
            size = 2 if "bfloat16" in name else 4
            floor = PASSES * size * batch * shape[0] * shape[1] * shape[2] / bandwidth
            rows.append({"maps": layer, "allocator": allocator, "way": name, "floor": floor, **as_plain(parts)})
        yield rows


def _candidates(shape: tuple[int, ...]) -> dict[str, Callable[[], Parts]]:
    candidates = {}
    for layout_name, layout in LAYOUTS.items():
        x, grad = (torch.randn(shape).contiguous(memory_format=layout) for _ in range(2))
        peer = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        candidates[f"{PEER}, {layout_name}"] = _execution(peer, x, grad)
        ours = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1e-4, beta=0.75)
        candidates[f"torch alone, {layout_name}"] = _execution(ours, x, grad, compiled=False)
        if layout_name == "channels last":
            candidates[f"compiled loops, {layout_name}"] = _execution(ours, x, grad)
            candidates[f"compiled loops, {layout_name}, bfloat16"] = _execution(ours, x.bfloat16(), grad.bfloat16())
    return candidates


def _execution(layer: nn.Module, x: Tensor, grad: Tensor, compiled: bool = True) -> Callable[[], Parts]:
    leaf = x.detach().requires_grad_()

    def execute() -> Parts:
        watch = Stopwatch()
        leaf.grad = None
        with patch("alexnet.net.lrn.numba_available", lambda: compiled), watch.part("all"):
            layer(leaf).backward(grad)
        return watch.parts

    return execute


def show(rows: list[dict[str, Any]]) -> None:
    """Ratios are to torch's layer under the same allocator: in the same layout, and in the one that suits it better."""
    table = []
    for row in rows:
        group = [row["maps"], row["allocator"]]
        peers = {r["way"]: r["all"]["cpu"] for r in rows if [r["maps"], r["allocator"]] == group and PEER in r["way"]}
        (same,) = (seconds for way, seconds in peers.items() if way.split(", ")[1] == row["way"].split(", ")[1])
        seconds, floor = row["all"]["cpu"], row["floor"]
        ratios = [f"{peer / seconds:.1f}" for peer in (same, min(peers.values()))]
        table.append(
            [*group, row["way"], f"{1e3 * seconds:.0f}", *ratios, f"{1e3 * floor:.0f}", f"{floor / seconds:.0%}"]
        )
    header = ["maps", "allocator", "way", "ms", "times as fast, same layout", "torch's better layout"]
    print_table([*header, "floor, ms", "of the floor"], table)


if __name__ == "__main__":
    main()
