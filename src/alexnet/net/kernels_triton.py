"""Triton's kernels for a GPU: response normalization with the ReLU before it, and dropout that draws its mask.

Normalization is one kernel forward, one backward. They read and write each number once: in bfloat16 4 bytes forward and
6 backward. Of more than 128 channels, a few at the edges of blocks are read twice. The sum over a window is a product
with a band of ones on the matrix units. bfloat16 parts of 8 bits keep it exact: the square of a bfloat16 has two of
them, and three hold 24 bits of float32; sums are in float32. A NaN spreads to all channels of its column and pixel.

Constants of the network are arguments of the kernels, which are compiled once for a type, a number of channels, a
window and an exponent, for all networks of a process.
"""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alexnet import philox

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter has no products of bfloat16: it multiplies the same rounded numbers as float32."""
ROWS = 16
"""Rows of a block: the fewest that the matrix units take, and without spilled registers (sm_80 and sm_90)."""
WIDEST = 128
"""Channels of a block: more would not fit into the memory that a program shares. Several blocks overlap."""
TURNS = 8
"""Blocks of a program, which makes the band once for all of them."""
BLOCKS = 256
"""Blocks of four units in a program."""
ROUNDS, M0, M1, W0, W1 = map(tl.constexpr, (philox.ROUNDS, philox.M0, philox.M1, philox.W0, philox.W1))


@torch.library.custom_op("alexnet::normalize", mutates_args=())
def normalize(x: Tensor, grad: Tensor | None, size: int, k: float, alpha: float, beta: float, rectify: bool) -> Tensor:
    """Return y = r / (k + alpha * window(r^2))^beta of contiguous [pixels, columns, channels] or, given dL/dy, dL/dx.

    r is x, or max(x, 0) if `rectify`. Takes float32 and bfloat16, and computes in float32. One operation for
    `torch.compile`, which leaves it as it is.
    """
    out = torch.empty_like(x)
    channels = x.shape[-1]
    rows = x.numel() // channels
    block = max(16, min(WIDEST, triton.next_power_of_2(channels)))
    halo = 0 if channels <= block else 2 * (size // 2)  # a gradient reads the windows of its window
    parts = 3 if x.dtype == torch.float32 else 2
    slope = x if grad is None else grad.contiguous()
    if rows:
        _normalize[(triton.cdiv(rows, ROWS * TURNS), triton.cdiv(channels, block - 2 * halo))](
            x, slope, out, rows, k, alpha, channels, size // 2, beta, rectify, grad is not None,
            block, halo, parts, ROWS, TURNS, num_warps=4 if block <= 64 else 8,
        )  # fmt: skip
    return out


@normalize.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def check_compiler() -> None:
    """Compile and run a kernel on the GPU, to raise any error early."""
    x = torch.ones(1, 1, 16, device="cuda")
    y = normalize(x, None, size=5, k=0.0, alpha=1.0, beta=1.0, rectify=False)
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


@torch.library.custom_op("alexnet::masked", mutates_args=())
def masked(x: Tensor, position: Tensor, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Mask contiguous features [N, units]. The position stays on the device, so a captured launch can be replayed."""
    y = torch.empty_like(x)
    if x.numel():
        grid = (len(x), triton.cdiv(x.shape[1] + first_unit % 4, 4 * BLOCKS))
        _mask[grid](x, y, position, x.shape[1], seed & philox.LOW, seed >> 32, stream, first_unit, limit, BLOCKS)
    return y


@masked.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def _keep_numbers(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001  torch's names
    _, position, *ctx.numbers = inputs
    ctx.save_for_backward(position)


def _mask_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (position,) = ctx.saved_tensors
    return masked(grad.contiguous(), position, *ctx.numbers), None, None, None, None, None


masked.register_autograd(_mask_gradient, setup_context=_keep_numbers)


NUMBERS = ["units", "k0", "k1", "stream", "first_unit", "limit"]
"""Arguments of one type and not specialized: one kernel serves all layers, networks and seeds."""


@triton.jit(do_not_specialize=NUMBERS)
def _mask(
    x, y, position, units: tl.int64, k0: tl.int64, k1: tl.int64, stream: tl.int64, first_unit: tl.int64,
    limit: tl.int64, blocks: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0)
    start = tl.load(position)  # step * 2^32 + place
    number = tl.program_id(1) * blocks + tl.arange(0, blocks)
    zeros = tl.zeros((blocks,), tl.uint32)
    m0, m1 = zeros + M0, zeros + M1
    k0, k1 = zeros + k0.to(tl.uint32), zeros + k1.to(tl.uint32)
    c0 = (number + first_unit // 4).to(tl.uint32)
    c1 = zeros + (start + image).to(tl.uint32)
    c2 = zeros + (start >> 32).to(tl.uint32)
    c3 = zeros + stream.to(tl.uint32)
    for _ in tl.static_range(ROUNDS):
        high0, high1 = tl.umulhi(c0, m0), tl.umulhi(c2, m1)
        low0, low1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + W0, k1 + W1
    words = tl.join(tl.join(c0, c2), tl.join(c1, c3)).reshape(4 * blocks)  # c0 c1 c2 c3 of each block
    unit = tl.program_id(1) * (4 * blocks) + tl.arange(0, 4 * blocks) - first_unit % 4
    place = image.to(tl.int64) * units + unit
    inside = (unit >= 0) & (unit < units)
    value = tl.load(x + place, mask=inside, other=0.0)
    tl.store(y + place, tl.where(words.to(tl.int64) < limit, value, 0.0).to(y.dtype.element_ty), mask=inside)
