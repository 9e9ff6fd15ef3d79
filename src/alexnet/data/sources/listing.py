"""Names of files and images by the million, next to nothing of which is in memory.

As Python's strings, tuples and dictionaries, those of one image would take some 400 bytes.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, pairwise
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from alexnet.data.sources.scratch import Column, filled, parts

Numbers = npt.NDArray[np.int64]
"""int64 [n]: places in a listing."""
Item = tuple[str, int]
"""Name of an image in its source and its class."""


class Names(Protocol):
    """'/'-separated names, by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> str: ...
    def __iter__(self) -> Iterator[str]: ...


class Listing:
    """Names of files and their sizes; read when all have been added."""

    def __init__(self) -> None:
        self._letters, self._ends, self._sizes = Column("B"), Column("q"), Column("q")
        self._length = 0

    def add(self, name: str, size: int) -> None:
        letters = name.encode(errors="surrogateescape")
        self._length += len(letters)
        self._letters.extend(letters)
        self._ends.append(self._length)
        self._sizes.append(size)

    @cached_property
    def sizes(self) -> memoryview:
        """Bytes, by number."""
        return self._sizes.array().data

    @cached_property
    def _read(self) -> tuple[memoryview, memoryview]:
        """The letters of all names, and where each name ends."""
        return self._letters.array().data, self._ends.array().data

    def __len__(self) -> int:
        return len(self._read[1])

    def __getitem__(self, number: int) -> str:
        letters, ends = self._read
        return _decoded(letters[ends[number - 1] if number else 0 : ends[number]])

    def __iter__(self) -> Iterator[str]:
        letters, ends = self._read
        return (_decoded(letters[start:end]) for start, end in pairwise(chain((0,), ends)))

    def superseded(self) -> list[int]:
        """The numbers of those names that come again later, ascending."""
        column = Column("q")
        for name in self:
            column.append(hash(name))
        hashes = column.array()
        hashes.sort()
        twice: set[int] = set()
        for part in parts(len(hashes)):
            here = hashes[part.start : part.stop + 1]
            twice.update(here[1:][here[1:] == here[:-1]].tolist())
        last: dict[str, int] = {}
        earlier = []
        alike = ((name, number) for number, name in enumerate(self) if hash(name) in twice) if twice else ()
        for name, number in alike:
            if name in last:
                earlier.append(last[name])
            last[name] = number
        return sorted(earlier)


def _decoded(letters: memoryview) -> str:
    return str(letters, "utf-8", "surrogateescape")


class Chained:
    """Two listings, one behind the other, without a copy."""

    def __init__(self, first: Names, second: Names) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, number: int) -> str:
        border = len(self._first)
        return self._first[number] if number < border else self._second[number - border]

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, self._second)


class Items:
    """Images of one split, sorted by class: names from a listing, classes beside them."""

    def __init__(self, names: Names, numbers: Numbers, labels: Numbers, *, prefix: str = "") -> None:
        """`numbers` are places in `names`, int64 [n]; `prefix`, which all of these names begin with, is cut off."""
        self.numbers, self.labels = numbers, labels
        self._names, self._prefix = names, prefix

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Of a few pairs."""
        listed = list(items)
        labels = np.array([label for _, label in listed], np.int64)
        return cls([name for name, _ in listed], np.arange(len(listed)), labels)

    def divided(self, mask: npt.NDArray[np.bool_]) -> tuple["Items", "Items"]:
        """Those where `mask`, bool [n], says no, and those where it says yes."""
        return self._chosen(mask, False), self._chosen(mask, True)

    def _chosen(self, mask: npt.NDArray[np.bool_], wanted: bool) -> "Items":
        numbers, labels = (
            filled(values[part][mask[part] == wanted] for part in parts(len(self)))
            for values in (self.numbers, self.labels)
        )
        return Items(self._names, numbers, labels, prefix=self._prefix)

    def name(self, place: int) -> str:
        return self._names[int(self.numbers[place])].removeprefix(self._prefix)

    def by_class(self) -> list[range]:
        """Of each class that has any, the places of its images in order."""
        classes = np.arange(self.labels[-1] + 1 if len(self) else 0)
        borders = [*self.labels.searchsorted(classes).tolist(), len(self)]
        return [range(start, end) for start, end in pairwise(borders) if end > start]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Item:
        return self.name(place), int(self.labels[place])

    def __iter__(self) -> Iterator[Item]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
