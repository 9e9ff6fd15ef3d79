"""Ending a run on a signal, so that it resumes from the very step it was at."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from alexnet.processes import SIGNALS, Preempted
from alexnet.runs.directory import last_checkpoint
from alexnet.training.distributed import all_gather_objects
from alexnet.training.module import AlexNetModule

STOPPING = b"\nCtrl-C: saving after this step, or after the validation in progress; again to stop at once\n"
ASK_EVERY_SECONDS = 1.0
"""Time between two questions of the processes to each other whether one of them has been signaled."""


class Preemption(L.Callback):
    """On a signal, Ctrl-C included, saves the last checkpoint after the step under way, and ends the process.

    A second Ctrl-C ends it at once; what is ignored, as SIGHUP is under nohup, stays ignored. A handler that was there
    before, such as submitit's, which requeues the job, is called after the checkpoint is saved, and decides.

    All processes that train one network must stop at the same step. They ask each other about once a second: a
    question after every step would have the CPU wait for the GPU.
    """

    def __init__(self, directory: Path) -> None:
        self.path = last_checkpoint(directory)
        self._signal = 0
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
        self._previous_handlers = {number: one for number, one in handlers.items() if one is not signal.SIG_IGN}
        self._ask_at_step = 0
        self._asked = (0, time.monotonic())
        self._partial_epoch: list[dict[str, dict[str, Tensor]]] | None = None
        """What each process has counted in the epoch under way, while it is saved or resumed."""

    def _listen(self) -> None:
        """Replace the handlers that Lightning has registered by now; it restores the former ones."""
        if threading.current_thread() is threading.main_thread():
            for number in self._previous_handlers:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.write(2, STOPPING)  # unlike print, safe in a handler

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AlexNetModule)
        self._listen()
        self._ask_at_step, self._asked = trainer.global_step, (trainer.global_step, time.monotonic())
        for states in (self._partial_epoch or [])[trainer.global_rank :: trainer.world_size]:
            for name, metric in pl_module.epoch_metrics.items():
                metric.merge_state(move_data_to_device(states[name], metric.device))
        self._partial_epoch = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._any_rank_signaled(trainer):
            self._exit()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Gradients are not saved, and after the last batch the epoch's own checkpoint is near.
        in_between = (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch
        if in_between or not self._any_rank_signaled(trainer):
            return
        assert isinstance(pl_module, AlexNetModule)
        counted = {name: metric.metric_state for name, metric in pl_module.epoch_metrics.items()}
        self._partial_epoch = all_gather_objects(move_data_to_device(counted, "cpu"))
        trainer.save_checkpoint(self.path)
        self._partial_epoch = None
        self._exit()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen()

    def on_test_batch_end(self, *arguments: Any, **_: Any) -> None:
        if self._signal:  # the last checkpoint holds all that was learned
            self._exit()

    def _exit(self) -> None:
        number, self._signal = self._signal or signal.SIGTERM, 0
        previous = self._previous_handlers.get(number)
        if not callable(previous):
            raise Preempted(number)
        previous(number, None)

    def _any_rank_signaled(self, trainer: L.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self._signal)
        if trainer.global_step < self._ask_at_step:
            return False
        steps, now = trainer.global_step - self._asked[0], time.monotonic()
        # All use the first process's pace, so that they ask at the same step.
        pace = max(1, round(ASK_EVERY_SECONDS * steps / (now - self._asked[1]))) if trainer.is_global_zero else 0
        question = torch.tensor([bool(self._signal), pace], device=trainer.strategy.root_device, dtype=torch.int64)
        dist.all_reduce(question, dist.ReduceOp.MAX)
        signaled, steps_until_next = question.tolist()
        self._ask_at_step, self._asked = trainer.global_step + steps_until_next, (trainer.global_step, now)
        return bool(signaled)

    def state_dict(self) -> dict[str, Any]:
        return {"under_way": self._partial_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._partial_epoch = state_dict["under_way"]

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count the batches of the epoch under way in this run's turns: Lightning counts turns, not updates."""
        former = checkpoint["alexnet"]["config"]["hardware"]["accumulate_grad_batches"]
        turns = trainer.accumulate_grad_batches
        loop = checkpoint["loops"]["fit_loop"]
        progress = loop["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            ended = counts["ready"] // former * turns
            open_ = counts["ready"] - counts["completed"]  # a turn counts as completed after it is saved
            counts |= dict.fromkeys(("ready", "started", "processed"), ended) | {"completed": ended - open_}
        for loader in loop["state_dict"]["combined_loader"]:
            loader["batches"] = loader["batches"] // former * turns


@contextmanager
def keyboard_interrupt_kept() -> Iterator[None]:
    """Raise Ctrl-C as KeyboardInterrupt: Lightning turns it into an exit with code 1, which reads as a failure."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
