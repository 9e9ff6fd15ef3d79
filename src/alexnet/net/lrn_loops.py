"""The loops of response normalisation over rows of maps, for numba to compile. Imported only where they are needed.

`forward(x, y, *constants)` and `backward(x, grad, x_grad, *constants)` take matrices [rows, maps], a row for each pixel
and column, of float32 or float64; `forward_bfloat16` and `backward_bfloat16` take the bits of bfloat16 as uint16, and
compute in float32. The constants decide by their types what is compiled: `window` is a tuple of as many items as maps
in a window, over which loops are unrolled; k and alpha are of the type of the arithmetic, and so is beta, or it is
None for the paper's 3/4.
"""

from typing import Any

import numpy as np
from numba import njit

REORDERED = {"contract", "reassoc", "nsz", "arcp"}
"""What LLVM may do to the arithmetic: not to assume that there are no NaNs, or a diverging run would not show."""
BLOCK = 32
"""Rows of bfloat16 that are widened at a time: they stay in the first cache."""

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=REORDERED)


@_jit
def forward(x: Any, y: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    rows, maps = x.shape
    reach = len(window) // 2
    squares = np.zeros(maps + 2 * reach, x.dtype)  # the zeros at both ends stay
    for row in range(rows):
        for i in range(maps):
            squares[reach + i] = x[row, i] * x[row, i]
        for i in range(maps):
            y[row, i] = x[row, i] * _inverse_power(k + alpha * _sum(squares, i, window), beta)


@_jit
def backward(x: Any, grad: Any, x_grad: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    rows, maps = x.shape
    reach = len(window) // 2
    factor = (alpha + alpha) * _exponent(alpha, beta)
    squares = np.zeros(maps + 2 * reach, x.dtype)
    shares = np.zeros(maps + 2 * reach, x.dtype)
    scaled = np.zeros(maps, x.dtype)
    for row in range(rows):
        for i in range(maps):
            squares[reach + i] = x[row, i] * x[row, i]
        for i in range(maps):
            base = k + alpha * _sum(squares, i, window)
            scaled[i] = grad[row, i] * _inverse_power(base, beta)
            shares[reach + i] = scaled[i] * x[row, i] / base
        for i in range(maps):
            x_grad[row, i] = scaled[i] - factor * x[row, i] * _sum(shares, i, window)


@_jit
def forward_bfloat16(x: Any, y: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    bits = np.empty((2, BLOCK, x.shape[1]), np.uint32)
    wide = bits.view(np.float32)
    for start in range(0, len(x), BLOCK):
        rows = min(BLOCK, len(x) - start)
        _widen(x[start : start + rows], bits[0])
        forward(wide[0, :rows], wide[1], window, k, alpha, beta)
        _narrow(bits[1], y[start : start + rows])


@_jit
def backward_bfloat16(x: Any, grad: Any, x_grad: Any, window: Any, k: Any, alpha: Any, beta: Any) -> None:
    bits = np.empty((3, BLOCK, x.shape[1]), np.uint32)
    wide = bits.view(np.float32)
    for start in range(0, len(x), BLOCK):
        rows = min(BLOCK, len(x) - start)
        _widen(x[start : start + rows], bits[0])
        _widen(grad[start : start + rows], bits[1])
        backward(wide[0, :rows], wide[1], wide[2], window, k, alpha, beta)
        _narrow(bits[2], x_grad[start : start + rows])


@_jit
def _sum(padded: Any, i: Any, window: Any) -> Any:
    total = padded[i]
    for neighbour in range(1, len(window)):
        total += padded[i + neighbour]
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
