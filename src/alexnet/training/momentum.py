"""The momentum rule of 2012 (paper, section 5; weights.cu of the authors' release)."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from alexnet.config.values import OptimizerConfig


class SGD2012(Optimizer):
    """v := momentum * v - weight_decay * lr * w - lr * g;  w := w + v.

    The learning rate is inside the velocity, so that after a drop the old velocity keeps its size. `torch.optim.SGD`
    keeps it outside and shrinks the whole velocity at once: the two differ for tens of steps after each drop.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient and a learning rate above 0.

        A learning rate of 0 freezes: no decay and no momentum either (weights.cu of the authors' release).
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights and group["lr"] > 0:
                # One pass. Torch's kernel of SGD computes v := momentum * v + (1 - dampening) * (g + weight_decay * w);
                # w := w - lr * v, which at a dampening of 1 + lr and a learning rate of -1 is the rule of 2012. Without
                # momentum it wants no velocities, and w := w - lr * (g + weight_decay * w).
                momentum = group["momentum"]
                torch._fused_sgd_(
                    weights,
                    [_laid_out_as(weight, weight.grad) for weight in weights if weight.grad is not None],
                    [self._velocity(weight) for weight in weights] if momentum else [],
                    weight_decay=group["weight_decay"],
                    momentum=momentum,
                    lr=-1.0 if momentum else group["lr"],
                    dampening=1.0 + group["lr"] if momentum else 0.0,
                    nesterov=False,
                    maximize=False,
                    is_first_step=False,
                )
        return loss

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        state["velocity"] = _laid_out_as(weight, state["velocity"]) if "velocity" in state else torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


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
