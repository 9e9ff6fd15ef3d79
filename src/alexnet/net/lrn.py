"""Response normalisation: between neighbouring maps of one column (paper, section 3.3), and within each map."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WindowSum: TypeAlias = Callable[[Tensor], Tensor]
"""For each entry of a tensor the sum over a window centred on it, which is cut off at the border."""


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
        constants = (self.k, self.alpha, self.beta)
        if activity.is_contiguous(memory_format=torch.channels_last) and not activity.is_contiguous():
            pixels = activity.permute(0, 2, 3, 1).reshape(n * h * w, self.columns, c // self.columns)
            normalised: Tensor = _Normalise.apply(pixels, partial(_sum_of_pixels, size=self.size), *constants)
            return normalised.view(n, h, w, c).permute(0, 3, 1, 2)
        by_column = activity.reshape(n * self.columns, c // self.columns, h, w)
        normalised = _Normalise.apply(by_column, partial(_sum_of_planes, size=self.size), *constants)
        return normalised.reshape(n, c, h, w)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, size={self.size}, k={self.k}, alpha={self.alpha}, beta={self.beta}"


class SameMapNorm(nn.Module):
    """b = a / (1 + alpha * sum of a^2 over the size x size pixels around, in the same map)^beta.

    `alpha` multiplies the sum; the 2012 source gives alpha times size^2. Its kernel has the 1 built in, and pixels
    beyond the border count as zeros without correcting alpha (layer.py of the release, conv_util.cu of July 2012).
    """

    def __init__(self, *, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        assert size % 2 == 1, "the window is centred"
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def forward(self, activity: Tensor) -> Tensor:
        """Normalise float maps [N, C, H, W]."""
        normalised: Tensor = _Normalise.apply(
            activity, partial(_sum_within_maps, size=self.size), 1.0, self.alpha, self.beta
        )
        return normalised

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"


class _Normalise(torch.autograd.Function):
    """y = x * d^-beta with d = k + alpha * window(x^2); keeps only x for the backward pass.

    With a symmetric window, dL/dx = g * d^-beta - 2 * alpha * beta * x * window(g * x * d^(-beta - 1)). No window
    reaches across the first dimension.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: WindowSum, k: float, alpha: float, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = (window, k, alpha, beta)
        y = torch.empty_like(x)
        for x_part, y_part in zip(*_parts(x, y), strict=True):
            torch.mul(x_part, _inverse_power(_denominator(x_part, window, k, alpha), beta), out=y_part)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        window, k, alpha, beta = ctx.constants
        x_grad = torch.empty_like(x)
        for x_part, grad_part, out in zip(*_parts(x, grad, x_grad), strict=True):
            denominator = _denominator(x_part, window, k, alpha)
            scaled = grad_part * _inverse_power(denominator, beta)
            spread = window((scaled * x_part).div_(denominator)).mul_(x_part)
            torch.sub(scaled, spread, alpha=2 * alpha * beta, out=out)
        return x_grad, None, None, None, None


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors into the same groups along their first dimension (images or pixels).

    On a CPU a group of 256 KiB a thread stays in the cache from one operation to the next, where whole batches would
    go to memory and back each time. A GPU wants few, large launches.
    """
    first = tensors[0]
    length = len(first)
    if first.device.type == "cpu" and length:
        length = max(1, 2**16 * torch.get_num_threads() * length // max(1, first.numel()))
    return [torch.split(tensor, max(1, length)) for tensor in tensors]


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """base^-beta; for the paper's 3/4 by square roots, which cost a fraction of a power."""
    if beta == 0.75:
        root = base.rsqrt()
        return root.sqrt().mul_(root)
    return base.pow(-beta)


def _denominator(x: Tensor, window: WindowSum, k: float, alpha: float) -> Tensor:
    return window(x * x).mul_(alpha).add_(k)


def _sum_of_planes(x: Tensor, size: int) -> Tensor:
    """Over `size` maps, whole planes [N, C, H, W]: add shifted blocks of planes."""
    total = x.clone()
    channels = x.shape[1]
    for shift in range(1, _reach(size, channels) + 1):
        total[:, shift:] += x[:, : channels - shift]
        total[:, : channels - shift] += x[:, shift:]
    return total


def _sum_of_pixels(x: Tensor, size: int) -> Tensor:
    """Over `size` maps side by side, [pixels, columns, C]: with zeros between columns, shift the whole memory at once.

    Slices of a few dozen neighbours would be added one short row at a time.
    """
    reach = _reach(size, x.shape[2])
    padded = F.pad(x, (0, reach)).contiguous()
    values = padded.view(-1)
    total = values.clone()
    for shift in range(1, reach + 1):
        total[shift:] += values[:-shift]
        total[:-shift] += values[shift:]
    return total.view_as(padded)[..., : x.shape[2]].contiguous()


def _reach(size: int, maps: int) -> int:
    """How many neighbours on either side a window has, at most."""
    return min(size // 2, maps - 1)


def _sum_within_maps(x: Tensor, size: int) -> Tensor:
    """Over the size x size pixels of the same map, [N, C, H, W]."""
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, divisor_override=1)
