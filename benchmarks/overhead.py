"""Where a run's time goes: computing, data, and everything else.

python benchmarks/overhead.py [OVERRIDES ...]          of train.py; without any, the demo

Counted from the first training step's preparations to the written result; imports, drawing the images and building the
network are left out. `compute` is forward, backward, update, freeing gradients and evaluation; `data` the making of
batches and their way to the device; the rest is Lightning's loop, the display, W&B, checkpoints and result files.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import lightning as L
import torch
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.strategies import SingleDeviceStrategy
from rich.console import Console

from alexnet.config.job import check
from alexnet.training.datamodule import PackDataModule
from alexnet.training.fit import preflight
from alexnet.training.module import AlexNetModule
from alexnet.training.momentum import SGD2012
from alexnet.training.run import run
from measuring import Seconds, as_plain, print_table, save

COMPUTE: list[tuple[type, str]] = [
    (AlexNetModule, "loss"),
    (SingleDeviceStrategy, "validation_step"),
    (SingleDeviceStrategy, "test_step"),
    (torch.Tensor, "backward"),
    (SGD2012, "_update"),
    (SGD2012, "zero_grad"),
]
DATA: list[tuple[type, str]] = [
    (PackDataModule, "train_dataloader"),
    (PackDataModule, "val_dataloader"),
    (PackDataModule, "test_dataloader"),
    (SingleDeviceStrategy, "batch_to_device"),
    (_DataFetcher, "__next__"),
]


class Ledger:
    """Seconds by what they were spent on. The functions that it counts do not call each other."""

    def __init__(self) -> None:
        self._cpu: defaultdict[str, float] = defaultdict(float)
        self._wall: defaultdict[str, float] = defaultdict(float)
        self.started: Seconds | None = None

    @property
    def seconds(self) -> dict[str, Seconds]:
        return {kind: Seconds(cpu=self._cpu[kind], wall=self._wall[kind]) for kind in self._cpu}

    def counted(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        cpu, wall = self._cpu, self._wall

        @wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            wall_start, cpu_start = time.perf_counter(), time.process_time()  # little else: it is counted as the rest
            try:
                return function(*arguments, **options)
            finally:
                cpu[kind] += time.process_time() - cpu_start
                wall[kind] += time.perf_counter() - wall_start

        return wrapped

    def starting(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(module: AlexNetModule) -> Any:
            if self.started is None:
                self._cpu.clear()
                self._wall.clear()
                self.started = Seconds.now()
            return hook(module)

        return wrapped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    overrides = parser.parse_args().overrides
    job = check(overrides)
    preflight(job)  # draws the images of the demo, if that has not been done
    ledger = Ledger()
    with TemporaryDirectory() as folder, ExitStack() as patches:
        for kind, functions in (("compute", COMPUTE), ("data", DATA)):
            for owner, name in functions:
                patches.enter_context(patch.object(owner, name, ledger.counted(kind, getattr(owner, name))))
        begins = ledger.starting(AlexNetModule.on_train_epoch_start)
        patches.enter_context(patch.object(AlexNetModule, "on_train_epoch_start", begins))
        result = run(job, Path(folder) / "run", console=Console(file=sys.stderr))
        assert ledger.started is not None and result.training is not None
        total = Seconds.now() - ledger.started
    spent = {**ledger.seconds, "rest": total - sum(ledger.seconds.values(), start=Seconds()), "all": total}
    header = ["spent on", "on the processor, s", "share", "by the clock, s", "share"]
    print_table(
        header,
        [[kind, *_cells(seconds.cpu, total.cpu), *_cells(seconds.wall, total.wall)] for kind, seconds in spent.items()],
    )
    steps, beside = result.training.steps, 1e3 * spent["rest"].cpu / result.training.steps
    print(f"{steps} steps, lightning {L.__version__}: {beside:.2f} ms of the processor beside each")
    print(save("overhead", 1, as_plain(spent), steps=steps))


def _cells(seconds: float, total: float) -> list[str]:
    return [f"{seconds:.1f}", f"{seconds / total:.1%}"]


if __name__ == "__main__":
    main()
