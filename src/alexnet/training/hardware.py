"""How a run computes: threads, memory, the precision of its arithmetic, compilation (`hardware.*`, docs/speed.md)."""

import ctypes
from typing import Any

import torch
from torch import nn

from alexnet.config.schema import HardwareConfig
from alexnet.errors import UserError

MALLOPT = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 2**28)}
"""Parameters of glibc's allocator (malloc.h) and their values: no memory of its own for a large tensor, none given back
to the system, and 256 MiB more whenever there is too little."""


def check_hardware(hardware: HardwareConfig) -> None:
    """Refuse what this machine cannot do.

    Raises:
        UserError: there is no such device, or its allocator cannot be tuned.
    """
    if hardware.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise UserError("hardware.accelerator=gpu: torch finds no GPU here; choose cpu or auto")
    if hardware.allocator == "tuned" and _mallopt() is None:
        raise UserError("hardware.allocator=tuned sets up glibc's allocator, and there is none here; choose default")


def set_up_process(hardware: HardwareConfig) -> None:
    """Threads and allocator, which belong to the whole process."""
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    if hardware.allocator == "tuned":
        mallopt = _mallopt()
        assert mallopt is not None
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


def trainer_options(hardware: HardwareConfig) -> dict[str, Any]:
    """Options of Lightning's trainer."""
    return {"accelerator": hardware.accelerator, "devices": 1, "precision": hardware.precision}


def compile_if_wanted(net: nn.Module, hardware: HardwareConfig) -> None:
    """Let torch compile the network at its first batch. Its parameters keep their names."""
    if hardware.compile:
        from torch._inductor import config  # takes a second

        config.fallback_random = True  # dropout masks must be those that the seed and the step give without a compiler
        net.compile(mode=hardware.compile_mode)


def _mallopt() -> Any | None:
    """glibc's function of that name; None on other systems."""
    try:
        return ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return None
