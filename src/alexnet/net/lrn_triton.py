"""Local response normalization on a GPU, with the ReLU before it: one Triton kernel forward, one backward.

Each number is read and written once: in bfloat16 4 bytes forward and 6 backward. Of more than 128 channels, a few at
the edges of blocks are read twice. The sum over a window is a product with a band of ones on the matrix units. bfloat16
parts of 8 bits keep it exact: the square of a bfloat16 has two of them, and three hold 24 bits of float32; sums are in
float32. A NaN spreads to all channels of its column and pixel.

Constants of the network are arguments of the kernels, which are compiled once for a type, a number of channels, a
window and an exponent, for all networks of a process.
"""

import os
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter has no products of bfloat16: it multiplies the same rounded numbers as float32."""
ROWS = 16
"""Rows of a block: the fewest that the matrix units take, and without spilled registers (sm_80 and sm_90)."""
WIDEST = 128
"""Channels of a block: more would not fit into the memory that a program shares. Several blocks overlap."""
TURNS = 8
"""Blocks of a program, which makes the band once for all of them."""


@dataclass(frozen=True)
class TritonLRN:
    """y = r / (k + alpha * window(r^2))^beta of contiguous [pixels, columns, channels], and its gradient.

    r is x, or max(x, 0) if `rectify`. Takes float32 and bfloat16, and computes in float32.
    """

    size: int
    k: float
    alpha: float
    beta: float
    rectify: bool

    def normalize(self, x: Tensor) -> Tensor:
        return self._launched(x, None)

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        return self._launched(x, grad.contiguous())

    def _launched(self, x: Tensor, grad: Tensor | None) -> Tensor:
        result: Tensor = launch(x, grad, self.size, self.k, self.alpha, self.beta, self.rectify)
        return result


@torch.library.custom_op("alexnet::normalize", mutates_args=())
def launch(x: Tensor, grad: Tensor | None, size: int, k: float, alpha: float, beta: float, rectify: bool) -> Tensor:
    """Return y or, given dL/dy, dL/dx. One operation for `torch.compile`, which leaves it as it is."""
    out = torch.empty_like(x)
    channels = x.shape[-1]
    rows = x.numel() // channels
    block = max(16, min(WIDEST, triton.next_power_of_2(channels)))
    halo = 0 if channels <= block else 2 * (size // 2)  # a gradient reads the windows of its window
    parts = 3 if x.dtype == torch.float32 else 2
    if rows:
        _normalize[(triton.cdiv(rows, ROWS * TURNS), triton.cdiv(channels, block - 2 * halo))](
            x, x if grad is None else grad, out, rows, k, alpha, channels, size // 2, beta, rectify, grad is not None,
            block, halo, parts, ROWS, TURNS, num_warps=4 if block <= 64 else 8,
        )  # fmt: skip
    return out


@launch.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def check_compiler() -> None:
    """Compile and run a kernel on the GPU, to raise any error early."""
    x = torch.ones(1, 1, 16, device="cuda")
    y = TritonLRN(size=5, k=0.0, alpha=1.0, beta=1.0, rectify=False).normalize(x)
    if abs(float(y[0, 0, 8]) - 0.2) > 1e-5:
        raise RuntimeError("Triton computes wrong numbers")


@triton.jit(do_not_specialize=["rows", "k", "alpha"])
def _normalize(
    x, grad, out, rows: tl.int64, k, alpha,
    channels: tl.constexpr, reach: tl.constexpr, beta: tl.constexpr, rectify: tl.constexpr, backward: tl.constexpr,
    block: tl.constexpr, halo: tl.constexpr, parts: tl.constexpr, height: tl.constexpr, turns: tl.constexpr,
):  # fmt: skip
    """Fill `out` with y or, if `backward`, with dL/dx; only then is `grad`, dL/dy, read."""
    place = tl.arange(0, block)[None, :]
    column = tl.program_id(1) * (block - 2 * halo) - halo + place
    kept = (place >= halo) & (place < block - halo)
    band = _band(block, reach)
    for turn in range(turns):
        row = ((tl.program_id(0).to(tl.int64) * turns + turn) * height + tl.arange(0, height))[:, None]
        inside = (row < rows) & (column >= 0) & (column < channels)
        given = tl.load(x + row * channels + column, mask=inside, other=0.0).to(tl.float32)
        value = given
        if rectify:
            value = tl.where(given > 0, given, given * 0)  # unlike a maximum, it leaves a NaN
        base = k + alpha * _window(value * value, band, parts)
        if backward:
            slope = tl.load(grad + row * channels + column, mask=inside, other=0.0).to(tl.float32)
            scaled = slope * _inverse_power(base, beta)
            result = scaled - 2 * alpha * beta * value * _window(scaled * value / base, band, parts)
            if rectify:
                result = tl.where(given > 0, result, given * 0)
        else:
            result = value * _inverse_power(base, beta)
        tl.store(out + row * channels + column, result.to(out.dtype.element_ty), mask=inside & kept)


@triton.jit
def _band(block: tl.constexpr, reach: tl.constexpr):
    channel = tl.arange(0, block)
    return (tl.abs(channel[:, None] - channel[None, :]) <= reach).to(tl.float32).to(tl.bfloat16)


@triton.jit
def _window(value, band, parts: tl.constexpr):
    """Sum float32 [height, block] over windows of channels, as `parts` bfloat16."""
    rest = value
    total = tl.zeros_like(value)
    for _ in tl.static_range(parts):
        high = rest.to(tl.bfloat16)
        rest = rest - high.to(tl.float32)
        if INTERPRETED:
            total = tl.dot(high.to(tl.float32), band.to(tl.float32), total, input_precision="ieee")
        else:
            total = tl.dot(high, band, total)
    return total


@triton.jit
def _inverse_power(base, beta: tl.constexpr):
    """base^-beta; for the paper's 3/4 by square roots, which cost a fraction of a power."""
    if beta == 0.75:
        root = tl.rsqrt(base)
        return root * tl.sqrt(root)
    return tl.exp2(-beta * tl.log2(base))
