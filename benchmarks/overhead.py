"""Where a run's time goes: computing, data, and everything else.

python benchmarks/overhead.py [OVERRIDES ...]          of train.py; without any, the demo

Counted from the first training step's preparations to the written result; imports, drawing the images and building the
network are left out. `compute` is forward, backward, update and evaluation; `data` the making of batches and their way
to the device; the rest is Lightning's loop, counting errors, the display, W&B, checkpoints and result files.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import lightning as L
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.strategies import SingleDeviceStrategy
from rich.console import Console

from alexnet.config.compose import register
from alexnet.config.job import check
from alexnet.data.module import PackDataModule
from alexnet.training.module import AlexNetModule
from alexnet.training.momentum import Momentum2012
from alexnet.training.run import preflight, run
from measuring import print_table, save

COMPUTE: list[tuple[type, str]] = [
    (SingleDeviceStrategy, "training_step"),
    (SingleDeviceStrategy, "validation_step"),
    (SingleDeviceStrategy, "test_step"),
    (SingleDeviceStrategy, "backward"),
    (Momentum2012, "_update"),
]
DATA: list[tuple[type, str]] = [
    (PackDataModule, "train_dataloader"),
    (PackDataModule, "val_dataloader"),
    (PackDataModule, "test_dataloader"),
    (SingleDeviceStrategy, "batch_to_device"),
    (_DataFetcher, "__next__"),
]


class Ledger:
    """Seconds on the wall by what they were spent on. The functions that it counts do not call each other."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.steps = 0
        self.started: float | None = None

    def counted(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[kind] += time.perf_counter() - start

        return wrapped

    def starting(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(module: AlexNetModule) -> Any:
            if self.started is None:
                self.seconds.clear()
                self.started = time.perf_counter()
            return hook(module)

        return wrapped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    overrides = parser.parse_args().overrides
    register()
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
        total = time.perf_counter() - ledger.started
    rows = {**ledger.seconds, "rest": total - sum(ledger.seconds.values()), "all": total}
    print_table(["spent on", "s", "share"], [[kind, f"{s:.1f}", f"{s / total:.1%}"] for kind, s in rows.items()])
    rest = 1e3 * rows["rest"] / result.training.steps
    print(f"{result.training.steps} steps, lightning {L.__version__}: {rest:.2f} ms beside each")
    print(save("overhead", 1, rows, steps=result.training.steps))


if __name__ == "__main__":
    main()
