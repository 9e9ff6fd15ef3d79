"""Whether the fast path costs accuracy: the same runs plainly and fast, paired by seed and test image.

python benchmarks/accuracy.py [--seeds 0 1 2] [--folder runs/accuracy] [OVERRIDES ...]        overrides of train.py

Trains what is missing, one run after the other: the demo, unless the overrides say otherwise. A second command with the
same folder compares what is there.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.arrays import read_predictions
from alexnet.runs.collect import Run, collect
from alexnet.study.statistics import Family
from measuring import computes_bfloat16, print_table, save

PATHS = {
    "plain": ["hardware.precision=32-true"],
    "fast": ["hardware.precision=bf16-mixed", "hardware.allocator=tuned", "hardware.matmul=onednn"],
}
VIEWS = ("center", "ten_crop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if not computes_bfloat16():
        parser.error("the fast path computes in bfloat16, which takes hours where it is emulated")
    seeds = ",".join(map(str, options.seeds))
    for path, switches in PATHS.items():
        folder = options.folder / path
        common = [f"seed={seeds}", f"runs={folder}", "logger.wandb.mode=disabled", *options.overrides]
        subprocess.run([sys.executable, "train.py", "-m", *common, *switches], check=True)
    runs = {path: _finished(options.folder / path) for path in PATHS}
    assert [run.result.seed for run in runs["plain"]] == [run.result.seed for run in runs["fast"]] == options.seeds
    rows = [_compared(runs, view, top) for view in VIEWS for top in (1, 5)]
    header = ["test images", "error", "plain, %", "fast, %", "fast - plain, points", "95 % interval", "p"]
    print_table(header, ([str(cell) for cell in row.values()] for row in rows))
    changes = {
        "paths": PATHS,
        "overrides": options.overrides,
        "seeds": options.seeds,
    }
    print(save("accuracy", len(options.seeds), rows, **changes))


def _finished(folder: Path) -> list[Run]:
    """In order of their seeds."""
    return sorted((run for run in collect([folder]).runs if run.finished), key=lambda run: run.result.seed)


def _compared(runs: dict[str, list[Run]], view: str, top: int) -> dict[str, str | int]:
    plain, fast = (np.stack([_right(run, view, top) for run in runs[path]]) for path in PATHS)
    mean = Family.of_correct([plain, fast]).delta(1)
    if mean is None:
        raise SystemExit("the runs of both paths are all alike, or there is one of each: no spread to compare by")
    interval = mean.interval()
    return {
        "images": plain.shape[1],
        "error": f"top-{top}, {view}",
        "plain": f"{100 * (1 - plain.mean()):.2f}",
        "fast": f"{100 * (1 - fast.mean()):.2f}",
        "delta": f"{float(mean.value):+.2f}",
        "interval": f"{interval.low:+.2f} to {interval.high:+.2f}",
        "p": f"{float(mean.p):.2f}",
    }


def _right(run: Run, view: str, top: int) -> NDArray[np.bool_]:
    """Whether each test image's class is among the `top` most probable ones, [N]."""
    seen = read_predictions(run.directory, "test", view)
    right: NDArray[np.bool_] = (seen.top5_classes[:, :top] == seen.labels[:, None]).any(axis=1)
    return right


if __name__ == "__main__":
    main()
