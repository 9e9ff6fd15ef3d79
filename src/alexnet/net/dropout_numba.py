"""Dropout masks on a CPU, drawn by compiled loops."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.compiled import compiled
from alexnet.net.threads import share_rows
from alexnet.philox import LOW, M0, M1, ROUNDS, round_keys

ONES = {
    torch.float32: (torch.int32, 0x3F800000),
    torch.float64: (torch.int64, 0x3FF0000000000000),
    torch.bfloat16: (torch.int16, 0x3F80),
    torch.float16: (torch.int16, 0x3C00),
}
"""Integers as wide as a number, and the one whose bits are those of 1."""


def draw(x: Tensor, position: int, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Draw the mask of features [N, units]; the result does not depend on the number of threads."""
    mask = torch.empty(x.shape, dtype=x.dtype)
    bits, one = ONES[x.dtype]
    places = (position & LOW) + np.arange(len(x))
    constants = (_keys(seed), position >> 32, stream, first_unit, limit, one)
    share_rows(_fill, [mask.view(bits).numpy(), places], *constants)
    return mask


@lru_cache(maxsize=1)
def _keys(seed: int) -> NDArray[np.uint32]:
    return np.array(round_keys(seed), np.uint32)


@compiled(error_model="numpy")
def _fill(mask: Any, places: Any, keys: Any, step: int, stream: int, first_unit: int, limit: int, one: int) -> None:
    """Indices are unsigned: numba checks signed ones for being negative, which takes several times longer."""
    rows, units = mask.shape
    first_block, skipped = first_unit // 4, first_unit % 4
    blocks = (skipped + units + 3) // 4
    words = np.empty((4, blocks), np.uint32)
    four = np.uint64(4)
    for row in range(rows):
        for number in range(blocks):
            block = np.uint64(number)
            c0, c1 = np.uint32(first_block + number), np.uint32(places[row])
            c2, c3 = np.uint32(step), np.uint32(stream)
            for number_of_round in range(ROUNDS):
                turn = np.uint64(number_of_round)
                p0, p1 = np.uint64(c0) * np.uint64(M0), np.uint64(c2) * np.uint64(M1)
                c0 = np.uint32(p1 >> np.uint64(32)) ^ c1 ^ keys[turn, np.uint64(0)]
                c2 = np.uint32(p0 >> np.uint64(32)) ^ c3 ^ keys[turn, np.uint64(1)]
                c1, c3 = np.uint32(p1), np.uint32(p0)
            words[0, block], words[1, block], words[2, block], words[3, block] = c0, c1, c2, c3
        aligned = units // 4 if skipped == 0 else 0
        for number in range(aligned):
            block = np.uint64(number)
            for number_of_word in range(4):
                word = np.uint64(number_of_word)
                mask[row, four * block + word] = one if words[word, block] < limit else 0
        for unit in range(4 * aligned, units):
            place = skipped + unit
            mask[row, unit] = one if words[place % 4, place // 4] < limit else 0
