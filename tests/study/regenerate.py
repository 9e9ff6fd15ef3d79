"""Train a committed run again, by its own command, and compare it with what is committed.

On the same processor with the same versions every number must be the same, bit for bit. Elsewhere rounding differs, and
the difference grows during training, as between seeds: the loss of the first epoch must agree within 2 %, and each
final error within what two seeds of the arm may differ by (99.9 %, normal errors; 5 points where there is one seed).

    python tests/study/regenerate.py RUN_DIRECTORY [DATA_ROOT]

DATA_ROOT takes the place of the `data.root` in the command. The other runs of the folder are shown to the command: a
plan needs those of its search. Prints what differs and ends with exit code 1 if anything does.
"""

import csv
import json
import math
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[2]
OF_TIME = ("seconds", "images_per_second", "waiting_percent")
FIRST_LOSS = 0.02
UNKNOWN_SPREAD = 5.0


def result_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def train_again(run: Path, folder: Path, data_root: str | None) -> Path:
    """Train in `folder`, where the other runs of the study are copied to; return the new run's directory."""
    shutil.copytree(run.parent, folder, ignore=lambda _, names: {run.name} & {*names})
    words = shlex.split(result_of(run)["command"])[2:]
    given = [f"data.root={data_root}"] if data_root else []
    kept = [word for word in words if not word.startswith(("runs=", *["data.root="] * bool(given)))]
    before = {*folder.iterdir()}
    threads = f"hardware.threads={result_of(run)['environment']['threads']}"
    command = [sys.executable, "train.py", *kept, *given, threads, f"runs={folder}"]
    subprocess.run(command, cwd=ROOT, check=True)
    (made,) = [path for path in folder.iterdir() if path not in before and (path / "result.json").exists()]
    return made


def differences(committed: Path, again: Path) -> tuple[list[str], bool]:
    """What differs beyond what it may, and whether the two were made on the same kind of machine."""
    first, second = result_of(committed), result_of(again)
    found = [
        f"{name}: committed {first[name]!r}, again {second[name]!r}"
        for name in ("ablation", "seed", "changes", "lr", "numerics", "parameters")
        if first[name] != second[name]
    ]
    if first["data"]["fingerprint"] != second["data"]["fingerprint"]:
        return [*found, "the images are others: their fingerprints differ"], False
    alike = all(first[name] == second[name] for name in ("versions", "environment", "device", "precision"))
    compare = exact_differences if alike else rounded_differences
    return found + compare(committed, again), alike


def epochs_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in line.items() if k not in OF_TIME} for line in csv.DictReader(file)]


def exact_differences(committed: Path, again: Path) -> list[str]:
    found = []
    for number, (one, other) in enumerate(zip(epochs_of(committed), epochs_of(again), strict=True), 1):
        found += [f"epoch {number}, {name}: {one[name]}, {other[name]}" for name in one if one[name] != other[name]]
    if result_of(committed)["errors"] != result_of(again)["errors"]:
        found.append("the errors differ")
    if (committed / "predictions.npz").exists():
        with np.load(committed / "predictions.npz") as one, np.load(again / "predictions.npz") as other:
            found += [f"predictions, {name}" for name in one.files if not np.array_equal(one[name], other[name])]
    return found


def rounded_differences(committed: Path, again: Path) -> list[str]:
    losses = [float(epochs_of(run)[0]["train_loss"]) for run in (committed, again)]
    found = []
    if not math.isclose(*losses, rel_tol=FIRST_LOSS):
        found.append(f"loss of the first epoch: committed {losses[0]:.4f}, again {losses[1]:.4f}")
    errors = [result_of(run)["errors"] for run in (committed, again)]
    for split, views in errors[0].items():
        for view, rates in views.items():
            for measure in ("top1", "top5"):
                change = 100 * (errors[1][split][view][measure] - rates[measure])
                limit = spread_limit(committed, split, view, measure)
                if abs(change) > limit:
                    found.append(f"{split} {view} {measure}: {change:+.2f} points, more than {limit:.2f}")
    return found


def spread_limit(run: Path, split: str, view: str, measure: str) -> float:
    """By how many points two seeds of the run's arm may differ in an error."""
    own = result_of(run)
    arm = [
        100 * result["errors"][split][view][measure]
        for path in sorted(run.parent.glob("*/result.json"))
        if (result := json.loads(path.read_text()))["status"] == "finished"
        and all(result[name] == own[name] for name in ("ablation", "lr", "pairing_key", "numerics"))
    ]
    if len(arm) < 2:
        return UNKNOWN_SPREAD
    return float(stats.t.ppf(0.9995, len(arm) - 1) * math.sqrt(2) * stdev(arm))


def main(run: Path, data_root: str | None = None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        again = train_again(run, Path(folder) / "runs", data_root)
        found, alike = differences(run, again)
    print(*found, sep="\n", end="\n" * bool(found))
    kind = "the same kind of machine: bit for bit" if alike else "another kind of machine: within the tolerance"
    print(f"{run.name}, {kind}: {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
