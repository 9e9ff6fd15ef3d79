"""Which compilers work here: numba for CPUs, Triton for GPUs. Without one, torch's operations do the same, slower."""

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch

from alexnet.errors import first_line


@lru_cache
def numba_available() -> bool:
    """Return whether numba can compile here; if not, warn once."""
    return _works("numba", _compile_with_numba)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def triton_available() -> bool:
    """Return whether Triton can compile for the GPU and run what it compiled; if not, warn once."""
    return _triton_works()


@lru_cache
def _triton_works() -> bool:
    return _works("Triton", _compile_with_triton)


def _works(compiler: str, attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except Exception as error:  # compilers, LLVM, drivers, numpy and the file system raise their own
        warnings.warn(
            f"response normalization and dropout are slower here, without {compiler}: {first_line(error)}", stacklevel=4
        )
        return False
    return True


def _compile_with_numba() -> None:
    from alexnet.net.lrn_numba import check_compiler

    check_compiler()


def _compile_with_triton() -> None:
    from alexnet.net.lrn_triton import check_compiler

    check_compiler()
