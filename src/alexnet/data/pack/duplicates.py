"""Images of a pack that have the same pixels: copies of one file, and files that decode and scale to the same."""

from collections import Counter
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
    """Find the images that are there more than once, in some 25 bytes of memory for each other image."""
    splits = [split for split in _KEPT_FIRST if split in digests]
    values = np.concatenate([digests[split].values for split in splits])
    order = np.argsort(values)
    same = np.flatnonzero(values[order[1:]] == values[order[:-1]])
    several = np.zeros(len(values), np.bool_)
    several[order[same]] = several[order[same + 1]] = True

    groups: dict[int, list[At]] = {}
    pairs: list[tuple[At, At]] = []
    ends = np.cumsum([len(digests[split].values) for split in splits])
    for split, chosen in zip(splits, np.split(several, ends[:-1]), strict=True):
        found = digests[split]
        for slot, value in zip(found.slots[chosen].tolist(), found.values[chosen].tolist(), strict=True):
            group = groups.setdefault(value, [])
            group.append((split, slot))
            if len(group) > 1:
                pairs.append((group[-1], group[0]))

    across: Counter[tuple[str, str]] = Counter()
    for group in groups.values():
        images = Counter(split for split, _ in group)
        across.update({pair: images[pair[0]] for pair in combinations(images, 2)})
    labels = [{digests[split].labels[slot] for split, slot in group} for group in groups.values()]
    return Duplicates(
        pairs=pairs,
        across={pair: across[pair] for pair in combinations(splits, 2) if across[pair]},
        several_labels=sum(len(of_group) > 1 for of_group in labels),
    )
