"""What a run shows while it trains: one line kept up to date on a terminal, lines one after the other elsewhere.

Epochs count from 1. No line is wider than 80 columns or the terminal: what matters least is left out.
"""

import time
from collections.abc import Sequence
from typing import Any

import lightning as L
from rich.console import Console
from rich.live import Live
from rich.text import Text

from alexnet.errors import shown_time
from alexnet.training.history import History
from alexnet.training.module import AlexNetModule

WIDEST = 80
"""Characters of a line."""
UPDATE_SECONDS = 0.5
"""Time between two updates of the line on a terminal: reading the error counts makes the CPU wait for a GPU."""
QUIET_SECONDS = 5.0
"""Longest silence without a terminal, in the first minutes; later a fiftieth of the time that has passed."""

Part = tuple[int, str]
"""A part of a line, and its rank: the highest ranks are left out first."""


class RunDisplay(L.Callback):
    """Tells where the run stands, how good it is so far and when it will end. Must come after the history."""

    def __init__(self, console: Console, history: History, *, live: bool) -> None:
        self.console, self.history = console, history
        self.live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._started = self._last = time.monotonic()
        self._done_before: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = self._last = time.monotonic()
        if self.live is not None:
            self.live.start()
        if trainer.max_epochs is not None and trainer.current_epoch < trainer.max_epochs:
            self._show([(0, "the first batches are being made")])

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._done_before is None:  # an attempt may start in the middle of an epoch
            self._done_before = trainer.current_epoch + batch_idx / max(1, int(trainer.num_training_batches))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._is_time():
            return
        assert isinstance(pl_module, AlexNetModule)
        done = (batch_idx + 1) / max(1, int(trainer.num_training_batches))
        parts = [(0, f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"), (4, f"{100 * done:.0f} %")]
        if int(pl_module.train_errors.images):
            parts.append((1, f"error so far {100 * float(pl_module.train_errors.local_rates()['top1']):.1f} %"))
        if self.history.records and (best := self.history.records[-1].val_top1_error) is not None:
            parts.append((5, f"val {best:.1f} %"))
        parts += [(3, f"{self.history.images_per_second:,.0f} images/s"), *self._left(trainer, done)]
        self._show(parts)

    def on_validation_batch_end(self, *_: Any) -> None:
        if self._is_time():
            self._show([(0, "validating")])

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._last = time.monotonic()
        if self.live is not None:
            self.live.start()
        self._show([(0, "testing"), (1, "the center crop and the ten patches of every image")])

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_time():
            batches = list(trainer.num_test_batches)
            done = sum(batches[:dataloader_idx]) + batch_idx + 1
            self._show([(0, "testing"), (1, f"{100 * done / max(1, sum(batches)):.0f} %")])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        record = self.history.records[-1]
        parts = [
            (0, f"epoch {record.epoch + 1} of {trainer.max_epochs}"),
            (1, f"val error {_errors(record.val_top1_error, record.val_top5_error)}"),
            (4, f"train {record.train_top1_error:.1f} %"),
            (3, f"{record.images_per_second:,.0f} images/s"),
            *self._left(trainer, 1.0),
            (5, f"lr {record.rate:g}"),
        ]
        if (fit := record.train_set_top1_error) is not None:
            parts.insert(2, (2, f"training images {fit:.1f} %"))
        if record.waiting_percent >= 5:  # a machine that waits for its images wastes money
            parts.append((6, f"waiting for images {record.waiting_percent:.0f} %"))
        self._last = time.monotonic()
        self.console.print(self._fitted(parts))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        if self.live is not None:
            self.live.stop()

    on_test_end = on_exception = on_train_end

    def _is_time(self) -> bool:
        now = time.monotonic()
        pause = UPDATE_SECONDS if self.live is not None else max(QUIET_SECONDS * 0.8, (now - self._started) / 50)
        if now - self._last < pause:
            return False
        self._last = now
        return True

    def _left(self, trainer: L.Trainer, done: float) -> list[Part]:
        """Estimate the time to the end of training by that of this attempt so far."""
        now = trainer.current_epoch + done
        passed, ahead = now - (self._done_before or 0.0), (trainer.max_epochs or 0) - now
        if passed <= 0 or ahead <= 0:
            return []
        return [(2, f"{shown_time((time.monotonic() - self._started) * ahead / passed)} left")]

    def _show(self, parts: Sequence[Part]) -> None:
        """Put the line up to date, or print it where there is no terminal."""
        line = self._fitted(parts)
        if self.live is not None:
            self.live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.console.print(line)

    def _fitted(self, parts: Sequence[Part]) -> str:
        """Join the parts, without those of the highest rank that do not fit."""
        kept, width = list(parts), min(WIDEST, self.console.width)
        while len(line := ", ".join(text for _, text in kept)) > width and len(kept) > 1:
            kept.remove(max(kept))
        return line[:width]


def _errors(top1: float | None, top5: float | None) -> str:
    if top1 is None:
        return "-"
    return f"{top1:.1f} %" if top5 is None else f"{top1:.1f}/{top5:.1f} %"
