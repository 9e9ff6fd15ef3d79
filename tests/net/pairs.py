"""Two processes on this machine's CPU that hold a column each."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[..., Any]


def in_two_processes(work: Work, *arguments: Any, folder: Path) -> list[Any]:
    """What `work(rank, *arguments)` returns in this process and in another, which can talk; it must lie in a module.

    The other's result passes through a file of `folder`, so it must be what torch loads without running code.
    """
    other = mp.spawn(_begin, (work, arguments, folder), join=False)
    try:
        mine = _part(0, work, arguments, folder)
    finally:
        other.join()
    return [mine, torch.load(folder / "1.pt")]


def _begin(_: int, work: Work, arguments: tuple[Any, ...], folder: Path) -> None:
    torch.save(_part(1, work, arguments, folder), folder / "1.pt")
    # Threads of torch's gloo that are still alive may abort an interpreter that ends (pytorch pull request 179291).
    os._exit(0)


def _part(rank: int, work: Work, arguments: tuple[Any, ...], folder: Path) -> Any:
    dist.init_process_group("gloo", f"file://{folder}/store", timedelta(minutes=2), world_size=2, rank=rank)
    try:
        return work(rank, *arguments)
    finally:
        dist.destroy_process_group()
