"""The first ten minutes on a GPU, the most telling first: does it compute the same, and how fast?

python benchmarks/gpu_first.py [--minutes 9] [--parts correct lrn step loader]
python benchmarks/gpu_first.py --dry         the same, tiny, on a CPU: whether the script itself is right

correct: gradients of the paper's network on the GPU against the CPU in float64; lrn: response normalisation against the
time of its bytes; step: forward, backward and update of a batch in memory, eager and compiled; loader: the whole
training of benchmarks/end_to_end.py, from files. Each figure is printed as it comes, and the file is written after
each, so that a time limit loses nothing; no part is begun when the time is over. The table at the end is for the docs.
"""

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.job import check
from alexnet.errors import UserError, one_line_errors
from alexnet.net.alexnet import AlexNet
from alexnet.net.lrn import LocalResponseNorm
from alexnet.training.optimizer import SGD2012, parameter_groups
from lrn import MAPS
from measuring import print_table, save

CLASSES = 1000
SMALL = ["scale=cifar", "scale.channels=[8,8,16,16,8]", "scale.fc_width=32"]


class Bench:
    """The device, the size, and the figures so far."""

    def __init__(self, *, dry: bool, minutes: float) -> None:
        self.dry, self.end = dry, time.perf_counter() + 60 * minutes
        self.device = torch.device("cpu" if dry else "cuda")
        self.batch = 4 if dry else 128
        self.config = check(["experiment=ilsvrc2012", "data.root=none", *(SMALL if dry else [])]).config
        self.rows: list[dict[str, str]] = []
        self.begun = time.perf_counter()

    def say(self, what: str, figure: str) -> None:
        print(f"{time.perf_counter() - self.begun:5.0f} s  {what}: {figure}", flush=True)
        self.rows.append({"what": what, "figure": figure})
        save("gpu_first_dry" if self.dry else "gpu_first", 1, self.rows, device=self.name)

    @property
    def name(self) -> str:
        return "cpu" if self.dry else torch.cuda.get_device_name()

    def milliseconds(self, execute: Callable[[], object], rounds: int = 20, warm: int = 4) -> float:
        """Median time of an execution, to the end of its kernels."""
        taken = []
        for turn in range(1 if self.dry else rounds + warm):
            self._wait()
            start = time.perf_counter()
            execute()
            self._wait()
            taken += [1e3 * (time.perf_counter() - start)] if self.dry or turn >= warm else []
        return median(taken)

    def _wait(self) -> None:
        if not self.dry:
            torch.cuda.synchronize()

    def net(self) -> AlexNet:
        return AlexNet(self.config, num_classes=CLASSES, seed=0).to(memory_format=torch.channels_last)

    def images(self, count: int) -> Tensor:
        side = self.config.scale.crop_size
        pixels = 50 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
        return pixels.contiguous(memory_format=torch.channels_last)


def correct(bench: Bench) -> None:
    """Compare logits and gradients without dropout, in float32, with those of the CPU in float64."""
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # torch's default is TF32
    pixels, labels = bench.images(4), torch.arange(4)
    ours, exact = bench.net().eval(), bench.net().eval().double()
    for net, inputs in ((ours.to(bench.device), pixels.to(bench.device)), (exact, pixels.double())):
        torch.autograd.backward(F.cross_entropy(net(inputs), labels.to(inputs.device)))
    for (name, mine), theirs in zip(ours.named_parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        if name.endswith("weight"):
            apart = (mine.grad.cpu().double() - theirs.grad).norm() / theirs.grad.norm()
            bench.say(f"gradient of {name}, float32, from float64", f"{float(apart):.1e}")


def lrn(bench: Bench) -> None:
    """Time forward and backward beside a copy of as many bytes."""
    for layer, (channels, height, width) in MAPS.items():
        shape = (bench.batch, channels, height, width)
        x = torch.randn(shape, device=bench.device).bfloat16().contiguous(memory_format=torch.channels_last)
        norm = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1e-4, beta=0.75)
        leaf, grad, copied = x.detach().requires_grad_(), torch.ones_like(x), torch.empty_like(x)
        taken = bench.milliseconds(partial(_there_and_back, norm, leaf, grad))
        floor = 2.5 * bench.milliseconds(partial(copied.copy_, x))  # five passes, and a copy is two
        bench.say(f"LRN of {layer}, bfloat16, forward and backward", f"{taken:.3f} ms; its bytes {floor:.3f} ms")


def _there_and_back(layer: nn.Module, x: Tensor, grad: Tensor) -> None:
    x.grad = None
    torch.autograd.backward(layer(x), grad)


def step(bench: Bench) -> None:
    """Time a step of one batch in memory."""
    eager = bench.net().to(bench.device)
    pixels = bench.images(bench.batch).to(bench.device)
    labels = torch.arange(bench.batch, device=bench.device) % CLASSES
    for way in ("eager", "compiled"):
        if way == "compiled" and bench.dry:
            break
        net: nn.Module = eager
        if way == "compiled":
            net = copy.deepcopy(eager)
            net.compile(mode="reduce-overhead")
        groups = parameter_groups(net, bench.config.optimizer, [])
        rule = SGD2012(groups, lr=1e-4, momentum=0.9, weight_decay=5e-4)
        for half in (True, False):

            def execute(net: nn.Module = net, rule: SGD2012 = rule, half: bool = half) -> None:
                with torch.autocast(bench.device.type, torch.bfloat16, enabled=half):
                    loss = F.cross_entropy(net(pixels).float(), labels)
                torch.autograd.backward(loss)
                rule.step()
                rule.zero_grad()

            taken = bench.milliseconds(execute)
            speed = f"{taken:.2f} ms, {1e3 * bench.batch / taken:,.0f} images/s"
            bench.say(f"step of {bench.batch}, {'bfloat16' if half else 'float32'}, {way}", speed)
        if not bench.dry:
            bench.say(f"memory, {way}", f"{torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB")


def loader(bench: Bench) -> None:
    """Train from files for some seconds a way, as long as the time allows."""
    if bench.dry:
        return
    cores = len(os.sched_getaffinity(0))
    words = ["--draw", "4000", "--batches", "128", "--cores", str(cores), "--seconds", "15", "--rounds", "1"]
    command = [sys.executable, str(Path(__file__).with_name("end_to_end.py")), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("| "):
                bench.say("from files to weights", line.strip())


PARTS: dict[str, Callable[[Bench], None]] = {"correct": correct, "lrn": lrn, "step": step, "loader": loader}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    if not options.dry and not torch.cuda.is_available():
        raise UserError("no CUDA GPU here; --dry tries the script on a CPU")
    bench = Bench(dry=options.dry, minutes=options.minutes)
    bench.say("device", bench.name)
    for name in options.parts:
        if time.perf_counter() > bench.end:
            bench.say(name, "left out: the time is over")
            continue
        try:
            PARTS[name](bench)
        except Exception as error:  # the other parts are worth as much
            bench.say(name, f"failed: {type(error).__name__}: {error}")
    print_table(["what", "figure"], [list(row.values()) for row in bench.rows])


if __name__ == "__main__":
    with one_line_errors():
        main()
