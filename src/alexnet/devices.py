"""What kinds of devices can do: the one place that tells a CPU, an NVIDIA GPU (`cuda`) and Apple's (`mps`) apart."""

import os
import re
from pathlib import Path

import torch

from alexnet.errors import UserError, first_line

CPU = torch.device("cpu")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Of a processor that multiplies bfloat16, as Linux names them; others emulate it, several times slower."""
OUT_OF_MEMORY = re.compile("DefaultCPUAllocator|MPS backend out of memory|Cannot allocate memory|Unable to allocate")
TENSOR_CORES = (8, 0)
"""Compute capability from which an NVIDIA GPU multiplies bfloat16."""


def choose_device(accelerator: str = "auto") -> torch.device:
    """Return the device for `hardware.accelerator`, a GPU if there is one; UserError if one is asked for in vain."""
    if accelerator == "cpu":
        return CPU
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if accelerator == "gpu":
        raise UserError("hardware.accelerator=gpu: torch finds no GPU here; choose cpu or auto")
    return CPU


def check_device(device: torch.device) -> None:
    """Compute something, or raise a UserError: a driver may be broken, or this torch be built for other GPUs."""
    try:
        (torch.ones(2, device=device) * 2).sum().item()
    except Exception as error:  # torch, CUDA and the driver raise their own
        raise UserError(f"{device} does not compute ({first_line(error)}); add hardware.accelerator=cpu") from None


def gpu_count() -> int:
    """Count the GPUs that processes can share out among them; Apple's is one device of one process."""
    return torch.cuda.device_count()


def gpu_names(device: torch.device, count: int) -> list[str]:
    """Return the names by which the driver knows the first NVIDIA GPUs; none for another device."""
    if device.type != "cuda":
        return []
    found = range(min(count, torch.cuda.device_count()))
    return [f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in found]


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def pins_memory(device: torch.device) -> bool:
    """Return whether copies to the device go on beside the network if they come from pinned memory."""
    return device.type == "cuda"


def has_triton(device: torch.device) -> bool:
    """Return whether Triton can be tried on the device."""
    return device.type == "cuda"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes products of bfloat16 by itself, rather than emulating them."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= TENSOR_CORES
    return device.type == "cpu" and bool(BFLOAT16_FLAGS & set(cpu_fact("flags", "Features").split()))


def memory_bytes(device: torch.device) -> int:
    """Return the memory of the device, in use or not; a GPU that shares the machine's has that."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_memory_bytes(device: torch.device) -> int:
    """Return the memory of an NVIDIA GPU that nothing uses yet; 0 where a device has none apart from the machine's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def has_deterministic_kernels(device: torch.device) -> bool:
    """Return whether torch can be told to compute bit for bit the same; on Apple's GPU max-pooling cannot."""
    return device.type != "mps"


def use_exact_float32() -> None:
    """Let convolutions on an NVIDIA GPU compute in float32: torch's default rounds their factors to 10 bits (TF32)."""
    # Not by `cudnn.conv.fp32_precision`: torch 2.15 then raises when torch.export asks for `allow_tf32`.
    torch.backends.cudnn.allow_tf32 = False


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether there was too little memory, of the GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(
        isinstance(error, RuntimeError | OSError) and OUT_OF_MEMORY.search(str(error))
    )


def cpu_fact(*names: str) -> str:
    """Return what Linux says of the first processor under one of these names; else, as on other systems, nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")
