"""What a run shows while it trains: a live bar on a terminal, one line per epoch elsewhere. Epochs count from 1."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from alexnet.training.history import History
from alexnet.training.module import AlexNetModule
from alexnet.training.schedule import scheduled_lr

UPDATE_SECONDS = 0.5


class LiveBar(RichProgressBar):
    """Lightning's Rich bar with the errors in percent, the learning rate and the speed."""

    def __init__(self, history: History) -> None:
        super().__init__(refresh_rate=5, leave=False)
        self.history = history
        self._shown: dict[str, Any] = {}
        self._next_update = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        if self.progress is not None and self.train_progress_bar_id is not None:
            description = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.progress.update(self.train_progress_bar_id, description=f"{description:{len('Validation')}}")

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Read the error counts now and then: reading makes the CPU wait for a GPU."""
        assert isinstance(pl_module, AlexNetModule)
        if not trainer.training:
            return {}
        if not trainer.is_last_batch and time.monotonic() < self._next_update:
            return self._shown
        self._shown = shown = {}
        self._next_update = time.monotonic() + UPDATE_SECONDS
        if int(pl_module.train_errors.images):
            errors = pl_module.train_errors.local_rates()
            shown["train"] = f"{'/'.join(f'{100 * float(rate):.1f}' for rate in errors.values())} %"
        if self.history.records:
            shown["val"] = _errors(self.history.records[-1].val_top1_error, self.history.records[-1].val_top5_error)
        shown["lr"] = f"{scheduled_lr(pl_module.config, self.history.schedule_errors):g}"
        shown["images/s"] = f"{self.history.images_per_second:,.0f}"
        shown["data wait"] = f"{self.history.data_wait_percent(trainer):.0f} %"
        return shown


class EpochLines(L.Callback):
    """One line per finished epoch, for logs and pipes."""

    def __init__(self, console: Console, history: History) -> None:
        self.console = console
        self.history = history

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        record = self.history.records[-1]
        fit = "" if record.train_set_top1_error is None else f"  training images {record.train_set_top1_error:.1f} %"
        waits = record.waiting_percent >= 5  # a machine that waits for its images wastes money
        line = (
            f"epoch {record.epoch + 1:>3}/{trainer.max_epochs}  lr {record.rate:<7g}"
            f"  train error {_errors(record.train_top1_error, record.train_top5_error)}"
            f"  val error {_errors(record.val_top1_error, record.val_top5_error)}{fit}"
            f"  {record.images_per_second:,.0f} images/s"
            + (f", waiting for images {record.waiting_percent:.0f} %" if waits else "")
        )
        self.console.print(line, highlight=False, soft_wrap=True)


def _errors(top1: float | None, top5: float | None) -> str:
    errors = [f"{error:.1f}" for error in (top1, top5) if error is not None]
    return f"{'/'.join(errors)} %" if errors else "-"
