"""Loops without the GIL, shared by several threads."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray

SMALLEST_PART = 2**16
"""Numbers that are worth waking a thread for."""


def share_rows(loops: Any, arrays: Sequence[NDArray[Any]], *constants: Any) -> None:
    """Call loops, which release the GIL, on consecutive rows of the arrays, with as many threads as torch uses.

    The first array tells how much there is to do; all have the same number of rows.
    """
    rows = len(arrays[0])
    parts = max(1, min(torch.get_num_threads(), arrays[0].size // SMALLEST_PART))
    ends = [rows * part // parts for part in range(parts + 1)]
    first, *others = ([array[start:end] for array in arrays] for start, end in pairwise(ends))
    pool = _threads(torch.get_num_threads(), os.getpid())
    waiting = [pool.submit(loops, *part, *constants) for part in others]
    loops(*first, *constants)
    for other in waiting:
        other.result()


@lru_cache(maxsize=1)
def _threads(count: int, _process: int) -> ThreadPoolExecutor:
    """Return the worker threads; a forked process needs new ones."""
    return ThreadPoolExecutor(count, thread_name_prefix="loops")
