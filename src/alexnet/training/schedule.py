"""When the learning rate drops and when training ends: pure functions of the epoch and the errors so far."""

from dataclasses import dataclass
from math import cos, log, pi
from typing import assert_never, cast

from alexnet.config.schema import Config
from alexnet.config.values import ScheduleConfig, ScheduleKind


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a schedule stands at the start of an epoch."""

    drops: float
    """How often the learning rate has been divided; a fraction where it falls smoothly."""
    finished: bool


def progress(schedule: ScheduleConfig, errors: list[float]) -> Progress:
    """Return the state after as many epochs as there are validation errors (fractions, or any monotone measure).

    For fixed epochs the errors' values do not matter, only their number. Another kind of schedule is another case here.
    """
    epoch = len(errors)
    drops: float
    match cast(ScheduleKind, schedule.kind):
        case "multistep":
            drops, finished = sum(drop <= epoch for drop in schedule.milestones), False
        case "plateau":
            plateaus = count_plateaus(errors, schedule.patience)
            drops, finished = min(plateaus, schedule.max_lr_drops), plateaus > schedule.max_lr_drops
        case "cosine":
            drops, finished = -log(_cosine(epoch, schedule), schedule.factor), False
        case unknown:
            assert_never(unknown)
    return Progress(drops=drops, finished=finished or epoch >= schedule.epochs)


def _cosine(epoch: int, schedule: ScheduleConfig) -> float:
    """Return the share of the learning rate in an epoch: up in equal steps, then down along half a cosine.

    Never 0, which no number of drops would reach. Loshchilov and Hutter 2017, without restarts, by whole epochs.
    """
    warmup = schedule.warmup_epochs
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    done = (min(epoch, schedule.epochs - 1) - warmup) / (schedule.epochs - warmup)
    return (1 + cos(pi * done)) / 2


def count_plateaus(errors: list[float], patience: int) -> int:
    """Count how often `patience` epochs in a row brought no error below the best so far.

    The best is never forgotten, but after a plateau the count of epochs restarts, at the lower learning rate. "Stopped
    improving" is the paper's wording (section 5); the authors judged it by eye.
    """
    best, waited, plateaus = float("inf"), 0, 0
    for error in errors:
        if error < best:
            best, waited = error, 0
        else:
            waited += 1
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def dropped_lr(schedule: ScheduleConfig, lr: float, drops: float) -> float:
    """Return the learning rate after some drops."""
    return float(lr / schedule.factor**drops)


def group_lr(config: Config, epoch: int, drops: float, *, is_bias: bool, is_late: bool) -> float:
    """Return the learning rate in an epoch of weights or biases, of a layer with late changes or not.

    `drops` is how often the schedule has divided that of the weights so far. 2012 source: weights and biases are
    lowered separately; conv1 has a drop of its own before it is frozen (layer-params-145.cfg).
    """
    late = config.late_changes
    if is_bias and late.bias_milestones is not None:
        drops = sum(config.late_epoch(drop) <= epoch for drop in late.bias_milestones)
    if is_late and epoch >= config.late_epoch(late.freeze_epoch):
        return 0.0
    if is_late and epoch >= config.late_epoch(late.lr_drop_epoch):
        drops += 1
    return dropped_lr(config.schedule, config.optimizer.lr, drops)
