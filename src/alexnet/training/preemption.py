"""Ends a run when its scheduler wants the machine back, so that it goes on from the very step it was at."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor

from alexnet.runs.directory import CHECKPOINTS, LAST
from alexnet.training.module import AlexNetModule
from alexnet.training.world import all_gather_objects

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""What schedulers send ahead of a kill: Slurm SIGTERM, or what `sbatch --signal` names; submitit asks for SIGUSR2."""
LOOK_EVERY_SECONDS = 1.0
"""Time between two questions of the processes to each other whether one of them has been told to end."""


class Preempted(SystemExit):
    """The exit of a process that obeyed a signal, with the code by which shells know that: 128 and the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Preemption(L.Callback):
    """On a signal, saves the last checkpoint after the step under way, and ends the process.

    Where somebody else was listening for that signal, such as submitit, which puts the job back into the queue, it is
    handed on to him once the checkpoint is there, and he decides.

    All processes that train one network must stop at the same step. They ask each other once in a while: a question
    after every step, as Lightning's own, would have the host wait for the GPU.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / CHECKPOINTS / f"{LAST}.ckpt"
        self._signal = 0
        self._others = {number: signal.getsignal(number) for number in SIGNALS}
        self._next_look = 0
        self._last_look = (0, time.monotonic())
        self._under_way: list[dict[str, dict[str, Tensor]]] | None = None

    def _listen(self) -> None:
        """Take the place of the handlers that Lightning has registered by now; it puts the former ones back."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._told)

    def _told(self, number: int, _: FrameType | None) -> None:
        self._signal = number

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AlexNetModule)
        self._listen()
        self._next_look, self._last_look = trainer.global_step, (trainer.global_step, time.monotonic())
        if self._under_way is not None:
            for states in self._under_way[trainer.global_rank :: trainer.world_size]:
                _add(pl_module, states)
            self._under_way = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._agreed(trainer):
            self._obey()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or not self._agreed(trainer):
            return  # after the last batch the epoch's own checkpoint is near
        assert isinstance(pl_module, AlexNetModule)
        self._under_way = _gathered(pl_module)
        trainer.save_checkpoint(self.path)
        self._under_way = None
        self._obey()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen()

    def on_test_batch_end(self, *arguments: Any, **_: Any) -> None:
        if self._signal:  # all that was learnt is in the last checkpoint
            self._obey()

    def _obey(self) -> None:
        number, self._signal = self._signal or signal.SIGTERM, 0
        other = self._others[number]
        if not callable(other):
            raise Preempted(number)
        other(number, None)

    def _agreed(self, trainer: L.Trainer) -> bool:
        """Whether any of the processes has been told to end."""
        if trainer.world_size == 1:
            return bool(self._signal)
        if trainer.global_step < self._next_look:
            return False
        steps, now = trainer.global_step - self._last_look[0], time.monotonic()
        # The first process's pace is everybody's, so that all look at the same step.
        pace = max(1, round(LOOK_EVERY_SECONDS * steps / (now - self._last_look[1]))) if trainer.is_global_zero else 0
        question = torch.tensor([bool(self._signal), pace], device=trainer.strategy.root_device, dtype=torch.int64)
        dist.all_reduce(question, dist.ReduceOp.MAX)
        told, steps_until_next = question.tolist()
        self._next_look, self._last_look = trainer.global_step + steps_until_next, (trainer.global_step, now)
        return bool(told)

    def state_dict(self) -> dict[str, Any]:
        return {"under_way": self._under_way}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._under_way = state_dict["under_way"]


def _gathered(module: AlexNetModule) -> list[dict[str, dict[str, Tensor]]]:
    """What each process has counted in the epoch under way."""
    mine = {
        name: {key: value.cpu() for key, value in metric.metric_state.items() if isinstance(value, Tensor)}
        for name, metric in module.epoch_metrics.items()
    }
    return all_gather_objects(mine)


def _add(module: AlexNetModule, states: dict[str, dict[str, Tensor]]) -> None:
    for name, state in states.items():
        metric = module.epoch_metrics[name]
        for key, value in state.items():
            counted = getattr(metric, key)
            counted += value.to(counted.device)
