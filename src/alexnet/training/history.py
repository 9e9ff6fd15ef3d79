"""What happened in each epoch, kept in the checkpoint, `metrics.csv` and the loggers; and the learning rate by it."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger, WandbLogger
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.devices import synchronize
from alexnet.errors import UserError
from alexnet.evaluation import TopKErrors
from alexnet.runs.metrics import EpochRecord, write_metrics
from alexnet.runs.result import DIVERGED
from alexnet.training.module import AlexNetModule
from alexnet.training.optimizer import dropped_lr, group_lr, progress


class History(L.Callback):
    """Keeps an `EpochRecord` per epoch. Must come before the callbacks that read it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: list[EpochRecord] = []
        self._started = 0.0
        self._images = 0
        self._training_seconds = 0.0
        self._step_loss: Tensor | float = 0.0
        self._sent: dict[int, int] = {}  # logger -> epochs that it has

    @property
    def schedule_errors(self) -> list[float]:
        """One error per epoch for the schedule to judge: of validation if there is any."""
        return [r.train_top1_error if r.val_top1_error is None else r.val_top1_error for r in self.records]

    def state_dict(self) -> dict[str, Any]:
        under_way = {"images": self._images, "seconds": self._training_seconds}
        return {"records": [asdict(record) for record in self.records], "under_way": under_way}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.records = [EpochRecord(**record) for record in state_dict["records"]]
        self._images, self._training_seconds = state_dict["under_way"]["images"], state_dict["under_way"]["seconds"]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not when training starts: a run that was stopped after its last epoch has none left.
        if self.records and trainer.is_global_zero:
            write_metrics(self.directory, self.records)  # by the checkpoint: the file may hold more, or be damaged
        self._sent = {id(logger): _epochs_held(logger) for logger in trainer.loggers}
        for record in self.records:  # of the attempts before: each logger holds the whole run
            self._send(record, trainer.loggers)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = time.perf_counter() - self._training_seconds

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started, self._images, self._training_seconds = time.perf_counter(), 0, 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, AlexNetModule)
        self._images = pl_module.images_before(batch_idx + 1)
        if trainer.is_last_batch:
            synchronize(pl_module.device)  # an epoch is over when its kernels are, not when they are queued
        every = pl_module.config.trainer.log_every_n_steps
        if every:
            # Each turn and each process has its share of the loss over the whole batch.
            self._step_loss = outputs["loss"] + (self._step_loss if batch_idx % pl_module.turns else 0.0)
            if trainer.global_step % every == 0 and (batch_idx + 1) % pl_module.turns == 0:
                loss = float(trainer.strategy.reduce(self._step_loss, reduce_op="mean"))
                for logger in trainer.loggers:
                    logger.log_metrics({"step/train_loss": loss}, step=trainer.global_step - 1)
        self._training_seconds = time.perf_counter() - self._started

    @property
    def images_per_second(self) -> float:
        """Training speed in the current epoch."""
        return self._images / self._training_seconds if self._training_seconds else 0.0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AlexNetModule)
        losses = [pl_module.train_loss, *([pl_module.val_loss] if "val" in pl_module.validated else [])]
        if not all(math.isfinite(float(loss.compute())) for loss in losses):
            raise UserError(
                f"{DIVERGED} in epoch {trainer.current_epoch + 1}: the loss is no longer finite;"
                f" try a lower optimizer.lr than {pl_module.config.optimizer.lr:g}"
            )
        record = self._record(trainer, pl_module)
        self.records.append(record)
        if trainer.is_global_zero:
            write_metrics(self.directory, self.records)
        self._send(record, trainer.loggers)

    def _send(self, record: EpochRecord, loggers: Sequence[Logger]) -> None:
        """Log an epoch where it is not yet known."""
        # `val_top1_error` -> `val/top1_error`: dashboards group by the part before the slash.
        metrics = {
            re.sub("^(train_set|train|val)_", r"\1/", name): float(value)
            for name, value in asdict(record).items()
            if value is not None and name != "step"
        }
        for logger in loggers:
            if record.epoch >= self._sent[id(logger)]:
                logger.log_metrics(metrics | {"epoch": record.epoch}, step=record.step - 1)
                self._sent[id(logger)] = record.epoch + 1

    def _record(self, trainer: L.Trainer, module: AlexNetModule) -> EpochRecord:
        train, splits, schedule = _percent(module.train_errors), module.validated, module.config.schedule
        waited = float(getattr(trainer.train_dataloader, "data_wait_seconds", 0.0))
        # By the splits, not by the images seen: of a small set this process may have seen none.
        val = _percent(module.val_errors) if "val" in splits else {}
        return EpochRecord(
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            rate=dropped_lr(schedule, module.config.optimizer.lr, progress(schedule, self.schedule_errors).drops),
            train_loss=float(module.train_loss.compute()),
            train_top1_error=train["top1"],
            train_top5_error=train.get("top5"),
            val_loss=float(module.val_loss.compute()) if val else None,
            val_top1_error=val.get("top1"),
            val_top5_error=val.get("top5"),
            train_set_top1_error=_percent(module.train_set_errors)["top1"] if "train" in splits else None,
            seconds=self._training_seconds,
            images_per_second=self.images_per_second,
            waiting_percent=min(100.0, 100 * waited / self._training_seconds),
        )


def _epochs_held(logger: Logger) -> int:
    """Count the epochs that a logger knows from before: only an online W&B run, continued, has any."""
    last = logger.experiment.summary.get("epoch") if isinstance(logger, WandbLogger) else None
    return 0 if last is None else int(last) + 1


def _percent(errors: TopKErrors) -> dict[str, float]:
    return {name: 100 * float(rate) for name, rate in errors.compute().items()}


class LrSchedule(L.Callback):
    """Sets the learning rate of every epoch and ends training; all of its state is the history."""

    def __init__(self, config: Config, history: History) -> None:
        self.config, self.history = config, history

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A run stopped between its last epoch and its result has nothing left to train when it is resumed.
        self._stop_when_finished(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        drops = progress(self.config.schedule, self.history.schedule_errors).drops
        for group in trainer.optimizers[0].param_groups:
            lr = group_lr(self.config, trainer.current_epoch, drops, is_bias=group["is_bias"], is_late=group["is_late"])
            group["lr"] = group["rate_factor"] * lr

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_when_finished(trainer)

    def _stop_when_finished(self, trainer: L.Trainer) -> None:
        schedule, history = self.config.schedule, self.history
        error = history.records[-1].train_set_top1_error if history.records else None
        target = schedule.stop_at_train_error
        fitted = target is not None and error is not None and error <= target
        if fitted or progress(schedule, history.schedule_errors).finished:
            trainer.should_stop = True
