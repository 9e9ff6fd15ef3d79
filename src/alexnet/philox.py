"""Random numbers by counter: Philox4x32-10 (Salmon et al., SC 2011).

A 32-bit word is a function of (seed, stream, step, place, unit) alone, whatever was drawn before and on whatever
device, so a draw is the same for every split of a batch over processes and after a resume:

    key     = (seed mod 2^32, seed div 2^32)
    counter = (unit div 4, place, step mod 2^32, crc32(stream))
    word    = philox4x32_10(counter, key)[unit mod 4]

`stream` names what is drawn: leaving out one use changes no other. `place` is an image's place in the whole batch, with
`step` the optimizer's, or its place in the epoch, with `step` the epoch's number. This module draws on the host;
`alexnet.net.dropout` draws masks where the network is.
"""

import math
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 10
M0, M1 = 0xD2511F53, 0xCD9E8D57
"""Multipliers of a round."""
W0, W1 = 0x9E3779B9, 0xBB67AE85
"""What each round adds to the key."""
LOW = 0xFFFFFFFF
CHUNK = 2**14
"""Blocks of four words that are computed at a time: they stay in the cache."""


def stream_number(name: str) -> int:
    """Return the number of a stream, 32 bits; ASCII names such as `dropout:fc6`."""
    return zlib.crc32(name.encode("ascii"))


def threshold(probability: float) -> int:
    """Return the number that a word is below with this probability; 2^32 for 1."""
    return math.floor(probability * 2**32)


def round_keys(seed: int) -> list[tuple[int, int]]:
    """Return the keys of the ten rounds, for a seed of up to 64 bits."""
    return [((seed + turn * W0) & LOW, ((seed >> 32) + turn * W1) & LOW) for turn in range(ROUNDS)]


def words(seed: int, stream: str, *, step: int, place: ArrayLike = 0, block: ArrayLike = 0) -> NDArray[np.uint32]:
    """Draw the words of blocks of four units, uint32 [n, 4]; `place` and `block` are numbers or arrays [n]."""
    places, blocks = np.broadcast_arrays(np.atleast_1d(place), np.atleast_1d(block))
    drawn = np.empty((len(places), 4), np.uint32)
    for part in _chunks(len(places)):
        drawn[part] = _philox(blocks[part], places[part], step & LOW, stream_number(stream), seed)
    return drawn


def normals(seed: int, stream: str, *, step: int, place: ArrayLike = 0, block: ArrayLike = 0) -> NDArray[np.float32]:
    """Draw standard normal numbers instead, float32 [n, 4], by the method of Box and Muller.

    In float64, whose rounding to float32 hides the last bits in which mathematical libraries differ.
    """
    drawn = words(seed, stream, step=step, place=place, block=block)
    result = np.empty(drawn.shape, np.float32)
    for part in _chunks(len(drawn)):
        uniform = (drawn[part] + 0.5) / 2.0**32
        radius, angle = np.sqrt(-2 * np.log(uniform[:, ::2])), 2 * np.pi * uniform[:, 1::2]
        result[part, ::2], result[part, 1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return result


def _philox(
    block: NDArray[np.integer], place: NDArray[np.integer], step: int, stream: int, seed: int
) -> NDArray[np.uint64]:
    c0, c1 = block.astype(np.uint64), place.astype(np.uint64)
    c2, c3 = np.full_like(c0, step), np.full_like(c0, stream)
    low, half = np.uint64(LOW), np.uint64(32)
    for k0, k1 in round_keys(seed):
        p0, p1 = np.uint64(M0) * c0, np.uint64(M1) * c2
        c0, c2 = (p1 >> half) ^ c1 ^ np.uint64(k0), (p0 >> half) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & low, p0 & low
    return np.stack([c0, c1, c2, c3], axis=1)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(first, first + CHUNK) for first in range(0, count, CHUNK))
