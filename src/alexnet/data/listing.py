"""Names of files and images by the million, in little more memory than their letters.

As Python's strings, tuples and dictionaries, those of one image would take some 400 bytes; here they take 16 and the
letters.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Self, overload

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
"""int64 [n]: places in a listing."""
Item = tuple[str, int]
"""Name of an image in its source and its class."""


class Listing(Sequence[str]):
    """'/'-separated names of files, by number, and their sizes."""

    def __init__(self) -> None:
        self._letters = bytearray()
        self._ends = array("q")
        self.sizes = array("q")
        """Bytes, by number."""

    def add(self, name: str, size: int) -> None:
        self._letters += name.encode(errors="surrogateescape")
        self._ends.append(len(self._letters))
        self.sizes.append(size)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[str]: ...
    def __getitem__(self, number: int | slice) -> str | Sequence[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        return self._between(self._ends[number - 1] if number else 0, self._ends[number])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._between(start, end)
            start = end

    def _between(self, start: int, end: int) -> str:
        return self._letters[start:end].decode(errors="surrogateescape")

    def superseded(self) -> Numbers:
        """The numbers of those names that come again later."""
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        order = hashes.argsort(kind="stable")
        ordered = hashes[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1])
        alike = np.union1d(order[same], order[same + 1]).tolist()  # the same name, or nearly impossibly the same hash
        last = {self[number]: number for number in alike}
        return np.array([number for number in alike if last[self[number]] != number], np.int64)


class Chained(Sequence[str]):
    """Two listings, one behind the other, without a copy."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[str]: ...
    def __getitem__(self, number: int | slice) -> str | Sequence[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        border = len(self._first)
        return self._first[number] if number < border else self._second[number - border]

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, self._second)


class Items(Sequence[Item]):
    """Images of one split: names from a listing, classes beside them."""

    def __init__(self, names: Sequence[str], numbers: Numbers, labels: Numbers, *, prefix: str = "") -> None:
        """`numbers` are places in `names`, int64 [n]; `prefix`, which all of these names begin with, is cut off."""
        self.numbers, self.labels = numbers, labels
        self._names, self._prefix = names, prefix

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Of a few pairs."""
        listed = list(items)
        labels = np.array([label for _, label in listed], np.int64)
        return cls([name for name, _ in listed], np.arange(len(listed)), labels)

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Items":
        """Those where `mask`, bool [n], says so."""
        return Items(self._names, self.numbers[mask], self.labels[mask], prefix=self._prefix)

    def name(self, place: int) -> str:
        return self._names[int(self.numbers[place])].removeprefix(self._prefix)

    def by_class(self) -> list[Numbers]:
        """Of each class that has any, the places of its images in order."""
        order = self.labels.argsort(kind="stable")
        borders = [0, *(np.flatnonzero(np.diff(self.labels[order])) + 1).tolist(), len(order)]
        return [order[start:end] for start, end in pairwise(borders)]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self.name(place), int(self.labels[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
