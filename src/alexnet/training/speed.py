"""How fast this machine trains a job: a few real steps, timed before a sweep so that its length can be foretold."""

import time
from itertools import pairwise
from statistics import median
from typing import Any

import lightning as L
import torch

from alexnet.config.job import Job
from alexnet.data.pack.pack import Pack
from alexnet.training.datamodule import PackDataModule
from alexnet.training.fit import silence_lightning
from alexnet.training.hardware import compile_if_wanted, configure_process, trainer_options
from alexnet.training.module import AlexNetModule


def seconds_per_image(job: Job, pack: Pack, *, allowed: float) -> float:
    """Time that one training image takes on the job's device, from its own first steps, of about `allowed` seconds.

    Everything of a training step is in it, evaluation is not. It is the median of the steps without the first, which
    sets things up, unless that one has used up the time by itself.
    """
    silence_lightning()
    threads = torch.get_num_threads()
    configure_process(job.config.hardware)
    stopwatch = _Stopwatch(allowed)
    trainer = L.Trainer(
        **trainer_options(job.config.hardware),
        max_epochs=1,
        logger=False,
        callbacks=[stopwatch],
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = AlexNetModule(job.config, job.tree, pack)
    compile_if_wanted(module.net, job.config.hardware)
    try:
        trainer.fit(module, PackDataModule(pack, job.config))
    finally:
        torch.set_num_threads(threads)
    return stopwatch.seconds_per_image


class _Stopwatch(L.Callback):
    """Times steps and ends training when the time is up."""

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self._images: list[int] = []
        self._ends: list[float] = []

    @property
    def seconds_per_image(self) -> float:
        steps = [(end - start) / n for (start, end), n in zip(pairwise(self._ends), self._images, strict=True)]
        return median(steps[1:] or steps)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._ends.append(time.perf_counter())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # a step is over when its kernels are, not when they are queued
        assert isinstance(pl_module, AlexNetModule)
        self._images.append(pl_module.images_before(batch_idx + 1) - sum(self._images))
        self._ends.append(time.perf_counter())
        trainer.should_stop = self._ends[-1] - self._ends[0] > self.allowed
