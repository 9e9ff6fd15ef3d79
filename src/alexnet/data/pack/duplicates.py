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
    """Of all images of the split, by number."""
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
    """Find the images that are there more than once, in some 25 bytes of memory for each image."""
    splits = [split for split in _KEPT_FIRST if split in digests]
    values = np.concatenate([digests[split].values for split in splits])
    order = np.argsort(values, kind="stable")  # so that the first of its pixels is the one to keep
    values = values[order]
    same = values[1:] == values[:-1]
    repeats = np.concatenate([[False], same])  # an image that is there already
    several = repeats | np.concatenate([same, [False]])  # or one that comes again
    order, values, repeats = order[several], values[several], repeats[several]
    firsts = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(order))))

    begins = np.cumsum([0, *(len(digests[split].values) for split in splits)])
    numbers = np.searchsorted(begins, order, side="right") - 1
    slots, labels = np.empty_like(order), np.empty_like(order)
    for number, split in enumerate(splits):
        mine = numbers == number
        slots[mine] = digests[split].slots[order[mine] - begins[number]]
        labels[mine] = digests[split].labels[slots[mine]]

    def at(images: npt.NDArray[np.int64]) -> list[At]:
        return [(splits[n], slot) for n, slot in zip(numbers[images].tolist(), slots[images].tolist(), strict=True)]

    again = np.flatnonzero(repeats)
    again = again[np.argsort(order[again])]
    counts = {
        (splits[held], splits[other]): int(np.isin(values[numbers == held], values[numbers == other]).sum())
        for held, other in combinations(range(len(splits)), 2)
    }
    return Duplicates(
        pairs=list(zip(at(again), at(firsts[again]), strict=True)),
        across={pair: count for pair, count in counts.items() if count},
        several_labels=len(np.unique(firsts[labels != labels[firsts]])),
    )
