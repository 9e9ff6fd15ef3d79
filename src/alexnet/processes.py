"""Processes that this one has started, and what the environment says of those that have started this one.

A signal ends all that this one has started, each with the time to save, and none outlives it.
"""

import multiprocessing as mp
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess

from alexnet.errors import UserError

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""A closed terminal's, and what schedulers send ahead of a kill: SIGTERM, or as told to; submitit asks for SIGUSR2."""
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Variables of launchers from which Lightning takes the number of this process."""
STARTED_AGAIN = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
"""Variables that count how often Slurm, also for submitit, or torchrun has started a command again."""
GRACE_SECONDS = 60
"""Time that processes get to write a checkpoint and end before they are killed."""


def check_environment() -> None:
    """Refuse (`UserError`) variables that would stop Lightning as it is imported, or change what it trains."""
    for name in os.environ:
        if name.startswith("PL_TRAINER_"):
            raise UserError(f"{name}={os.environ[name]}: Lightning would train otherwise by it; unset {name}")
        if name in RANKS:
            launched(name)


def launched(name: str) -> int:
    """Return the number in a launcher's variable, 0 without it; UserError if it is none."""
    value = os.environ.get(name, "0")
    if not re.fullmatch("[0-9]{1,9}", value):
        raise UserError(f"{name}={value}: torchrun or srun would set it to a number; unset {name}")
    return int(value)


def is_started_again() -> bool:
    """Return whether a scheduler has started this command before, and has it continue."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in STARTED_AGAIN)


class Preempted(SystemExit):
    """The exit of a process that obeyed a signal; its code is 128 + the signal, as shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def signals_unwind() -> Iterator[None]:
    """Let signals unwind this process, which ends the others, unless they have a handler already."""

    def unwind(number: int, _: object) -> None:
        raise Preempted(number)

    in_main = threading.current_thread() is threading.main_thread()
    with ExitStack() as stack:
        for number in SIGNALS:
            if in_main and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, unwind)
                stack.callback(signal.signal, number, signal.SIG_DFL)
        yield


@contextmanager
def starting(*masked: int) -> Iterator[None]:
    """Hold signals back while the block starts processes, and keep from these what a terminal sends to all.

    A start that is interrupted leaves a process that nobody ends, and multiprocessing's traceback. The `masked` signals
    do not reach the processes before they unmask them.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    waiting: list[int] = []
    numbers = (signal.SIGINT, *SIGNALS)
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: waiting.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    mp.get_context("spawn").Lock()  # starts multiprocessing's resource tracker, which unmasks SIGINT and SIGTERM
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *masked])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in waiting:
        signal.raise_signal(number)


def end_processes(processes: Sequence[BaseProcess]) -> None:
    """Ask the processes that are left to end, then kill them; Ctrl-C kills them at once."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, which turns it into a SIGTERM for each process, and end when the parent has died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(SIGNALS) - {signal.SIGHUP})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process even in a collective that never returns."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
