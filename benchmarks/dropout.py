"""Dropout, forward and backward, beside a mask of torch's generator.

python benchmarks/dropout.py [--rounds 15]

On the units of fc6, one thread: the paper's network and the demo's.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from alexnet.net.dropout import NonInvertedDropout, set_position
from measuring import Parts, as_plain, interleaved, one_core, print_table, report, timed

SIZES = {"the paper's, 128 x 4096": (128, 4096), "the demo's, 128 x 512": (128, 512), "32 x 96": (32, 96)}
STEPS = 10
"""That are timed together."""
WAYS = ("torch's generator", "by counter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    one_core()
    report(measured(options.rounds), show, "dropout", options.rounds)


def measured(rounds: int) -> Iterator[list[dict[str, Any]]]:
    for name, size in SIZES.items():
        parts = interleaved(_candidates(size), rounds)
        yield [{"layer": name, "way": way, **as_plain(of_way)} for way, of_way in parts.items()]


def show(rows: list[dict[str, Any]]) -> None:
    generator, counter = (row["all"]["cpu"] / STEPS for row in rows)
    cells = [rows[0]["layer"], f"{1e3 * generator:.2f}", f"{1e3 * counter:.2f}", f"{counter / generator:.2f}"]
    print_table(["layer", *(f"{way}, ms" for way in WAYS), "ratio"], [cells])


def _candidates(size: tuple[int, int]) -> dict[str, Callable[[], Parts]]:
    x, grad = (torch.randn(size) for _ in range(2))
    x.requires_grad_()
    layer = NonInvertedDropout(0.5, seed=0, layer="fc6")

    def step(way: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def execute() -> None:
            for number in range(STEPS):
                set_position(layer, number, 0)
                torch.autograd.grad(way(x), x, grad)

        return execute

    ways = dict(zip(WAYS, (lambda x: x * torch.empty_like(x).bernoulli_(0.5), layer), strict=True))
    return {name: timed(step(way)) for name, way in ways.items()}  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
