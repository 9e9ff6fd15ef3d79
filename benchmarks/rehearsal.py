"""The whole way at ImageNet's scale without ImageNet: draw, prepare, verify, train one epoch; time, disk and memory.

python benchmarks/rehearsal.py FOLDER [--images 100000] [--val 5000] [OVERRIDES ...]

FOLDER keeps the archive and the pack; an archive that is there already is used again. The network is a narrow AlexNet
on 224-pixel crops, so that an epoch is a matter of data; OVERRIDES go to train.py. Memory is the largest amount of a
process's own: pages of files on a disk, which the system keeps in its cache while it has room, do not count (Linux).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import print_table, save

NETWORK = ["experiment=ilsvrc2012", "scale.channels=[16,32,48,48,32]", "scale.fc_width=512", "init=source_2012"]
EPOCH = ["schedule=epochs_20", "schedule.epochs=1", "schedule.milestones=[]"]
QUIET = ["hardware.progress_bar=false", "logger.wandb.mode=disabled", "restart=true"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """Of the process's own memory."""
    made_bytes: int
    """On disk."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--val", type=int, default=5_000)
    options, overrides = parser.parse_known_args()
    tar = options.folder / f"rehearsal-{options.images}.tar"
    pack = options.folder / f"rehearsal-{options.images}"
    alexnet = [str(Path(sys.executable).with_name("alexnet"))]
    steps = []
    if not tar.exists():
        drawing = [str(tar), "--images", str(options.images), "--val", str(options.val)]
        steps.append(_step("draw", [sys.executable, str(Path(__file__).with_name("synthesize.py")), *drawing], tar))
    steps.append(_step("prepare", [*alexnet, "prepare", str(tar), str(pack), "--encoding", "jpeg"], pack))
    steps.append(_step("verify", [*alexnet, "verify", str(pack)], None))
    train = [sys.executable, str(Path(__file__).parent.parent / "train.py")]
    runs = options.folder / "runs"
    steps.append(
        _step(
            "train an epoch", [*train, *NETWORK, *EPOCH, *QUIET, f"data.root={pack}", f"runs={runs}", *overrides], None
        )
    )
    print_table(
        ["step", "by the clock, s", "on processors, s", "images per processor-second", "own memory, MB", "GB on disk"],
        (_row(step, options.images + options.val) for step in steps),
    )
    waited = _waited(runs)
    print(f"the network waited for its images {waited:.1f} % of the epoch")
    rows = [asdict(step) for step in steps]
    print(save(f"rehearsal_{options.images}", 1, rows, images=options.images, val=options.val, waiting_percent=waited))


def _step(name: str, command: list[str], made: Path | None) -> Step:
    print(" ".join(command), file=sys.stderr)
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(command)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _own_memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        sys.exit(process.returncode)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Step(name=name, seconds=seconds, cpu_seconds=cpu, peak_bytes=peak, made_bytes=_size(made) if made else 0)


def _own_memory(process: int) -> int:
    """Bytes of memory that no file on a disk backs."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def _row(step: Step, images: int) -> list[str]:
    return [
        step.name,
        f"{step.seconds:,.0f}",
        f"{step.cpu_seconds:,.0f}",
        "" if step.name.startswith("train") else f"{images / step.cpu_seconds:,.0f}",
        f"{step.peak_bytes / 1e6:,.0f}",
        f"{step.made_bytes / 1e9:.2f}" if step.made_bytes else "",
    ]


def _waited(runs: Path) -> float:
    """Share of the epoch, in percent, from the newest run's curves."""
    newest = max(runs.glob("*/metrics.csv"), key=lambda file: file.stat().st_mtime)
    names, values = (line.split(",") for line in newest.read_text().splitlines()[:2])
    return float(json.loads(values[names.index("waiting_percent")]))


if __name__ == "__main__":
    main()
