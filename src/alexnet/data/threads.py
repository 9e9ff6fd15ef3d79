"""Parallel work that releases the GIL, with results in order and few of them in memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from alexnet.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOK_SECONDS = 5.0
"""Time between two looks whether the threads that are waited for live."""


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        self._pool = None if alone else ThreadPoolExecutor(threads, initializer=self._enlist)
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

    def _enlist(self) -> None:
        self._threads.append(threading.current_thread())

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
