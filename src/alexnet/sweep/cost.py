"""What a sweep will cost: its data opened once, images to train on, and hours from a few timed steps."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from alexnet.config.job import Job
from alexnet.data.pack.pack import Pack
from alexnet.runs.directory import METRICS_FILE
from alexnet.sweep.planned import PlannedRun
from alexnet.training.fit import preflight
from alexnet.training.speed import seconds_per_image

TIMING_SECONDS = 8.0
"""Time allowed for timing all the networks of a sweep."""
EVALUATION_SHARE = 1 / 3
"""Time to evaluate a crop over time to train on one: a forward pass without a backward one, which costs about two."""
FINAL_CROPS = 11
"""Crops that the final evaluation sees of every image: the centre and ten."""
_WITHOUT_SPEED = ("seed", "ablations", "recipe", "experiment", "target", "runs", "restart", "wandb", "init", "schedule")
"""Configuration that does not change how long an image takes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do of one run, in images."""

    trained: int
    evaluated: int
    """Crops."""

    @property
    def weight(self) -> float:
        """The work as images trained on."""
        return self.trained + EVALUATION_SHARE * self.evaluated


def open_packs(runs: Iterable[PlannedRun]) -> dict[Path, Pack]:
    """The data of each run, by run directory, each set opened and checked once.

    Raises:
        UserError: whatever `preflight` refuses.
    """
    opened: dict[str, Pack] = {}
    packs = {}
    for run in runs:
        config = run.job.config
        key = json.dumps([run.job.tree["data"], config.scale.image_size])
        packs[run.directory] = opened[key] = preflight(run.job, pack=opened.get(key))
    return packs


def work(run: PlannedRun, pack: Pack) -> Work:
    """What is left of a run; for a schedule that ends by itself, the most that can be."""
    epochs = run.job.config.schedule.epochs - (0 if run.job.config.restart else _epochs_done(run.directory))
    images = {name: len(split) for name, split in pack.splits.items()}
    validated = images.get("val", 0)
    final = FINAL_CROPS * (validated + images.get("test", 0))
    return Work(trained=epochs * images["train"], evaluated=epochs * validated + final)


def _epochs_done(directory: Path) -> int:
    try:
        return len((directory / METRICS_FILE).read_text(encoding="utf-8").splitlines()) - 1
    except OSError:
        return 0


def timed_speeds(runs: Sequence[PlannedRun], packs: Mapping[Path, Pack]) -> dict[Path, float]:
    """Seconds per training image of each run, by run directory.

    Each distinct network is timed; those that the time allowed does not reach get the mean of the others.
    """
    distinct = {_speed_key(run.job): run for run in runs}
    started = time.monotonic()
    timed: dict[str, float] = {}
    for key, run in distinct.items():
        if time.monotonic() - started < TIMING_SECONDS:
            timed[key] = seconds_per_image(run.job, packs[run.directory], allowed=TIMING_SECONDS / len(distinct) / 2)
    return {run.directory: timed.get(_speed_key(run.job), mean(timed.values())) for run in runs}


def _speed_key(job: Job) -> str:
    kept = {key: value for key, value in job.tree.items() if key not in _WITHOUT_SPEED}
    return json.dumps(kept | {"optimizer": job.config.optimizer.batch_size}, sort_keys=True)
