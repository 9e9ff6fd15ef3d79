"""The files of one split of a pack while it is made."""

import hashlib
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet.data.pack.splits import place_in_shards
from alexnet.data.threads import ParallelMap

PIECE = 64
"""Images read back at a time."""


class Digests(NamedTuple):
    """The images of a split."""

    slots: npt.NDArray[np.int64]
    """[n]: their numbers among all images of the split."""
    labels: npt.NDArray[np.int64]
    """Of all images of the split, by number."""
    values: npt.NDArray[np.uint64]
    """[n]: equal for equal pixels."""


class Shards:
    """The files of one split, appended to; a new one begins where an image would not fit into the last."""

    def __init__(self, folder: Path, split: str, suffix: str, labels: npt.NDArray[np.int64], shard_bytes: int) -> None:
        self.split, self.labels = split, labels
        self.byte_ranges = np.full((len(labels), 2), -1, np.int64)
        """First byte and length of the image of each slot; -1 where there is none."""
        self._folder, self._suffix, self._shard_bytes = folder, suffix, shard_bytes
        self._sizes: list[int] = []
        self._file: IO[bytes] | None = None

    def place(self, slot: int, length: int) -> bool:
        """Place the next image behind the others; whether it begins a new shard."""
        begins = not self._sizes or self._sizes[-1] + length > self._shard_bytes
        if begins:
            self._sizes.append(0)
        self.byte_ranges[slot] = sum(self._sizes), length
        self._sizes[-1] += length
        return begins

    def append(self, slot: int, data: bytes) -> None:
        """Write the next image."""
        if self.place(slot, len(data)) or self._file is None:
            self.close()
            self._file = self.paths[-1].open("ab")
        self._file.write(data)

    def cut(self) -> None:
        """Cut off what lies behind the images that have been placed."""
        for file in self._folder.glob(f"{self.split}-*{self._suffix}"):
            if file not in self.paths:
                file.unlink()
        for path, size in zip(self.paths, self._sizes, strict=True):
            if path.stat().st_size < size:
                raise ValueError(f"{path.name} is shorter than its journal says")
            os.truncate(path, size)

    def sync(self) -> None:
        """See that the disk has what was written."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the last shard."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def kept(self) -> npt.NDArray[np.int64]:
        """int64 [n]: the slots that have an image."""
        return np.flatnonzero(self.byte_ranges[:, 0] >= 0)

    def contents_in_order(self) -> list[str]:
        """Compute the checksums that the shards would have if the images had come in the order of their slots."""
        images, digests, size = self.reader(), [hashlib.sha256()], 0
        for slot in self.kept():
            image = images(slot)
            if size + len(image) > self._shard_bytes and size:
                digests.append(hashlib.sha256())
                size = 0
            digests[-1].update(image)
            size += len(image)
        return [digest.hexdigest() for digest in digests]

    def reader(self) -> Callable[[int], bytes]:
        """Map the shards, to which nothing is appended any more; return what finds the image of a slot."""
        held = [np.memmap(path, np.uint8, "r") for path in self.paths]
        starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)

        def image(slot: int) -> bytes:
            start, length = self.byte_ranges[slot].tolist()
            shard, begin = place_in_shards(starts, start)
            return held[shard][begin : begin + length].tobytes()

        return image

    def digests(self, threads: int) -> Digests:
        """Hash every image as it is stored, which is equal for equal pixels."""
        image, slots = self.reader(), self.kept()
        values = np.empty(len(slots), np.uint64)

        def hash_piece(first: int) -> None:
            hashes = (hashlib.blake2b(image(slot), digest_size=8) for slot in slots[first : first + PIECE])
            values[first : first + PIECE] = np.frombuffer(b"".join(one.digest() for one in hashes), np.uint64)

        with closing(ParallelMap(hash_piece, range(0, len(slots), PIECE), threads)) as pieces:
            for _ in pieces:
                pass
        return Digests(slots, self.labels, values)

    def drop(self, slots: npt.NDArray[np.int64], spare: Path) -> None:
        """Write the shards again, by way of the folder `spare`, without the images of some slots."""
        kept, image = Shards(spare, self.split, self._suffix, self.labels, self._shard_bytes), self.reader()
        there = np.setdiff1d(self.kept(), slots)
        for slot in there[np.argsort(self.byte_ranges[there, 0])].tolist():
            kept.append(slot, image(slot))
        kept.close()
        for path in self.paths:
            path.unlink()
        self._sizes, self.byte_ranges = kept._sizes, kept.byte_ranges
        for path, old in zip(self.paths, kept.paths, strict=True):
            old.rename(path)

    @property
    def paths(self) -> list[Path]:
        """The shards begun so far."""
        return [self._folder / f"{self.split}-{number:05d}{self._suffix}" for number in range(len(self._sizes))]
