"""The momentum rule of 2012 (paper, section 5; weights.cu of the authors' release)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Momentum2012(Optimizer):
    """v := momentum * v - weight_decay * lr * w - lr * g;  w := w + v.

    The rate is inside the velocity, so that after a drop the old velocity keeps its old size. `torch.optim.SGD`
    keeps the rate outside and shrinks the whole velocity at once: the two differ for tens of steps after each drop.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(weights, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _update(self, weights: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        velocities = [self._velocity(weight) for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        torch._foreach_mul_(velocities, momentum)
        if weight_decay:
            torch._foreach_add_(velocities, weights, alpha=-weight_decay * lr)
        torch._foreach_add_(velocities, gradients, alpha=-lr)
        torch._foreach_add_(weights, velocities)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def parameter_groups(net: nn.Module, *, weight_decay: float, decay_biases: bool) -> list[dict[str, Any]]:
    """Weights and biases as two groups, the second with its own decay."""
    named = list(net.named_parameters())
    return [
        {"params": [p for name, p in named if not name.endswith("bias")], "weight_decay": weight_decay},
        {
            "params": [p for name, p in named if name.endswith("bias")],
            "weight_decay": weight_decay if decay_biases else 0.0,
        },
    ]
