"""Dropout, forward and backward, beside a mask of torch's generator.

python benchmarks/dropout.py [--rounds 15]

On the units of fc6, one thread: the paper's network and the demo's.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from alexnet.net.dropout import NonInvertedDropout, set_position
from measuring import Parts, as_plain, interleaved, one_core, print_table, save, timed

SIZES = {"the paper's, 128 x 4096": (128, 4096), "the demo's, 128 x 512": (128, 512), "32 x 96": (32, 96)}
STEPS = 10
"""That are timed together."""
WAYS = ("torch's generator", "by counter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    one_core()
    rows, table = [], []
    for name, size in SIZES.items():
        measured = interleaved(_candidates(size), options.rounds)
        rows += [{"layer": name, "way": way, **as_plain(parts)} for way, parts in measured.items()]
        generator, counter = (measured[way]["all"].cpu / STEPS for way in WAYS)
        table.append([name, f"{1e3 * generator:.2f}", f"{1e3 * counter:.2f}", f"{counter / generator:.2f}"])
    print_table(["layer", *(f"{way}, ms" for way in WAYS), "ratio"], table)
    print(save("dropout", options.rounds, rows))


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
