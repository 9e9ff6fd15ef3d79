"""Runs side by side on this machine: a process for each, and the GPU that it takes."""

import multiprocessing as mp
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path

from filelock import FileLock, Timeout

from alexnet.data.threads import available_cpus
from alexnet.processes import SIGNALS, end_processes, follow_parent, signals_unwind, starting

PRELOADED = ["alexnet.commands.train", "alexnet.training.run", "alexnet.sweep.workers"]
"""What every run needs: imported once, by the process from which the others are forked."""
SECONDS_BETWEEN_LOOKS = 1.0
GPU_SLOTS = ".gpu_slots"
"""Folder of the lock files in the folder of the runs."""
_held: list[FileLock] = []
"""Slots of this process; the operating system frees them when it ends, however that happens."""
Context = ForkServerContext | SpawnContext


def run_side_by_side(bodies: Sequence[Callable[[], object]], at_once: int, *, look: Callable[[], None]) -> list[int]:
    """Call each body in a process of its own, `at_once` at a time, and return their exit codes in order.

    `look` is called once a second, and when a process has ended. A process that dies takes no other with it. Ctrl-C
    and signals end all of them: each gets the time to save the step that it is at; a second Ctrl-C kills them.
    """
    # A run sets torch's threads; this is for the libraries that start some as they are loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cpus() // at_once)))
    context = _context()
    waiting, codes = deque(enumerate(bodies)), [0] * len(bodies)
    running: dict[int, ForkServerProcess | SpawnProcess] = {}
    with signals_unwind():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    number, body = waiting.popleft()
                    process = context.Process(target=_run, args=(body,))
                    with starting(*SIGNALS):  # also of the process that forks them, which they need to the end
                        process.start()
                        running[number] = process
                wait([process.sentinel for process in running.values()], timeout=SECONDS_BETWEEN_LOOKS)
                for number, process in list(running.items()):
                    if not process.is_alive():
                        codes[number] = running.pop(number).exitcode or 0
                look()
        except KeyboardInterrupt:
            print("\nCtrl-C: every run that is training saves its step; again to stop at once", file=sys.stderr)
            raise
        finally:
            end_processes(list(running.values()))
    return codes


def _context() -> Context:
    """Fork from a process that has the libraries and nothing else: it has no threads and no GPU to lose."""
    if "forkserver" not in mp.get_all_start_methods():  # Windows
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(body: Callable[[], object]) -> None:
    follow_parent()
    with signals_unwind():  # also before training begins, so that the run's result says what ended it
        body()


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
