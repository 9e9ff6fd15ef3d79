"""The momentum rule of 2012 (paper, section 5; weights.cu of the authors' release)."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from alexnet.config.values import OptimizerConfig


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
