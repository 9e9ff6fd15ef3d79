"""The momentum rule of 2012, and when the learning rate drops and training ends (paper, section 5).

The rule is that of weights.cu in the authors' release. Schedules are pure functions of the epoch and the errors so far.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from math import cos, log, pi
from typing import Any, assert_never, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD

from alexnet.config.schema import Config
from alexnet.config.values import OptimizerConfig, ScheduleConfig, ScheduleKind


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


class SGD2012(SGD):
    """v := momentum * v - weight_decay * lr * w - lr * g;  w := w + v.

    The learning rate is inside the velocity, so that after a drop the old velocity keeps its size. Torch's momentum
    buffer is -v / lr, which would shrink the whole velocity at once: the two differ for tens of steps after each drop.
    So the buffers are rescaled when the rate changes. A learning rate of 0 freezes: no decay and no momentum either,
    and the velocity waits (weights.cu of the authors' release).
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient and a learning rate above 0."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._prepare(group)
        super().step()
        return loss

    @torch.no_grad()
    def _prepare(self, group: dict[str, Any]) -> None:
        """Rescale the buffers of a group for its learning rate; a frozen group loses its gradients."""
        lr = group["lr"]
        if lr == 0:
            for weight in group["params"]:
                weight.grad = None
            return
        factor = group.get("buffer_lr", lr) / lr
        group["buffer_lr"] = lr
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad = _laid_out_as(weight, weight.grad)
            if (buffer := self.state.get(weight, {}).get("momentum_buffer")) is not None:
                buffer = _laid_out_as(weight, buffer)
                self.state[weight]["momentum_buffer"] = buffer if factor == 1 else buffer.mul_(factor)


def _laid_out_as(weight: Tensor, tensor: Tensor) -> Tensor:
    """Return the tensor with its elements in the weight's order in memory, which the kernel relies on."""
    return tensor if tensor.stride() == weight.stride() else torch.empty_like(weight).copy_(tensor)


def parameter_groups(net: nn.Module, optimizer: OptimizerConfig, late_layers: Collection[str]) -> list[dict[str, Any]]:
    """Group weights, then biases, by weight decay, learning rate and schedule; ordinary weights come first.

    `rate_factor` multiplies the scheduled learning rate; `is_bias` and `is_late` select the schedule.
    """
    groups: dict[tuple[bool, bool, float, float], list[Tensor]] = {}
    for name, parameter in net.named_parameters():
        layer, _, kind = name.rpartition(".")
        is_bias = kind == "bias"
        decays = optimizer.decay_biases or not is_bias
        decay = optimizer.weight_decay * optimizer.weight_decay_multipliers.get(layer, 1.0) if decays else 0.0
        rate = optimizer.lr_multipliers.get(layer, 1.0) * (optimizer.bias_lr_multiplier if is_bias else 1.0)
        groups.setdefault((is_bias, layer in late_layers, decay, rate), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "rate_factor": rate, "is_bias": is_bias, "is_late": is_late}
        # By schedule alone: within one, groups keep the order of the layers.
        for (is_bias, is_late, decay, rate), parameters in sorted(groups.items(), key=lambda group: group[0][:2])
    ]
