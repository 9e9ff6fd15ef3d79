"""Images of a pack that have the same pixels: copies of one file, and files that decode and scale to the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_KEPT_FIRST = ("test", "val", "train")
"""Of the same images in several splits, the held-out one is kept: training on it would flatter the error."""

At = tuple[str, int]
"""An image of a source: its split, and its number among all images of the split."""


class Digests(NamedTuple):
    """The images of a split."""

    slots: npt.NDArray[np.int64]
    """[n]: their numbers among all images of the split."""
    labels: npt.NDArray[np.int64]
    values: npt.NDArray[np.uint64]
    """[n]: equal for equal pixels."""


@dataclass(frozen=True)
class Duplicates:
    """What is there more than once."""

    pairs: list[tuple[At, At]]
    """Every image that is there already, and the first one of its pixels."""
    across: dict[tuple[str, str], int]
    """How many images of one split, the held-out one, are in another split too."""
    several_labels: int
    """How many different images are there under several classes."""

    def superfluous(self) -> dict[str, npt.NDArray[np.int64]]:
        """All but the first of each, as numbers by split."""
        slots: dict[str, list[int]] = {}
        for (split, slot), _ in self.pairs:
            slots.setdefault(split, []).append(slot)
        return {split: np.array(of_split, np.int64) for split, of_split in slots.items()}


def find_duplicates(digests: Mapping[str, Digests]) -> Duplicates:
    """Find the images that are there more than once."""
    splits = [split for split in _KEPT_FIRST if split in digests]
    slots, labels, values = map(np.concatenate, zip(*(digests[split] for split in splits), strict=True))
    numbers = np.repeat(np.arange(len(splits), dtype=np.int8), [len(digests[split].slots) for split in splits])
    _, firsts, groups = np.unique(values, return_index=True, return_inverse=True)
    again = np.flatnonzero(firsts[groups] != np.arange(len(values)))
    first = firsts[groups[again]]

    def at(images: npt.NDArray[np.int64]) -> list[At]:
        named = zip(numbers[images].tolist(), slots[images].tolist(), strict=True)
        return [(splits[number], slot) for number, slot in named]

    shared = {
        (held, other): int(np.isin(digests[held].values, digests[other].values).sum())
        for held, other in combinations(splits, 2)
    }
    return Duplicates(
        pairs=list(zip(at(again), at(first), strict=True)),
        across={pair: count for pair, count in shared.items() if count},
        several_labels=len(np.unique(groups[again][labels[again] != labels[first]])),
    )
