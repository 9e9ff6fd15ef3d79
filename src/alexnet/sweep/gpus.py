"""Runs side by side on one machine: which GPU each takes."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

GPU_SLOTS = ".gpu_slots"
"""Folder of the lock files in the folder of the runs."""
_held: list[FileLock] = []
"""Slots of this process; the operating system frees them when it ends, however that happens."""


@cache
def stay_on_one_gpu(runs: Path) -> None:
    """Let this process see one GPU only: that of the lowest slot that no other process of the study has taken.

    There may be more slots than GPUs: several runs then share one. Must be called before the first use of a GPU.
    """
    if gpus := visible_gpus():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[acquire_gpu_slot(runs) % len(gpus)]


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, by number or name."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name.strip()]
    from alexnet.devices import gpu_count  # torch, which other studies do not wait for

    return [str(number) for number in range(gpu_count())]


def acquire_gpu_slot(runs: Path) -> int:
    """Take the lowest free number, which is this process's until it ends."""
    (runs / GPU_SLOTS).mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        lock = FileLock(runs / GPU_SLOTS / str(number))
        with suppress(Timeout):  # another's
            lock.acquire(blocking=False)
            _held.append(lock)
            return number
        number += 1
