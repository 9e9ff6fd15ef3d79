"""Which compilers work here: numba for CPUs, Triton for GPUs. Without one, torch's operations do the same, slower."""

import warnings
from functools import lru_cache
from importlib import import_module

import torch

from alexnet.devices import gpu_count, has_triton
from alexnet.errors import first_line


def numba_available() -> bool:
    """Return whether numba can compile here; if not, warn once."""
    return _works("numba")


def triton_available(device: torch.device) -> bool:
    """Return whether Triton can compile for the device and run what it compiled; if it should and cannot, warn once."""
    return has_triton(device) and _works("triton")


if gpu_count():  # only there, as it imports torch's compiler: most of two seconds
    torch.compiler.assume_constant_result(triton_available)  # type: ignore[no-untyped-call]


def is_exporting() -> bool:
    """Return whether torch.export records the net: torch 2.11's own function says so under torch.compile as well."""
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


@lru_cache
def _works(compiler: str) -> bool:
    try:
        import_module(f"alexnet.net.kernels_{compiler}").check_compiler()
    except Exception as error:  # compilers, LLVM, drivers, numpy and the file system raise their own
        warnings.warn(f"everything is slower here, without {compiler}: {first_line(error)}", stacklevel=3)
        return False
    return True
