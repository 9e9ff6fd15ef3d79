"""The learning rate schedule of a run."""

import lightning as L

from alexnet.config.schema import Config
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
