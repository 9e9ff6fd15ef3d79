"""Dropout on a CPU: one compiled pass that draws a mask and applies it."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from alexnet.net.threads import share_rows
from alexnet.philox import LOW, M0, M1, ROUNDS, round_keys

BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers as wide as a number: zero is the same in all."""


def masked(x: Tensor, position: int, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Mask contiguous features [N, units]; the result does not depend on the number of threads."""
    y = torch.empty_like(x)
    bits = BITS[x.dtype.itemsize]
    places = (position & LOW) + np.arange(len(x))
    arrays = (x.detach().view(bits).numpy(), y.view(bits).numpy(), places)
    share_rows(_mask, arrays, _keys(seed), position >> 32, stream, first_unit, limit)
    return y


@lru_cache(maxsize=1)
def _keys(seed: int) -> NDArray[np.uint32]:
    return np.array(round_keys(seed), np.uint32)


@njit(nogil=True, cache=True, error_model="numpy")
def _mask(x: Any, y: Any, places: Any, keys: Any, step: int, stream: int, first_unit: int, limit: int) -> None:
    """Indices are unsigned: numba checks signed ones for being negative, which takes several times longer."""
    rows, units = x.shape
    first_block, skipped = first_unit // 4, first_unit % 4
    blocks = (skipped + units + 3) // 4
    words = np.empty((4, blocks), np.uint32)
    one, four = np.uint64(1), np.uint64(4)
    for row in range(rows):
        for number in range(blocks):
            block = np.uint64(number)
            c0, c1 = np.uint32(first_block + number), np.uint32(places[row])
            c2, c3 = np.uint32(step), np.uint32(stream)
            for number_of_round in range(ROUNDS):
                turn = np.uint64(number_of_round)
                p0, p1 = np.uint64(c0) * np.uint64(M0), np.uint64(c2) * np.uint64(M1)
                c0 = np.uint32(p1 >> np.uint64(32)) ^ c1 ^ keys[turn, np.uint64(0)]
                c2 = np.uint32(p0 >> np.uint64(32)) ^ c3 ^ keys[turn, one]
                c1, c3 = np.uint32(p1), np.uint32(p0)
            words[0, block], words[1, block], words[2, block], words[3, block] = c0, c1, c2, c3
        aligned = units // 4 if skipped == 0 else 0
        for number in range(aligned):
            block = np.uint64(number)
            for number_of_word in range(4):
                word = np.uint64(number_of_word)
                at = four * block + word
                y[row, at] = x[row, at] if words[word, block] < limit else 0
        for unit in range(4 * aligned, units):
            place = skipped + unit
            y[row, unit] = x[row, unit] if words[place % 4, place // 4] < limit else 0
