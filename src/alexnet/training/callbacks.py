"""The learning rate schedule and the checkpoints of a run."""

import shutil
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from alexnet.config.schema import Config
from alexnet.runs.directory import BEST, CHECKPOINTS, LAST
from alexnet.training.history import History
from alexnet.training.schedule import group_lr, progress


class LrSchedule(L.Callback):
    """Sets the learning rate of every epoch and ends training; all of its state is the history."""

    def __init__(self, config: Config, history: History) -> None:
        self.config = config
        self.history = history

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A run stopped between its last epoch and its result has nothing left to train when it is resumed.
        self._stop_when_finished(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        drops = progress(self.config.schedule, self.history.schedule_errors).drops
        for group in trainer.optimizers[0].param_groups:
            kind = {"is_bias": group["is_bias"], "is_late": group["is_late"]}
            group["lr"] = group["rate_factor"] * group_lr(self.config, trainer.current_epoch, drops, **kind)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_when_finished(trainer)

    def _stop_when_finished(self, trainer: L.Trainer) -> None:
        schedule, history = self.config.schedule, self.history
        error = history.records[-1].train_set_top1_error if history.records else None
        target = schedule.stop_at_train_error
        fitted = target is not None and error is not None and error <= target
        if fitted or progress(schedule, history.schedule_errors).finished:
            trainer.should_stop = True


def checkpoint_callbacks(directory: Path, history: History) -> list[L.Callback]:
    """`last.ckpt` after every epoch, and `best.ckpt` by validation error; each is replaced in one step."""
    folder = directory / CHECKPOINTS
    last = ModelCheckpoint(folder, filename=LAST, enable_version_counter=False, save_on_train_epoch_end=True)
    return [last, BestCheckpoint(folder, history)]


class BestCheckpoint(Checkpoint):
    """Keeps the last checkpoint as the best one if it is: the same file under a second name, at no cost.

    Must come after the callback that saves the last. All of its state is the history, so that a run killed between the
    two makes up for it when it is resumed.
    """

    def __init__(self, folder: Path, history: History) -> None:
        self.last, self.best = (folder / f"{name}.ckpt" for name in (LAST, BEST))
        self.history = history

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        records = self.history.records
        if records and records[-1].step == trainer.global_step:  # the last checkpoint is that of an epoch's end
            self._keep(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._keep(trainer)

    def _keep(self, trainer: L.Trainer) -> None:
        errors = [record.val_top1_error for record in self.history.records if record.val_top1_error is not None]
        if not (trainer.is_global_zero and errors and errors.index(min(errors)) == len(errors) - 1):
            return
        partial = self.best.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        try:
            partial.hardlink_to(self.last)
        except OSError:  # the file system has no hard links
            shutil.copyfile(self.last, partial)
        partial.replace(self.best)
