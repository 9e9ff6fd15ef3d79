"""What a batch of runs will cost: images to train on, and hours from a few timed steps."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from rich.console import Console
from torch import Tensor

from alexnet.config.compose import validate
from alexnet.config.identity import ablation_name
from alexnet.config.job import Job
from alexnet.config.schema import Config, ConfigTree
from alexnet.data.loading import val_splits
from alexnet.data.pack.pack import Pack
from alexnet.data.threads import available_cpus
from alexnet.devices import choose_device, synchronize
from alexnet.errors import first_line, shown_time
from alexnet.net.plan import layer_specs
from alexnet.net.specs import multiply_adds
from alexnet.terminal import busy
from alexnet.training.datamodule import PackDataModule
from alexnet.training.distributed import SINGLE_PROCESS, requested_world_size
from alexnet.training.fit import notes_on_images, preflight, silence_lightning
from alexnet.training.hardware import configure_process, trainer_options
from alexnet.training.history import History, LrSchedule
from alexnet.training.module import AlexNetModule

if TYPE_CHECKING:
    from alexnet.sweep.study import PlannedRun

STEPS = 3
"""Steps after which an ablation's weights are compared with the baseline's."""
WARM_UP = 2
"""Steps that are not timed: they compile, and set things up."""
TIMING_SECONDS = 4.0
"""Time allowed for timing steps of one network; the others are reckoned by their multiply-adds."""
EVALUATION_SHARE = 1 / 3
"""Time to evaluate a crop over time to train on one: a forward pass without a backward one, which costs about two."""
FINAL_CROPS = 10
"""Crops of every image that the final evaluation computes: the center is one of the ten."""


def forecast(
    runs: "Sequence[PlannedRun]", launcher: str, at_once: int | None, console: Console, *, import_seconds: float = 0.0
) -> tuple[dict[Path, float], float | None]:
    """Say what the runs will cost; return the multiply-adds of each, by run directory, and the seconds of them all.

    Opens the data of every run; UserError as of `preflight`. `at_once` is how many runs share this machine; None if
    that is not known, nor then the seconds. `import_seconds` is what it takes other processes to load the libraries.
    """
    packs: dict[str, Pack] = {}
    work: dict[Path, float] = {}
    new: dict[str, tuple[Job, Pack]] = {}
    trained = 0
    for run in runs:
        key = json.dumps([run.job.tree["data"], run.job.config.scale.image_size])
        pack = packs[key] = preflight(run.job, pack=packs.get(key))
        images, crops = _left(run, pack)
        cost = sum(multiply_adds(layer) for layer in layer_specs(run.job.config, len(pack.class_names)))
        work[run.directory] = cost * (images + EVALUATION_SHARE * crops)
        trained += images
        if run is runs[0]:
            first_pack, first_cost = pack, cost
            for note in notes_on_images(run.job, pack):
                console.print(note)
        if run.written_before is None:
            new[ablation_name(run.job.tree)] = run.job, pack
    console.print(f"at most {trained:,} training images")
    seconds = None
    if at_once is None:
        line = f"no forecast of the time: hydra/launcher={launcher} decides where the runs compute"
    elif any(requested_world_size(run.job.config) > 1 for run in runs):
        line = "no forecast of the time: its runs are of several processes"
    else:
        try:
            with busy("timing a few steps of the first run", console):
                seconds_per_image, setup = time_steps(runs[0].job, first_pack, at_once)
            side_by_side = min(at_once, len(runs))
            training = seconds_per_image / first_cost * sum(work.values()) / side_by_side
            seconds = training + setup * ceil(len(runs) / side_by_side) + (import_seconds if at_once > 1 else 0)
            order = f"{side_by_side} runs at a time, each as fast as alone" if side_by_side > 1 else "one run at a time"
            rate = f"{1 / seconds_per_image:,.0f} images/s in a few steps of the first run timed now"
            line = f"about {shown_time(seconds)} of training and testing: {order}, {rate}"
        except Exception as error:  # the run itself will say what is wrong with it, and the others continue
            line = f"no forecast of the time: {first_line(error)}"
    console.print(line)
    if seconds is not None:
        with busy("comparing first steps with the baseline's", console):
            for note in notes_without_effect(new.values()):
                console.print(note)
    return work, seconds


def runs_at_once(configs: Sequence[Config]) -> int:
    """Return how many runs of a batch compute side by side without a launcher: a function of the machine and them.

    On CPUs as many as have a thread each, or the threads that they ask for; one on a GPU, which one run keeps busy, and
    one if a run is of several processes.
    """
    if (chosen := configs[0].study.runs_at_once) is not None:
        return min(chosen, len(configs))
    on_cpus = all(choose_device(one.hardware.accelerator).type == "cpu" for one in configs)
    if not on_cpus or any(requested_world_size(one) > 1 for one in configs):
        return 1
    threads = max(one.hardware.threads or 1 for one in configs)
    return max(1, min(len(configs), available_cpus() // threads))


def _left(run: "PlannedRun", pack: Pack) -> tuple[int, int]:
    """Return what is left of a run: images to train on and crops to evaluate, at most."""
    epochs = run.job.config.schedule.epochs - run.epochs_done
    data = PackDataModule(pack, run.job.config)
    validated = sum(data.images(split, "val") for split in val_splits(pack, run.job.config))
    tested = sum(data.images(split, "test") for split in data.evaluated)
    return epochs * data.images("train", "train"), epochs * validated + FINAL_CROPS * tested


def time_steps(job: Job, pack: Pack, at_once: int) -> tuple[float, float]:
    """Time the job's own first steps, without evaluation, on the threads that are its share.

    Return the seconds that an image takes, and those before the first steps, compiling included.
    """
    ends: list[float] = []

    def ended(trainer: L.Trainer, *_: object) -> None:
        synchronize(trainer.strategy.root_device)  # a step is over when its kernels are, not when they are queued
        ends.append(time.perf_counter())
        trainer.should_stop = len(ends) > WARM_UP and ends[-1] - ends[WARM_UP] > TIMING_SECONDS

    silence_lightning()
    threads = torch.get_num_threads()
    configure_process(job.config.hardware, replace(SINGLE_PROCESS, runs=at_once))
    begun = time.perf_counter()
    try:
        train_steps(job.tree, pack, LambdaCallback(on_train_start=ended, on_train_batch_end=ended))
    finally:
        torch.set_num_threads(threads)
    steps = [end - start for start, end in pairwise(ends)]
    step, warm_up = median(steps[WARM_UP:] or steps[-1:]), min(WARM_UP, len(steps))
    images = min(job.config.optimizer.batch_size, PackDataModule(pack, job.config).images("train", "train"))
    turns = job.config.hardware.accumulate_grad_batches
    return turns * step / images, max(0.0, ends[warm_up] - begun - step * warm_up)


def train_steps(tree: ConfigTree, pack: Pack, *callbacks: Callback, steps: int = -1) -> dict[str, Tensor]:
    """Train for some steps, or until a callback ends it, at most an epoch, and return the weights by name."""
    config = validate(tree)
    trainer = L.Trainer(
        **trainer_options(config.hardware),
        max_epochs=1,
        max_steps=steps,
        logger=False,
        callbacks=[LrSchedule(config, History(Path())), *callbacks],  # an empty history: the rates of the first epoch
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = AlexNetModule(config, tree, pack)
    trainer.fit(module, PackDataModule(pack, config))
    return module.net.state_dict()


def notes_without_effect(jobs: Iterable[tuple[Job, Pack]]) -> Iterator[str]:
    """Name the jobs whose ablations leave the same weights after the first steps as there are without.

    Where the configuration shows that an ablation has no effect, the job was refused before.
    """
    baselines: dict[str, dict[str, Tensor]] = {}
    for job, pack in jobs:
        if not job.changes or any(key.startswith("pretrained.") for key in job.changes):  # here all weights are drawn
            continue
        with suppress(Exception):  # the run itself will say what is wrong with it
            changed = train_steps(job.tree, pack, steps=STEPS)
            key = json.dumps([job.baseline, pack.fingerprint])
            if key not in baselines:
                baselines[key] = train_steps(job.baseline, pack, steps=STEPS)
            same = baselines[key]
            if same.keys() == changed.keys() and all(torch.equal(same[name], changed[name]) for name in same):
                yield (
                    f"note: after {STEPS} steps of {ablation_name(job.tree)} the weights are those of the baseline, bit"
                    " for bit: what it changes comes later, or in testing alone, or not at all"
                )
