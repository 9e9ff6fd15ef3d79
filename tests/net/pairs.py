"""Two processes on this machine's CPU that hold a column each."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[..., Any]


def in_two_processes(work: Work, *arguments: Any, folder: Path, processes: int = 2) -> list[Any]:
    """What `work(rank, *arguments)` returns in each of some processes that can talk; it must lie in a module.

    Results pass through files of `folder`, so they must be what torch loads without running code.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_begin, (work, arguments, folder, processes, port), nprocs=processes)
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


def _begin(rank: int, work: Work, arguments: tuple[Any, ...], folder: Path, processes: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    torch.save(work(rank, *arguments), folder / f"{rank}.pt")
    dist.destroy_process_group()
