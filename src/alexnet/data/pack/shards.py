"""The files of one split of a pack while it is made."""

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from alexnet.data.pack.duplicates import Digests
from alexnet.data.pack.splits import place_in_shards
from alexnet.data.threads import ParallelMap

PIECE = 64
"""Images read back at a time."""


class Shards:
    """The files of one split, appended to; a new one begins where an image would not fit into the last."""

    def __init__(self, folder: Path, split: str, suffix: str, labels: npt.NDArray[np.int64], shard_bytes: int) -> None:
        self.split, self.labels = split, labels
        self._byte_ranges = np.full((len(labels), 2), -1, np.int64)
        """First byte and length of the image of each slot; -1 where there is none."""
        self._folder, self._suffix, self._shard_bytes = folder, suffix, shard_bytes
        self._sizes: list[int] = []
        self._file: IO[bytes] | None = None

    def place(self, slot: int, length: int) -> bool:
        """Place the next image behind the others; whether it begins a new shard."""
        begins = not self._sizes or self._sizes[-1] + length > self._shard_bytes
        if begins:
            self._sizes.append(0)
        self._byte_ranges[slot] = sum(self._sizes), length
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

    def kept(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Labels [n] and byte ranges [n, 2] of the slots that have an image."""
        there = self.kept_slots()
        return self.labels[there], self._byte_ranges[there]

    def contents_in_order(self, byte_ranges: npt.NDArray[np.int64]) -> list[str]:
        """Compute the checksums that the shards would have if the images had come in the order of their slots."""
        held = [np.memmap(path, np.uint8, "r") for path in self.paths]
        starts = self._starts
        digests, size = [hashlib.sha256()], 0
        for start, length in zip(*(column.data for column in byte_ranges.T), strict=True):  # no lists of millions
            if size + length > self._shard_bytes and size:
                digests.append(hashlib.sha256())
                size = 0
            shard, begin = place_in_shards(starts, start)
            digests[-1].update(held[shard][begin : begin + length].data)
            size += length
        return [digest.hexdigest() for digest in digests]

    def read(self, slot: int) -> bytes:
        """Read the image of a slot back."""
        start, length = self._byte_ranges[slot].tolist()
        shard, begin = place_in_shards(self._starts, start)
        with self.paths[shard].open("rb") as file:
            file.seek(begin)
            return file.read(length)

    def kept_slots(self) -> npt.NDArray[np.int64]:
        """int64 [n]: the slots that have an image."""
        return np.flatnonzero(self._byte_ranges[:, 0] >= 0)

    def digests(self, threads: int) -> Digests:
        """Hash every image as it is stored, which is equal for equal pixels."""
        held = [np.memmap(path, np.uint8, "r") for path in self.paths]
        starts = self._starts

        def hashed(ranges: npt.NDArray[np.int64]) -> bytes:
            places = ((*place_in_shards(starts, start), length) for start, length in ranges.tolist())
            images = (held[shard][begin : begin + length].data for shard, begin, length in places)
            return b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)

        slots = self.kept_slots()
        values = np.empty(len(slots), np.uint64)
        firsts = range(0, len(slots), PIECE)
        pieces = (self._byte_ranges[slots[first : first + PIECE]] for first in firsts)
        with closing(ParallelMap(hashed, pieces, threads)) as found:
            for first, piece in zip(firsts, found, strict=True):
                values[first : first + PIECE] = np.frombuffer(piece, np.uint64)
        return Digests(slots, self.labels, values)

    def drop(self, slots: npt.NDArray[np.int64], spare: Path) -> None:
        """Write the shards again, by way of the folder `spare`, without the images of some slots."""
        kept = Shards(spare, self.split, self._suffix, self.labels, self._shard_bytes)
        there = np.setdiff1d(self.kept_slots(), slots)
        for slot in there[np.argsort(self._byte_ranges[there, 0])].tolist():
            kept.append(slot, self.read(slot))
        kept.close()
        for path in self.paths:
            path.unlink()
        self._sizes, self._byte_ranges = kept._sizes, kept._byte_ranges
        for path, old in zip(self.paths, kept.paths, strict=True):
            old.rename(path)

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        """int64 [shards + 1]: the bytes in the shards before each, and in all."""
        return np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)

    @property
    def paths(self) -> list[Path]:
        """The shards begun so far."""
        return [self._folder / f"{self.split}-{number:05d}{self._suffix}" for number in range(len(self._sizes))]
