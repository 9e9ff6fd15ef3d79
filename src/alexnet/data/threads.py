"""Work that releases the GIL, on several threads, with its results in order and little of it under way at a time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, *, ahead: int | None = None
) -> Generator[Result, None, None]:
    """`map(work, items)`, on up to `threads` threads; up to `ahead` results wait (None: two for each thread).

    `items` is read by the calling thread. An error of the work is raised where its result would have come.
    """
    if threads == 1 and ahead is None:
        yield from map(work, items)
        return
    limit = 2 * threads if ahead is None else ahead
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
