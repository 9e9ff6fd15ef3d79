"""Response normalization and dropout masks on a CPU: compiled loops, shared by as many threads as torch uses.

numba brings its own compiler, so nothing has to be installed for it, and keeps what it compiled for the next process.
Results do not depend on the number of threads.

The loops of normalization take matrices [rows, channels], a row for each pixel and column, of float32 or float64, or
the bits of bfloat16 as uint16, which they compute in float32. The types of the constants decide what is compiled:
`backward` is None or an empty tuple, `window` a tuple with an item per channel of a window, over which loops are
unrolled; k, alpha and beta have the type of the arithmetic, and beta is None for the paper's 3/4.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.jit import compiled
from alexnet.philox import LOW, M0, M1, ROUNDS, round_keys

COMPUTED_IN: dict[torch.dtype, type[np.floating[Any]]] = {
    torch.float32: np.float32,
    torch.bfloat16: np.float32,
    torch.float64: np.float64,
}
"""Supported types, and those that the loops compute in."""
BLOCK = 32
"""Rows of bfloat16 that are widened at a time: they stay in the first cache."""
REORDERED = {"contract", "reassoc", "nsz", "arcp"}
"""What LLVM may do to the arithmetic: not to assume that there are no NaNs, or a diverging run would not show."""

_jit = compiled(error_model="numpy", fastmath=REORDERED)


def normalize(x: Tensor, grad: Tensor | None, size: int, k: float, alpha: float, beta: float) -> Tensor:
    """Return y = x / (k + alpha * window(x^2))^beta or, given dL/dy, dL/dx; contiguous [pixels, columns, channels]."""
    result, number = torch.empty_like(x), COMPUTED_IN[x.dtype]
    constants = ((0,) * size, number(k), number(alpha), None if beta == 0.75 else number(beta))
    backward, slope = (None, x) if grad is None else ((), grad.contiguous())
    loops: Any = _normalize_bfloat16 if x.dtype == torch.bfloat16 else _normalize
    share_rows(loops, [_array(tensor.flatten(0, 1)) for tensor in (x, slope, result)], backward, *constants)
    return result


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return the memory of a tensor; numpy has no bfloat16, which goes by its bits."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def check_compiler() -> None:
    """Compile the smallest loop, to raise any error early."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError("NUMBA_DISABLE_JIT is set")
    one = np.ones((1, 1), np.float32)
    _normalize(one, one, one.copy(), None, (0,) * 5, np.float32(1), np.float32(1), None)


@_jit
def _normalize(x: Any, grad: Any, out: Any, backward: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    """Fill `out` with y or, if `backward`, with dL/dx; only then is `grad`, dL/dy, read."""
    rows, channels = x.shape
    reach = len(window) // 2
    factor = (alpha + alpha) * _exponent(alpha, beta)
    squares = np.zeros(channels + 2 * reach, x.dtype)  # the zeros at both ends stay
    shares = np.zeros(channels + 2 * reach, x.dtype)
    scaled = np.zeros(channels, x.dtype)
    for row in range(rows):
        for i in range(channels):
            squares[reach + i] = x[row, i] * x[row, i]
        for i in range(channels):
            base = k + alpha * _sum(squares, i, window)
            if backward is None:
                out[row, i] = x[row, i] * _inverse_power(base, beta)
            else:
                scaled[i] = grad[row, i] * _inverse_power(base, beta)
                shares[reach + i] = scaled[i] * x[row, i] / base
        if backward is not None:
            for i in range(channels):
                out[row, i] = scaled[i] - factor * x[row, i] * _sum(shares, i, window)


@_jit
def _normalize_bfloat16(x: Any, grad: Any, out: Any, backward: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    bits = np.empty((3, BLOCK, x.shape[1]), np.uint32)
    wide = bits.view(np.float32)
    for start in range(0, len(x), BLOCK):
        rows = min(BLOCK, len(x) - start)
        _widen(x[start : start + rows], bits[0])
        if backward is not None:
            _widen(grad[start : start + rows], bits[1])
        _normalize(wide[0, :rows], wide[1], wide[2], backward, window, k, alpha, beta)
        _narrow(bits[2], out[start : start + rows])


@_jit
def _sum(padded: Any, i: Any, window: Any) -> Any:
    total = padded[i]
    for neighbor in range(1, len(window)):
        total += padded[i + neighbor]
    return total


@_jit
def _inverse_power(base: Any, beta: Any) -> Any:
    """base^-beta; for the paper's 3/4 by square roots, which cost a fraction of a power."""
    if beta is None:
        root = np.sqrt(base)
        return type(base)(1) / (root * np.sqrt(root))
    return base**-beta


@_jit
def _exponent(alpha: Any, beta: Any) -> Any:
    return type(alpha)(0.75) if beta is None else beta


@_jit
def _widen(halves: Any, bits: Any) -> None:
    """A bfloat16 is the upper half of a float32."""
    for row in range(len(halves)):
        for i in range(halves.shape[1]):
            bits[row, i] = np.uint32(halves[row, i]) << 16


@_jit
def _narrow(bits: Any, halves: Any) -> None:
    """Round to nearest, to even in the middle. NaNs that come from bfloat16 have zeros below, and stay NaNs."""
    for row in range(len(halves)):
        for i in range(halves.shape[1]):
            above = bits[row, i] >> 16
            halves[row, i] = (bits[row, i] + np.uint32(0x7FFF) + (above & 1)) >> 16


def draw(x: Tensor, position: int, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Draw the mask of features [N, units]; the result does not depend on the number of threads."""
    mask = np.empty(x.shape, np.bool_)
    places = (position & LOW) + np.arange(len(x))
    keys = np.array(round_keys(seed), np.uint32)
    share_rows(_fill, [mask, places], keys, position >> 32, stream, first_unit, limit)
    return torch.from_numpy(mask).to(x.dtype)


@compiled(error_model="numpy")
def _fill(mask: Any, places: Any, keys: Any, step: int, stream: int, first_unit: int, limit: int) -> None:
    rows, units = mask.shape
    first_block, skipped = first_unit // 4, first_unit % 4
    words = np.empty(((skipped + units + 3) // 4, 4), np.uint32)
    for row in range(rows):
        for block in range(len(words)):
            c0, c1 = np.uint32(first_block + block), np.uint32(places[row])
            c2, c3 = np.uint32(step), np.uint32(stream)
            for turn in range(ROUNDS):
                p0, p1 = np.uint64(c0) * np.uint64(M0), np.uint64(c2) * np.uint64(M1)
                c0 = np.uint32(p1 >> np.uint64(32)) ^ c1 ^ keys[turn, 0]
                c2 = np.uint32(p0 >> np.uint64(32)) ^ c3 ^ keys[turn, 1]
                c1, c3 = np.uint32(p1), np.uint32(p0)
            words[block, 0], words[block, 1], words[block, 2], words[block, 3] = c0, c1, c2, c3
        drawn = words.reshape(-1)[skipped:]
        for unit in range(units):
            mask[row, unit] = drawn[unit] < limit


SMALLEST_PART = 2**16
"""Numbers that are worth waking a thread for."""


def share_rows(loops: Any, arrays: Sequence[NDArray[Any]], *constants: Any) -> None:
    """Call loops, which release the GIL, on consecutive rows of the arrays, with as many threads as torch uses.

    The first array tells how much there is to do; all have the same number of rows.
    """
    rows = len(arrays[0])
    parts = max(1, min(torch.get_num_threads(), arrays[0].size // SMALLEST_PART))
    ends = [rows * part // parts for part in range(parts + 1)]
    first, *others = ([array[start:end] for array in arrays] for start, end in pairwise(ends))
    pool = _threads(torch.get_num_threads(), os.getpid())
    waiting = [pool.submit(loops, *part, *constants) for part in others]
    loops(*first, *constants)
    for other in waiting:
        other.result()


@lru_cache(maxsize=1)
def _threads(count: int, _process: int) -> ThreadPoolExecutor:
    """Return the worker threads; a forked process needs new ones."""
    return ThreadPoolExecutor(count, thread_name_prefix="loops")
