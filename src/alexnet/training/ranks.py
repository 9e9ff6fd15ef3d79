"""Starts the processes that train one network together on this machine, and sees to it that all of them end.

Where torchrun or srun start them, nothing here is used.
"""

import io
import logging
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch.distributed as dist
from rich.console import Console
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, ProcessRaisedException, start_processes

from alexnet.config.job import Job
from alexnet.errors import UserError
from alexnet.files import exclusive
from alexnet.training.preemption import SIGNALS, Preempted

GRACE_SECONDS = 60
"""Time that processes get to write a checkpoint and end before they are killed."""
LOOK_EVERY_SECONDS = 0.5
FIRST_LOCK = ".first.lock"
HERE = "127.0.0.1"


class RankError(RuntimeError):
    """One of the processes failed."""


@dataclass(frozen=True, kw_only=True)
class _Started:
    """What a process is told by the one that starts it."""

    job: Job
    directory: Path
    size: int
    at_once: int
    """Runs at work on this machine."""
    port: int
    parent: int
    """Process id."""
    screen: str | None
    """File that the first one prints to; None: the terminal."""
    width: int
    """Of what it prints there, in characters."""
    log: str | None
    """File of log messages."""


def run_in_ranks(job: Job, directory: Path, size: int, *, console: Console, at_once: int) -> None:
    """Run a job in `size` processes of this machine. When one fails or dies, all end.

    Raises:
        UserError: one of them raised it, or was killed.
        RankError: one failed otherwise.
    """
    # The store by which they find each other is ours, so that no port is promised that another program may take.
    store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    screen = None if console.file is sys.stdout else getattr(console.file, "name", None)
    started = _Started(
        job=job,
        directory=directory,
        size=size,
        at_once=at_once,
        port=store.port,
        parent=os.getpid(),
        screen=screen,
        width=console.width,
        log=_log_file(),
    )
    complaints = mp.get_context("spawn").SimpleQueue()
    with _signals_unwind():
        arguments = (started, complaints)
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # tells of every process it ends
        context = start_processes(_rank, arguments, nprocs=size, join=False)  # type: ignore[no-untyped-call]
        assert context is not None
        try:
            while not context.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            raise _cause(context, complaints, error) from None
        finally:
            _end(context)


def _cause(context: ProcessContext, complaints: "SimpleQueue[tuple[int, bool, str]]", error: Exception) -> Exception:
    """What went wrong first, in the words of the process that it happened to."""
    for rank, process in enumerate(context.processes):
        if process.exitcode < 0 and process.exitcode != -signal.SIGTERM:  # which is how we end those that are left
            name = signal.Signals(-process.exitcode).name
            return UserError(f"process {rank} of {len(context.processes)} was killed ({name}): repeat to continue")
    if isinstance(error, ProcessRaisedException):
        logging.getLogger(__name__).error("%s", error)  # with the traceback
    if complaints.empty():
        return RankError(" ".join(str(error).split()))
    rank, by_user, words = complaints.get()
    return UserError(words) if by_user else RankError(f"process {rank}: {words}")


def _end(context: ProcessContext) -> None:
    """Ask the processes that are left to end, then kill them."""
    for process in context.processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in context.processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Let signals unwind this process, which ends the others, instead of ending it at once; not those that somebody
    else has a use for."""

    def unwind(number: int, _: object) -> None:
        raise Preempted(number)

    in_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in SIGNALS if in_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _log_file() -> str | None:
    handlers = logging.getLogger().handlers
    return next((handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)), None)


def _rank(rank: int, started: _Started, complaints: "SimpleQueue[tuple[int, bool, str]]") -> None:
    """The body of one process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent turns it into a SIGTERM for each
    threading.Thread(target=_end_with_parent, args=(started.parent,), daemon=True).start()
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(started.size),
        "LOCAL_WORLD_SIZE": str(started.size),
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(started.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # torchrun's way to say that the store is another process's
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    if started.log is not None:
        form = f"[%(asctime)s][process {rank}][%(name)s][%(levelname)s] - %(message)s"
        logging.basicConfig(filename=started.log, level=logging.INFO, format=form)
    from alexnet.training.run import run_rank

    try:
        with _first_alone(rank, started.directory), _console(rank, started.screen, started.width) as console:
            run_rank(started.job, started.directory, console=console, at_once=started.at_once)
    except UserError as error:
        complaints.put((rank, True, str(error)))
        raise
    except Exception as error:
        complaints.put((rank, False, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        raise


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it has died, even where a collective never returns."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    os._exit(1)


@contextmanager
def _first_alone(rank: int, directory: Path) -> Iterator[None]:
    """Let a first process of an earlier attempt end, whose parent was killed, before another writes to its files."""
    if rank > 0:
        yield
        return
    with exclusive(directory / FIRST_LOCK, str(directory), wait=lambda _: None):
        yield


@contextmanager
def _console(rank: int, screen: str | None, width: int) -> Iterator[Console]:
    if rank > 0:
        yield Console(file=io.StringIO())
    elif screen is None:
        yield Console()
    else:
        with Path(screen).open("a", encoding="utf-8") as file:
            yield Console(file=file, width=width)
