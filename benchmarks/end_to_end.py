"""Images per second from files to updated weights: the whole training of a run beside a script of today.

python benchmarks/end_to_end.py [--batches 32 128 256] [--cores 1 2] [--rounds 3] [--seconds 12]
python benchmarks/end_to_end.py --images FOLDER ...       photographs in class folders; else pictures are drawn
On a GPU:
python benchmarks/end_to_end.py --draw 20000 --batches 128 1024 --cores 16 --seconds 20 --rounds 1      eight minutes

Ours is the paper's run as `train.py experiment=ilsvrc2012` has it, from a JPEG pack: loader, crops, flips, colour
noise, two columns, response normalisation, dropout, the rule of 2012, errors counted. `fast` adds bf16-mixed and the
tuned allocator. The script is that of torch's examples: ImageFolder, RandomResizedCrop, flip, Normalize, a DataLoader's
worker processes, `torchvision.models.alexnet` without any of these, torch's SGD; once more under autocast.

Every measurement is a process of its own on as many cores as `--cores` says, in turns; the first turn of the loop is
left out. Memory is the largest resident set, worker processes added, or what torch has had of the GPU's. The floor is
the time of all multiply-adds and of the update's and the maps' traffic at the rates of this machine's cores
(benchmarks/step.py), or of the GPU's data sheet.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import lightning as L
import torch
import torch.nn.functional as F
import torchvision
import torchvision.transforms as T
from rich.console import Console
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from alexnet.config.job import check
from alexnet.data.pack.prepare import prepare
from alexnet.net.alexnet import AlexNet
from alexnet.training import fit as fitting
from alexnet.training.module import AlexNetModule
from alexnet.training.run import run
from measuring import computes_bfloat16, copying_bandwidth, multiplying_rate, print_table, save
from step import floor
from synthesize import synthesize

PEER = "script"
FAST = ["hardware.precision=bf16-mixed", "hardware.allocator=tuned"]
WAYS: dict[str, list[str]] = {PEER: [], "ours": [], "script, bfloat16": [], "ours, fast": FAST}
DATA_SHEETS = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
"""Dense bfloat16 operations (two a multiply-add) and bytes, a second, of NVIDIA's SXM modules: their data sheets."""


class Enough(Exception):  # noqa: N818
    """Ends the run that is measured."""


class Stopwatch(L.Callback):
    """Ends a run after so many seconds of training, validation and the first turn of Lightning's loop left out."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.images, self.spent, self.waited = 0, 0.0, 0.0
        self._begun = False
        self._last, self._seen, self._waited = 0.0, 0, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._last, self._seen, self._waited = time.perf_counter(), 0, 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, AlexNetModule)
        _wait()
        now, seen = time.perf_counter(), pl_module.images_before(batch_idx + 1)
        waited = float(getattr(trainer.train_dataloader, "data_wait_seconds", 0.0))
        if self._begun:
            self.spent += now - self._last
            self.images += seen - self._seen
            self.waited += waited - self._waited
        self._begun = True
        self._last, self._seen, self._waited = now, seen, waited
        if self.spent > self.seconds:
            raise Enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="photographs in class folders")
    parser.add_argument("--draw", type=int, default=2000, help="pictures to draw where there are none")
    parser.add_argument("--keep", type=Path, help="folder for pictures and pack, used again where they are there")
    parser.add_argument("--batches", type=int, nargs="+", default=[32])
    parser.add_argument("--cores", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="of train.py, for our runs")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options)))
        return
    native = computes_bfloat16()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        photographs = options.images or folder / "pictures"
        if not photographs.exists():
            synthesize(photographs, images=options.draw, classes=min(1000, options.draw // 10))
        pack = folder / "pack"
        if not pack.exists():
            prepare(photographs, pack, size=256, encoding="jpeg", val_fraction=0.01)
        settings = list(_settings(options))
        ways = [way for way in WAYS if native or way in (PEER, "ours")]
        runs = len(settings) * len(ways) * options.rounds
        print(f"{runs} measurements, each {options.seconds:.0f} s and its start", file=sys.stderr, flush=True)
        name = "end_to_end_gpu" if torch.cuda.is_available() else "end_to_end"
        done: list[dict[str, Any]] = []
        for setting in settings:
            for rows in _in_turns(options, ways, photographs, pack, *setting):
                save(name, options.rounds, [*done, *rows], device=_device(), seconds=options.seconds)
            show(rows)
            done += rows


def _settings(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Batch size and cores: every batch on the fewest cores, the first batch on more."""
    yield from ((batch, options.cores[0]) for batch in options.batches)
    yield from ((options.batches[0], cores) for cores in options.cores[1:])


def _in_turns(
    options: argparse.Namespace, ways: list[str], photographs: Path, pack: Path, batch: int, cores: int
) -> Iterator[list[dict[str, Any]]]:
    """Medians by way at one batch size and number of cores, after each measurement."""
    seen: dict[str, list[dict[str, float]]] = {}
    for way in ways * options.rounds:
        fixed = ["--measure", way, "--seconds", str(options.seconds), "--batches", str(batch)]
        where = ["--images", str(photographs), "--keep", str(pack), "--cores", str(cores), *options.overrides]
        command = [sys.executable, __file__, *fixed, *where]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        executions = seen.setdefault(way, [])
        executions.append(json.loads(output.splitlines()[-1]))
        figures = ", ".join(f"{key} {value:,.3g}" for key, value in executions[-1].items())
        print(f"  batches of {batch}, {cores} cores, {way}: {figures}", file=sys.stderr, flush=True)
        yield [
            {"batch": batch, "cores": cores, "way": way}
            | {key: median(execution[key] for execution in executions) for key in executions[0]}
            for way, executions in seen.items()
        ]


def measured(options: argparse.Namespace) -> dict[str, float]:
    """One measurement in this process: images per second, the floor's, and the most memory in bytes."""
    way, batch, cores = options.measure, options.batches[0], options.cores[0]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    torch.set_num_threads(cores)
    if way.startswith(PEER):
        rates = script(options.images, batch, cores, options.seconds, bfloat16=way != PEER)
    else:
        rates = ours(options.keep, batch, options.seconds, [*WAYS[way], *options.overrides])
    least = _floor(batch, torch.bfloat16 if way not in (PEER, "ours") else torch.float32, cores)
    return {**rates, "floor_seconds": least, "memory_bytes": _most_memory()}


def ours(pack: Path, batch: int, seconds: float, overrides: list[str]) -> dict[str, float]:
    """A run, ended after a while."""
    fixed = [
        "experiment=ilsvrc2012",
        f"data.root={pack}",
        f"optimizer.batch_size={batch}",
        "logger.wandb.mode=disabled",
    ]
    job = check([*fixed, "schedule=epochs_30", "schedule.epochs=1000", "schedule.milestones=[]", *overrides])
    stopwatch = Stopwatch(seconds)
    checkpoints = patch.object(fitting, "checkpoint_callbacks", lambda *_, **__: [stopwatch])
    with tempfile.TemporaryDirectory() as folder, checkpoints, suppress(Enough):
        run(job, Path(folder) / "run", console=Console(file=sys.stderr))
    return _rates(stopwatch.images, stopwatch.spent, stopwatch.waited)


def _rates(images: int, spent: float, waited: float) -> dict[str, float]:
    return {"images_per_second": images / spent, "waiting": waited / spent}


def script(photographs: Path, batch: int, workers: int, seconds: float, *, bfloat16: bool) -> dict[str, float]:
    """A script as torch's examples/imagenet, ended after a while."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    normalise = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    steps = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), T.ToTensor(), normalise])
    data = ImageFolder(str(photographs), steps)
    loader = DataLoader(
        data, batch, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda", persistent_workers=True
    )
    net = torchvision.models.alexnet(num_classes=1000).to(device)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=1e-4)
    begun, images, spent, waited, total_loss = False, 0, 0.0, 0.0, 0.0
    batches = (pair for _ in count() for pair in loader)
    while spent <= seconds:
        start = time.perf_counter()
        pixels, labels = next(batches)
        fetched = time.perf_counter()
        pixels, labels = pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            scores = net(pixels)
            loss = F.cross_entropy(scores, labels)
        total_loss += loss.item()
        _right = scores.topk(5).indices.eq(labels[:, None]).sum().item()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        _wait()
        if begun:
            images, spent = images + len(labels), spent + time.perf_counter() - start
            waited += fetched - start
        begun = True
    return _rates(images, spent, waited)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _most_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + workers)


def _floor(batch: int, dtype: torch.dtype, cores: int) -> float:
    """Seconds of a step of the paper's network; 0 where the machine's rates are not known."""
    net = AlexNet(check(["experiment=ilsvrc2012", "data.root=none"]).config, num_classes=1000, seed=0)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
        return floor(net.specs, batch, dtype, cores * multiplying_rate(dtype), copying_bandwidth())["all"]
    sheet = next((rates for name, rates in DATA_SHEETS.items() if name in torch.cuda.get_device_name()), None)
    if sheet is None or dtype != torch.bfloat16:
        return 0.0
    return floor(net.specs, batch, dtype, sheet[0] / 2, sheet[1])["all"]


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def show(rows: list[dict[str, Any]]) -> None:
    """The ratio is to the script in float32 at the same batch and on as many cores."""
    table = []
    for row in rows:
        (peer,) = (r for r in rows if [r["way"], r["batch"], r["cores"]] == [PEER, row["batch"], row["cores"]])
        rate = row["images_per_second"]
        reached = f"{row['floor_seconds'] * rate / row['batch']:.0%}" if row["way"].startswith("ours") else ""
        ratio, memory = f"{rate / peer['images_per_second']:.2f}", f"{row['memory_bytes'] / 1e6:,.0f}"
        cells = [f"{rate:,.1f}", ratio, reached, f"{row['waiting']:.0%}", memory]
        table.append([str(row["batch"]), str(row["cores"]), row["way"], *cells])
    header = ["batch", "cores", "way", "images/s", "times the script", "of the floor", "waiting", "memory, MB"]
    print_table(header, table)


if __name__ == "__main__":
    main()
