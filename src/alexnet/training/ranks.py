"""Starting the processes that train one network together on this machine, and ending all of them.

Not used under torchrun or srun. torch's own launcher (`torch.distributed.launcher`) is not used either: it sends a
Ctrl-C to processes that have had it from the terminal already, and an error arrives as text, without its type.
"""

import io
import logging
import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch.distributed as dist
from rich.console import Console
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, ProcessRaisedException, start_processes

from alexnet.errors import UserError
from alexnet.files import exclusive
from alexnet.processes import end_processes, follow_parent, signals_unwind
from alexnet.runs.directory import FIRST_LOCK
from alexnet.terminal import Terminal

LOCALHOST = "127.0.0.1"


class RankError(RuntimeError):
    """One of the processes failed."""


def run_in_ranks(body: Callable[[Console], None], directory: Path, size: int, *, console: Console) -> None:
    """Call `body` in `size` processes of this machine. When one fails or dies, all end.

    UserError: one of them raised it, or was killed. RankError: one failed otherwise.
    """
    # The parent holds the store by which they find each other, so that no other program can take its port.
    store = dist.TCPStore(LOCALHOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    logs = [log.baseFilename for log in logging.getLogger().handlers if isinstance(log, logging.FileHandler)]
    environment = {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": LOCALHOST,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # torchrun's way to say that another process holds the store
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    screen = None if console.file is sys.stdout else getattr(console.file, "name", None)
    errors: SimpleQueue[Exception] = mp.get_context("spawn").SimpleQueue()
    told = (body, directory, environment, screen, console.width, logs[0] if logs else None, errors)
    with signals_unwind():
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # reports every process that it ends
        context = start_processes(_rank, told, nprocs=size, join=False)  # type: ignore[no-untyped-call]
        assert context is not None
        try:
            while not context.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            raise _first_error(context, errors, error) from None
        finally:
            end_processes(context.processes)


def _first_error(context: ProcessContext, errors: "SimpleQueue[Exception]", error: Exception) -> Exception:
    """Return the first error, as its rank reported it."""
    for rank, process in enumerate(context.processes):
        if process.exitcode < 0 and process.exitcode != -signal.SIGTERM:  # by which torch ends those that are left
            name = signal.Signals(-process.exitcode).name
            return UserError(f"process {rank} of {len(context.processes)} was killed ({name}); repeat to continue")
    if isinstance(error, ProcessRaisedException):
        logging.getLogger(__name__).error("%s", error)  # with the traceback
    return RankError(" ".join(str(error).split())) if errors.empty() else errors.get()


def _rank(
    rank: int,
    body: Callable[[Console], None],
    directory: Path,
    environment: dict[str, str],
    screen: str | None,
    width: int,
    log: str | None,
    errors: "SimpleQueue[Exception]",
) -> None:
    """Set up one process and call its body.

    The first one prints to the file `screen`, lines of `width` characters; None is the terminal. `log` is the file of
    log messages.
    """
    follow_parent()
    os.environ |= {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    if log is not None:
        form = f"[%(asctime)s][process {rank}][%(name)s][%(levelname)s] - %(message)s"
        logging.basicConfig(filename=log, level=logging.INFO, format=form)
    try:
        with ExitStack() as stack:
            console = Console(file=io.StringIO())
            if rank == 0:
                # A first process of an earlier attempt, whose parent was killed, ends before this one writes.
                stack.enter_context(exclusive(directory / FIRST_LOCK, str(directory), wait=lambda _: None))
                file = screen and stack.enter_context(Path(screen).open("a", encoding="utf-8"))
                console = Terminal(file=file, width=width) if file else Terminal()
            body(console)
    except Exception as error:
        message = f"process {rank}: {type(error).__name__}: {' '.join(str(error).split())}"
        errors.put(error if isinstance(error, UserError) else RankError(message))
        raise
