"""Memory for batches, used again when nobody looks at it any more.

Fresh memory for every batch would cost more than filling it: the kernel hands out pages one fault at a time.
"""

import sys
import threading

import numpy as np
import numpy.typing as npt
import torch

_IDLE = 3
"""References to an array that nobody has taken: the list, the loop and the call that counts them."""


class Slots:
    """Arrays of one shape, float32; as many as are held at once. May be used from several threads."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._arrays: list[npt.NDArray[np.float32]] = []
        self._lock = threading.Lock()

    def take(self) -> npt.NDArray[np.float32]:
        """An array that is free again as soon as it, its views and tensors of its memory are gone."""
        with self._lock:
            for array in self._arrays:
                if sys.getrefcount(array) == _IDLE:
                    return array
            array = torch.empty(self._shape).numpy()  # at the start of a cache's line, unlike numpy's own
            self._arrays.append(array)
            return array

    def __len__(self) -> int:
        return len(self._arrays)
