"""Runs per hour of a study, and the speed of a single run beside a busy program.

python benchmarks/throughput.py [--rounds 3] [--epochs 4]
python benchmarks/throughput.py --before CHECKOUT      the same study by another checkout too, with its own environment

A study of four short runs of `study_small`, by its two ways, in turns: one run after another on all threads, and side
by side on a thread each, as is the default. Loading the libraries, evaluation and comparison are included. Then single
runs beside a process that keeps one core busy: with one thread, and as is the default; images a second of training.
Every figure is printed and written as it comes; about 4 minutes a round on two cores of 500 images/s.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from alexnet.runs.metrics import read_metrics
from measuring import print_table, save, shown

HERE = Path(__file__).parents[1]
STUDY = ["experiment=study_small", "+ablation=none,no_lrn", "seed=0,1"]
RUNS = 4
SINGLE = ["experiment=small", "hardware.progress_bar=false"]
COMMON = ["hardware.accelerator=cpu", "schedule.milestones=[]"]
Row = dict[str, str | float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--only", choices=["study", "neighbor"])
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        packs = Path(folder, "packs")
        common = [*COMMON, f"schedule.epochs={options.epochs}", f"data.packs={packs}"]
        begun = time.perf_counter()
        for turn in range(options.rounds):
            if turn == 1:
                print(f"about {shown((options.rounds - 1) * (time.perf_counter() - begun))} left", flush=True)
            if options.only != "neighbor":
                for way, (checkout, words) in _ways(options.before).items():
                    seconds = _seconds(checkout, [*STUDY, *common, *words, f"runs={folder}/{turn}-{way}"])
                    _add(rows, options.rounds, way, 3600 * RUNS / seconds, "runs/h")
            if options.only != "study":
                with busy_neighbor():
                    for way, words in {"one thread": ["hardware.threads=1"], "default": []}.items():
                        runs = Path(folder, f"{turn}-{way}-beside")
                        _seconds(HERE, [*SINGLE, *common, *words, f"runs={runs}"])
                        (directory,) = runs.iterdir()
                        speed = median(epoch.images_per_second for epoch in read_metrics(directory).epochs)
                        _add(rows, options.rounds, f"{way}, beside a busy core", speed, "images/s")
    show(rows)


def _ways(before: Path | None) -> dict[str, tuple[Path, list[str]]]:
    ways = {"one after another": (HERE, ["study.runs_at_once=1"]), "side by side": (HERE, list[str]())}
    return ways if before is None else {"before": (before.resolve(), list[str]())} | ways


def _seconds(checkout: Path, words: list[str]) -> float:
    """Do a command of a checkout, which must succeed, and return the time that it takes."""
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    start = time.perf_counter()
    environment = os.environ | {"WANDB_MODE": "disabled"}
    command = [python, str(checkout / "train.py"), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def _add(rows: list[Row], rounds: int, way: str, value: float, unit: str) -> None:
    rows.append({"way": way, "value": value, "unit": unit})
    print(f"{way}: {value:,.0f} {unit}", flush=True)
    save("throughput", rounds, rows)


@contextmanager
def busy_neighbor() -> Iterator[None]:
    """Keep one core busy."""
    neighbor = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    neighbor.start()
    try:
        yield
    finally:
        neighbor.kill()
        neighbor.join()


def _burn() -> None:
    while True:
        pass


def show(rows: list[Row]) -> None:
    """Medians, and how they compare with the first way of the same unit."""
    seen: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        seen.setdefault((str(row["unit"]), str(row["way"])), []).append(float(row["value"]))
    first: dict[str, float] = {}
    table = []
    for (unit, way), values in seen.items():
        base = first.setdefault(unit, median(values))
        table.append([way, f"{median(values):,.0f} {unit}", f"{median(values) / base:.2f}"])
    print_table(["way", "median", "times the first"], table)


if __name__ == "__main__":
    main()
