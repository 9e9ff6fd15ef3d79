"""Response normalisation: between neighbouring maps of one column (paper, section 3.3), and within each map."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.net.lrn_kernel import COMPUTED_IN, NumbaLRN, works
from alexnet.net.lrn_torch import (
    Blocks,
    Fused,
    Fusible,
    LRNBackend,
    sum_of_pixels,
    sum_of_planes,
    sum_within_maps,
    triton_available,
)


class LocalResponseNorm(nn.Module):
    """b_i = a_i / (k + alpha * sum of a_j^2 over the `size` maps around i)^beta, within each column.

    Columns are equal, contiguous blocks of maps; a window never crosses from one into the next (the authors' nets
    normalise 48 | 48 and 128 | 128 maps). `alpha` multiplies the sum of squares as the paper prints it; give
    alpha / size for the convention of the 2012 source and of `torch.nn.LocalResponseNorm`, which take the mean.
    Numbers of 16 bits are squared, summed and divided in float32.
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
        if activity.is_contiguous(memory_format=torch.channels_last) and not activity.is_contiguous():
            pixels = activity.permute(0, 2, 3, 1).reshape(n * h * w, self.columns, c // self.columns)
            normalised: Tensor = _Normalise.apply(pixels, self._arithmetic(pixels, maps_dim=2))
            return normalised.view(n, h, w, c).permute(0, 3, 1, 2)
        by_column = activity.reshape(n * self.columns, c // self.columns, h, w)
        normalised = _Normalise.apply(by_column, self._arithmetic(by_column, maps_dim=1))
        return normalised.reshape(n, c, h, w)

    def _arithmetic(self, x: Tensor, maps_dim: int) -> LRNBackend:
        """The fastest that there is for this tensor; all agree up to rounding."""
        constants = (self.k, self.alpha, self.beta)
        if torch.compiler.is_compiling():
            return Fusible(self.size, maps_dim, *constants)
        if x.device.type == "cuda" and triton_available():
            return Fused(self.size, maps_dim, *constants)
        if x.device.type == "cpu" and maps_dim == 2 and x.dtype in COMPUTED_IN and works():
            return NumbaLRN(self.size, *constants)
        window = sum_of_pixels if maps_dim == 2 else sum_of_planes
        return Blocks(partial(window, size=self.size), *constants)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, size={self.size}, k={self.k}, alpha={self.alpha}, beta={self.beta}"


class WithinChannelLRN(nn.Module):
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
        blocks = Blocks(partial(sum_within_maps, size=self.size), 1.0, self.alpha, self.beta)
        normalised: Tensor = _Normalise.apply(activity, blocks)
        return normalised

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"


class _Normalise(torch.autograd.Function):
    """Keeps only x for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, arithmetic: LRNBackend) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arithmetic = arithmetic
        return arithmetic.normalise(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return ctx.arithmetic.gradient(x, grad), None
