"""The schedule's hand on the learning rate, and the checkpoints of a run."""

from functools import partial
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from alexnet.config.schema import Config
from alexnet.evaluation.trained import CHECKPOINTS, LAST
from alexnet.training.history import History
from alexnet.training.schedule import fits, group_rate, progress

BEST = "best"


class ScheduledRate(L.Callback):
    """Sets the rate of every epoch and ends training; all of its state is the history."""

    def __init__(self, config: Config, history: History) -> None:
        self.config = config
        self.history = history

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A run stopped between its last epoch and its result has nothing left to train when it is resumed.
        self._stop_when_finished(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        drops = progress(self.config.schedule, self.history.schedule_errors).drops
        for group in trainer.optimizers[0].param_groups:
            # Checkpoints from before a key existed hold groups without it, of runs in which it had no effect.
            schedule = {"is_bias": group.get("is_bias", False), "is_late": group.get("is_late", False)}
            scheduled = group_rate(self.config, trainer.current_epoch, drops, **schedule)
            group["lr"] = group.get("rate_factor", 1.0) * scheduled

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_when_finished(trainer)

    def _stop_when_finished(self, trainer: L.Trainer) -> None:
        schedule, history = self.config.schedule, self.history
        if progress(schedule, history.schedule_errors).finished or fits(schedule, history.train_set_error):
            trainer.should_stop = True


def checkpoint_callbacks(directory: Path, *, has_validation: bool) -> list[ModelCheckpoint]:
    """`last.ckpt` after every epoch, and `best.ckpt` by validation error; each is replaced in one step."""
    folder = directory / CHECKPOINTS
    replaced = partial(ModelCheckpoint, folder, enable_version_counter=False, save_on_train_epoch_end=True)
    last = replaced(filename=LAST)
    best = replaced(filename=BEST, monitor="val/top1_error", mode="min")
    # `last` comes last: a run killed between the two files must not resume behind the best it has recorded.
    return [best, last] if has_validation else [last]
