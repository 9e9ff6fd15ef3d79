"""Runs side by side on one machine: which GPU each takes."""

import os
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

from alexnet.errors import UserError
from alexnet.files import exclusive

SEATS = ".seats"
"""Folder of the lock files beside the runs."""
_HELD = ExitStack()
"""Seats that this process holds; the operating system frees them when it ends, however that happens."""


@cache
def stay_on_one_gpu(runs: Path) -> None:
    """Let this process see one GPU only: that of the lowest seat no other process of the sweep has taken.

    There may be more seats than GPUs: several runs then share one. Must be called before the first use of a GPU.
    """
    gpus = visible_gpus()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[acquire_gpu_slot(runs) % len(gpus)]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by number or name."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def acquire_gpu_slot(runs: Path) -> int:
    """The lowest free number, which is this process's until it ends."""
    folder = runs / SEATS
    folder.mkdir(parents=True, exist_ok=True)
    for number in count():
        try:
            _HELD.enter_context(exclusive(folder / str(number), f"seat {number}"))
        except UserError:  # another's
            continue
        return number
    raise AssertionError("there is always another number")
