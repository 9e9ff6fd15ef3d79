"""Images of a pack that have the same pixels: copies of one file, and files that decode and scale to the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_KEPT_FIRST = ("test", "val", "train")
"""Of the same images in several splits, the held-out one is kept: training on it would flatter the error."""


class Digests(NamedTuple):
    """The images of a split."""

    slots: npt.NDArray[np.int64]
    """[n]: their numbers among all images of the split."""
    labels: npt.NDArray[np.int64]
    values: npt.NDArray[np.uint64]
    """[n]: equal for equal pixels."""


class Same(NamedTuple):
    """An image that has the pixels of another one, which comes first."""

    split: str
    slot: int
    first_split: str
    first_slot: int


@dataclass(frozen=True)
class Duplicates:
    """What is there more than once."""

    pairs: list[Same]
    across: dict[tuple[str, str], int]
    """How many images of one split, the held-out one, are in another split too."""
    several_labels: int
    """How many different images are there under several classes."""

    def superfluous(self) -> dict[str, npt.NDArray[np.int64]]:
        """All but the first of each, as numbers by split."""
        return {
            split: np.array(sorted(pair.slot for pair in self.pairs if pair.split == split), np.int64)
            for split in {pair.split for pair in self.pairs}
        }


def find_duplicates(digests: Mapping[str, Digests]) -> Duplicates:
    """Find the images that are there more than once."""
    splits = [split for split in _KEPT_FIRST if split in digests]
    values = np.concatenate([digests[split].values for split in splits])
    numbers = np.repeat(np.arange(len(splits)), [len(digests[split].values) for split in splits])
    slots = np.concatenate([digests[split].slots for split in splits])
    labels = np.concatenate([digests[split].labels for split in splits])
    order = np.argsort(values, kind="stable")
    begins = np.concatenate([[True], values[order[1:]] != values[order[:-1]]])
    firsts = np.flatnonzero(begins)
    counts = np.diff(np.append(firsts, len(order)))
    pairs: list[Same] = []
    across: dict[tuple[str, str], int] = {}
    several_labels = 0
    for first, count in zip(firsts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        group = order[first : first + count]
        named = [(splits[numbers[member]], int(slots[member])) for member in group.tolist()]
        pairs += [Same(*other, *named[0]) for other in named[1:]]
        several_labels += len(np.unique(labels[group])) > 1
        there = [split for split in splits if any(split == of for of, _ in named)]
        for place, held in enumerate(there):
            for other_split in there[place + 1 :]:
                held_count = sum(split == held for split, _ in named)
                across[held, other_split] = across.get((held, other_split), 0) + held_count
    return Duplicates(pairs=pairs, across=across, several_labels=several_labels)
