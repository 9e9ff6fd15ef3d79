"""Widths of floating-point numbers."""

from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Numbers of 16 bits as float32; others as they are."""
    return x.float() if x.dtype.itemsize < 4 else x
