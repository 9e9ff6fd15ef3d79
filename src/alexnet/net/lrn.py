"""Local response normalisation between neighbouring maps of one column (paper, section 3.3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """b_i = a_i / (k + alpha * sum of a_j^2 over the `size` maps around i)^beta, within each column.

    Columns are equal, contiguous blocks of maps; a window never crosses from one into the next (the authors' nets
    normalise 48 | 48 and 128 | 128 maps). `alpha` multiplies the sum of squares as the paper prints it; give
    alpha / size for the convention of the 2012 source and of `torch.nn.LocalResponseNorm`, which take the mean.
    """

    def __init__(self, *, columns: int, size: int, k: float, alpha: float, beta: float) -> None:
        super().__init__()
        assert size % 2 == 1, "the window is centred"
        self.columns = columns
        self.size = size
        self.k = k
        self.alpha = alpha
        self.beta = beta

    def forward(self, activity: Tensor) -> Tensor:
        """Normalise float maps [N, C, H, W], C divisible by the number of columns."""
        n, c, h, w = activity.shape
        by_column = activity.reshape(n * self.columns, c // self.columns, h, w)
        normalised: Tensor = _Normalise.apply(by_column, self.size, self.k, self.alpha, self.beta)
        return normalised.reshape(n, c, h, w)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, size={self.size}, k={self.k}, alpha={self.alpha}, beta={self.beta}"


class _Normalise(torch.autograd.Function):
    """y = x * d^-beta with d = k + alpha * window(x^2); keeps only x for the backward pass.

    With the symmetric window, dL/dx = g * d^-beta - 2 * alpha * beta * x * window(g * x * d^(-beta - 1)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = (size, k, alpha, beta)
        return x * _denominator(x, size, k, alpha).pow_(-beta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        size, k, alpha, beta = ctx.constants
        denominator = _denominator(x, size, k, alpha)
        scaled = grad * denominator.pow(-beta)
        spread = _window_sum(scaled * x / denominator, size)
        return scaled.sub_(x * spread, alpha=2 * alpha * beta), None, None, None, None


def _denominator(x: Tensor, size: int, k: float, alpha: float) -> Tensor:
    return _window_sum(x * x, size).mul_(alpha).add_(k)


def _window_sum(x: Tensor, size: int) -> Tensor:
    """Sum over the `size` channels centred on each, cut off at the first and the last; x is [N, C, H, W]."""
    half = size // 2
    channels = x.shape[1]
    padded = F.pad(x, (0, 0, 0, 0, half, half))
    total = padded.narrow(1, 0, channels).clone()
    for shift in range(1, size):
        total += padded.narrow(1, shift, channels)
    return total
