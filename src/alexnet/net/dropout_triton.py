"""Dropout on a GPU: one Triton kernel that draws a mask and applies it."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alexnet import philox

BLOCKS = 256
"""Blocks of four units in a program."""
ROUNDS, M0, M1, W0, W1 = map(tl.constexpr, (philox.ROUNDS, philox.M0, philox.M1, philox.W0, philox.W1))


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
