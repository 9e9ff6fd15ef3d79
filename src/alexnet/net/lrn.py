"""Local response normalization: across the channels of a column (section 3.3), and within each channel.

One formula in torch's operations serves every device, `torch.compile` and export. On a CPU compiled loops
(`kernels_numba`) compute it several times faster, on a CUDA GPU two kernels (`kernels_triton`). Only the input is kept
for the backward pass.
"""

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.net.compilers import is_exporting, numba_available, triton_available
from alexnet.net.layers import at_least_float32

LONGEST_WINDOW = 31
"""Channels in a window of the kernels for GPUs."""
GPU_BLOCK = 2**22
"""Numbers that the formula takes at a time off the CPU. In float32, with ten temporaries, 160 MiB."""
Kernel = Callable[[Tensor, Tensor | None], Tensor]
"""Makes y from x or, given dL/dy too, dL/dx."""


class LocalResponseNorm(nn.Module):
    """b_i = a_i / (k + alpha * sum of a_j^2 over the `size` channels around i)^beta, within each column.

    Columns are equal, contiguous blocks of channels; a window never crosses from one into the next (the authors' nets
    normalize 48 | 48 and 128 | 128 channels). `alpha` multiplies the sum of squares as the paper prints it; give
    alpha / size for the convention of the 2012 source and of `torch.nn.LocalResponseNorm`, which take the mean.
    16-bit numbers are squared, summed and divided in float32.
    """

    def __init__(self, *, columns: int, size: int, k: float, alpha: float, beta: float) -> None:
        super().__init__()
        assert size % 2 == 1, "the window is centered"
        self.columns = columns
        self.size = size
        self.k = k
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor, rectify: bool = False) -> Tensor:
        """Normalize float [N, C, H, W], C divisible by the number of columns; with `rectify`, that of max(x, 0)."""
        n, c, h, w = x.shape
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        by_pixel = channels_last and not is_exporting()
        supported = self.size <= LONGEST_WINDOW and x.dtype in (torch.float32, torch.bfloat16)
        in_one_kernel = by_pixel and supported and triton_available(x.device)
        if rectify and not in_one_kernel:
            x = F.relu(x)
        if by_pixel:
            pixels = x.permute(0, 2, 3, 1).reshape(n * h * w, self.columns, c // self.columns)
            kernel = self._triton_kernel(rectify) if in_one_kernel else self._pixel_kernel(pixels)
            normalized: Tensor = _Normalize.apply(pixels, kernel)
            return normalized.view(n, h, w, c).permute(0, 3, 1, 2)
        by_column = x.reshape(n * self.columns, c // self.columns, h, w)
        normalized = _Normalize.apply(by_column, self._torch_kernel(dim=1))
        return normalized.reshape(n, c, h, w)

    def _triton_kernel(self, rectify: bool) -> Kernel:
        from alexnet.net.kernels_triton import normalize  # Triton is not installed everywhere

        return partial(normalize, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta, rectify=rectify)

    def _pixel_kernel(self, pixels: Tensor) -> Kernel:
        numba_dtype = pixels.dtype in (torch.float32, torch.bfloat16, torch.float64)
        if torch.compiler.is_compiling() or pixels.device.type != "cpu" or not numba_dtype or not numba_available():
            return self._torch_kernel(dim=2)
        from alexnet.net.kernels_numba import normalize  # numba takes most of a second

        return partial(normalize, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta)

    def _torch_kernel(self, dim: int) -> Kernel:
        window = partial(_sum_across_channels, size=self.size, dim=dim)
        return partial(_by_torch, window=window, k=self.k, alpha=self.alpha, beta=self.beta)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, size={self.size}, k={self.k}, alpha={self.alpha}, beta={self.beta}"


class LayerStack(nn.Sequential):
    """Layers one after another; a ReLU directly below an LRN is left to it: on a GPU one kernel does both."""

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)
        left_out: nn.Module | None = None
        for layer, following in zip_longest(layers, layers[1:]):
            if isinstance(following, LocalResponseNorm) and isinstance(layer, nn.ReLU):
                left_out = layer
            elif left_out is not None:
                x, left_out = layer(x, rectify=True), None
            else:
                x = layer(x)
        return x


class WithinChannelLRN(nn.Module):
    """b = a / (1 + alpha * sum of a^2 over the size x size pixels around, in the same channel)^beta.

    `alpha` multiplies the sum; the 2012 source gives alpha times size^2. Its kernel has the 1 built in, and pixels
    beyond the border count as zeros without correcting alpha (layer.py of the release, conv_util.cu of July 2012).
    """

    def __init__(self, *, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        assert size % 2 == 1, "the window is centered"
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Normalize float [N, C, H, W]."""
        window = partial(_sum_within_channel, size=self.size)
        kernel = partial(_by_torch, window=window, k=1.0, alpha=self.alpha, beta=self.beta)
        normalized: Tensor = _Normalize.apply(x, kernel)
        return normalized

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(x)
        ctx.kernel = kernel
        return kernel(x, None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return ctx.kernel(x, grad), None


def _by_torch(
    x: Tensor, grad: Tensor | None, window: Callable[[Tensor], Tensor], k: float, alpha: float, beta: float
) -> Tensor:
    """Return y = x * d^-beta with d = k + alpha * window(x^2) or, given dL/dy, dL/dx.

    `window` sums each value's window, which is symmetric and never reaches across dimension 0:
    dL/dx = g * d^-beta - 2 * alpha * beta * x * window(g * x * d^(-beta - 1)).
    """

    def compute(x: Tensor, grad: Tensor | None = None) -> Tensor:
        denominator = window(x * x).mul_(alpha).add_(k)
        scale = _inverse_power(denominator, beta)
        if grad is None:
            return scale * x  # not in place: see _in_blocks
        scaled = scale.mul_(grad)
        spread = window((scaled * x).div_(denominator)).mul_(x)
        return scaled.sub_(spread, alpha=2 * alpha * beta)

    return _in_blocks(compute, x) if grad is None else _in_blocks(compute, x, grad)


def _in_blocks(compute: Callable[..., Tensor], x: Tensor, *others: Tensor) -> Tensor:
    """Compute in float32 or wider, a block of dimension 0 (images or pixels) at a time, to bound the memory.

    On a CPU a block of 256 KiB a thread also stays in the cache from one operation to the next.
    """
    if torch.compiler.is_compiling():
        # torch 2.11 compiles wrong gradients, without a word, where the output of an autograd.Function is another name
        # of an intermediate result: after an operation in place, or a `to` that has nothing to do (pytorch 180642).
        result = compute(at_least_float32(x), *others)
        return result if result.dtype == x.dtype else result.to(x.dtype)
    numbers = 2**16 * torch.get_num_threads() if x.device.type == "cpu" else GPU_BLOCK
    length = max(1, numbers * len(x) // max(1, x.numel()))
    result = torch.empty_like(x)
    for block, x_block, *blocks in zip(*(torch.split(t, length) for t in (result, x, *others)), strict=True):
        block.copy_(compute(at_least_float32(x_block), *blocks))
    return result


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """base^-beta; for the paper's 3/4 by square roots, which cost a fraction of a power."""
    if beta == 0.75:
        root = base.rsqrt()
        return root.sqrt().mul_(root)
    return base.pow(-beta)


def _sum_across_channels(x: Tensor, size: int, dim: int) -> Tensor:
    """Sum `size` channels along `dim` around each, with zeros beyond the first and the last."""
    channels, reach = x.shape[dim], size // 2
    padded = F.pad(x, (*(0, 0) * (x.ndim - 1 - dim), reach, reach))
    total = padded.narrow(dim, 0, channels).clone()
    for shift in range(1, size):
        total += padded.narrow(dim, shift, channels)
    return total


def _sum_within_channel(x: Tensor, size: int) -> Tensor:
    """Sum the size x size pixels around each, [N, C, H, W], with zeros beyond the border."""
    if is_exporting():  # onnxscript 0.7 ignores the divisor
        return F.avg_pool2d(x, size, stride=1, padding=size // 2) * size**2
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, divisor_override=1)
