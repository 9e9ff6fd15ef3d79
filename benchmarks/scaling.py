"""Images a second of a training by one process, and by several that share every batch (`devices=ddp`).

python benchmarks/scaling.py [--rounds 3] [--processes 1 2] [OVERRIDES ...]

Whole runs of train.py on drawn images, in turn; what counts is the last of their epochs, as metrics.csv has it. The
batch is the same in all, 128 images of the small net and 32 of the paper's unless OVERRIDES say otherwise. By default
as many processes as there are GPUs, in powers of two; on a CPU one and two, each with its share of the cores, and one
with a single thread, which tells what the processes themselves cost.
"""

import argparse
import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from alexnet.data.threads import available_cpus
from measuring import print_table, report

SCALES = {
    "small": ["data.shapes.train_per_class=150", "optimizer.batch_size=128"],
    "paper": ["scale=paper", "data.shapes.train_per_class=16", "optimizer.batch_size=32"],
}
BRIEF = [
    "schedule=epochs_20",
    "schedule.epochs=2",
    "schedule.milestones=[]",
    "optimizer.lr=0.001",
    "logger.wandb.mode=disabled",
]
HEADER = ["scale", "divided", "images/s", "times the first"]
FEW = ["data.shapes.val_per_class=1", "data.shapes.test_per_class=1", "hardware.progress_bar=false", "restart=true"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a training is divided."""

    processes: int
    threads: int | None
    """CPU threads of each; None where GPUs compute."""

    @property
    def overrides(self) -> list[str]:
        threads = [f"hardware.threads={self.threads}"] if self.threads else []
        return [*threads, "devices=ddp", f"devices.replicas={self.processes}"]

    def __str__(self) -> str:
        many = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return many if self.threads is None else f"{many} x {self.threads} thread{'s' if self.threads > 1 else ''}"


def ways(processes: list[int]) -> list[Way]:
    """How to divide the work, that of one process with all of the machine first."""
    if torch.cuda.is_available():
        return [
            Way(processes=number, threads=None) for number in processes or _powers_of_two(torch.cuda.device_count())
        ]
    shared = [Way(processes=number, threads=max(1, available_cpus() // number)) for number in processes or [1, 2]]
    single = Way(processes=1, threads=1)
    return shared if single in shared else [*shared, single]


def _powers_of_two(largest: int) -> list[int]:
    return [2**power for power in range(largest.bit_length())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[])
    options, overrides = parser.parse_known_args()
    with TemporaryDirectory() as folder:
        groups = (_scale(name, options, overrides, Path(folder)) for name in SCALES)
        report(groups, show, "scaling", options.rounds)


def _scale(name: str, options: argparse.Namespace, overrides: list[str], folder: Path) -> list[dict[str, str]]:
    arguments = [*BRIEF, *FEW, *SCALES[name], f"data.packs={folder}/packs", *overrides]
    speeds = _speeds(ways(options.processes), arguments, options.rounds, folder)
    first = next(iter(speeds.values()))
    cells = ([name, str(way), f"{speed:.0f}", f"{speed / first:.2f}"] for way, speed in speeds.items())
    return [dict(zip(HEADER, row, strict=True)) for row in cells]


def show(rows: list[dict[str, str]]) -> None:
    print_table(HEADER, [list(row.values()) for row in rows])


def _speeds(candidates: list[Way], arguments: list[str], rounds: int, folder: Path) -> dict[Way, float]:
    """Medians over rounds in which every way has its turn."""
    seen: dict[Way, list[float]] = {way: [] for way in candidates}
    for _ in range(rounds):
        for way in candidates:
            seen[way].append(_images_per_second([*arguments, *way.overrides], folder / "runs"))
            print(f"  {way}: {seen[way][-1]:.0f} images/s", file=sys.stderr, flush=True)
    return {way: median(speeds) for way, speeds in seen.items()}


def _images_per_second(arguments: list[str], runs: Path) -> float:
    train = str(Path(__file__).parent.parent / "train.py")
    subprocess.run([sys.executable, train, *arguments, f"runs={runs}"], check=True, stdout=subprocess.DEVNULL)
    newest = max(runs.glob("*/metrics.csv"), key=lambda file: file.stat().st_mtime)
    with newest.open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["images_per_second"])


if __name__ == "__main__":
    main()
