"""Parallel work that releases the GIL, with results in order and few of them in memory."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Generic, TypeVar

from alexnet.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOK_SECONDS = 5.0
"""Time between two looks whether the threads that are waited for live."""


CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, by its affinity and by the quota of its container.

    `docker run --cpus`, Kubernetes and systemd leave the affinity alone, and stop all threads of a process together for
    the rest of each tenth of a second when they have used up the quota.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, cpu_quota())))


def cpu_quota(cgroup: Path = CGROUP, cgroups: Path = CGROUPS) -> float:
    """Return the smallest quota of this process's control groups and of those around them, in CPUs; else infinity."""
    quotas = [math.inf]
    for line in _text(cgroup).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            quotas += [_quota(*_text(folder / "cpu.max").split()) for folder in _upwards(cgroups, path)]
        elif "cpu" in controllers.split(","):  # version 1
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            folders = _upwards(cgroups / "cpu", path)
            quotas += [_quota(*(_text(folder / name).strip() for name in names)) for folder in folders]
    return min(quotas)


def _quota(allowed: str = "max", period: str = "") -> float:
    unlimited = not (allowed.isdecimal() and period.isdecimal() and int(period))
    return math.inf if unlimited else int(allowed) / int(period)


def _upwards(root: Path, path: str) -> list[Path]:
    """List a group and those around it. A container may see the host's path, and its own group alone, as the root."""
    folder = root / path.lstrip("/")
    return [root, *(one for one in (folder, *folder.parents) if root in one.parents)]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


class ParallelMap(Generic[Item, Result], Iterator[Result]):
    """`map(work, items)` on up to `threads` threads.

    The calling thread reads `items`. An error of the work is raised in place of its result.

    Call `close` to stop before the end. Nothing is cleaned up when an iterator is garbage-collected: the collector may
    run inside a thread that is just starting, where waiting for another thread never ends. The threads of an abandoned
    iterator finish what they were given and end.
    """

    def __init__(
        self, work: Callable[[Item], Result], items: Iterable[Item], threads: int, *, ahead: int | None = None
    ) -> None:
        """Up to `ahead` results wait; None: two for each thread, and a single thread is the caller's own."""
        self._work, self._items = work, iter(items)
        self._threads: list[threading.Thread] = []
        alone = threads == 1 and ahead is None
        # No method of this object: the threads would hold it, and those of an abandoned one would never end.
        self._pool = None if alone else ThreadPoolExecutor(threads, initializer=_enlist, initargs=(self._threads,))
        self._ahead = 2 * threads if ahead is None else ahead
        self._waiting: deque[Future[Result]] = deque()

    def __next__(self) -> Result:
        if self._pool is None:
            return self._work(next(self._items))
        try:
            for item in self._items:
                self._waiting.append(self._pool.submit(self._work, item))
                if len(self._waiting) > self._ahead:
                    break
            if self._waiting:
                return self._result(self._waiting.popleft())
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def _result(self, future: Future[Result]) -> Result:
        """Wait for a result, but not for that of a thread that has ended, as for lack of memory."""
        while not wait([future], timeout=LOOK_SECONDS).done:
            if not all(thread.is_alive() for thread in self._threads):
                raise UserError("a thread that prepares data has died (out of memory?); repeat the command to continue")
        return future.result()

    def close(self) -> None:
        """Start no more work, and wait for what is running."""
        self._items = iter(())
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _enlist(threads: list[threading.Thread]) -> None:
    threads.append(threading.current_thread())
