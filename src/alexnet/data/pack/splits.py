"""The files of one split of a pack: read through memory maps, as pixels or as JPEG files; and while they are made."""

import hashlib
import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet.data.sources.images import decode_into
from alexnet.data.threads import ParallelMap
from alexnet.errors import UserError

Images = npt.NDArray[np.uint8]
"""uint8 [n, S, S, 3]."""
Indices = npt.NDArray[np.int64]
PIECE = 64
"""Images read back at a time, of a pack that is being made."""


class Block(NamedTuple):
    """Images in memory: number `rows[k]` of `images` is the requested image `places[k]`."""

    images: Images
    """Read-only; the next block may reuse the memory."""
    rows: Indices
    places: Indices


class Split(ABC):
    """The images and labels of one split; may be read from several threads at once."""

    labels: Indices
    """int64 [N]: the class of every image."""
    image_size: int
    """Side of the images, S, in pixels."""

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: Indices, out: Images | None = None) -> Images:
        """Read the images at `indices`, int [n] within [0, N), as uint8 [n, S, S, 3], into `out` if given.

        Raises:
            UserError: an image is damaged.
        """
        if out is None:
            out = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        for images, rows, places in self.blocks(indices):
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                out[place] = images[row]  # `out[places] = images[rows]` would copy them twice
        return out

    @abstractmethod
    def blocks(self, indices: Indices) -> Iterator[Block]:
        """Read the images at `indices`, int [n] within [0, N), without a copy where none is needed.

        Raises:
            UserError: an image is damaged.
        """

    def _checked(self, indices: Indices) -> Indices:
        indices = np.asarray(indices, np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"image indices must lie in [0, {len(self)})")
        return indices


class RawSplit(Split):
    """Pixels, image after image, equally many in every shard but the last."""

    def __init__(self, shards: list[Path], image_size: int, labels: Indices, order: Indices | None = None) -> None:
        """Take the place of every image in the shards, `order`, int64 [N]; None: the order of the labels.

        Raises:
            ValueError: the shards do not hold as many images as there are labels.
        """
        self.labels, self.image_size, self.order = labels, image_size, order
        shape = (-1, image_size, image_size, 3)
        self._shards = [np.asarray(np.memmap(shard, np.uint8, "r")).reshape(shape) for shard in shards]
        self._per_shard = len(self._shards[0])
        held = sum(len(shard) for shard in self._shards)
        if held != len(labels) or any(len(shard) != self._per_shard for shard in self._shards[:-1]):
            raise ValueError(f"there are {len(labels)} labels and shards of {held} images")
        if order is not None and not (len(order) == held and (order.min(), order.max()) == (0, held - 1)):
            raise ValueError("the order of its images does not fit them")

    def blocks(self, indices: Indices) -> Iterator[Block]:
        indices = self._checked(indices)
        shards, rows = np.divmod(indices if self.order is None else self.order[indices], self._per_shard)
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            yield Block(self._shards[shard], rows[places], places)


class ShardBytes:
    """The bytes of all shards of a split, counted through and mapped into memory."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths, self._shards = paths, [np.asarray(np.memmap(path, np.uint8, "r")) for path in paths]
        self._starts = np.cumsum([0, *map(len, self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def find(self, byte_range: Indices) -> tuple[Path, npt.NDArray[np.uint8]]:
        """Return the shard that holds an image, given by its first byte and its length, and its bytes."""
        start, length = byte_range.tolist()
        shard = int(np.searchsorted(self._starts, start, "right")) - 1
        begin = start - int(self._starts[shard])
        return self._paths[shard], self._shards[shard][begin : begin + length]


class JpegSplit(Split):
    """JPEG files, one after another; none lies in two shards."""

    def __init__(self, shards: list[Path], image_size: int, labels: Indices, byte_ranges: Indices) -> None:
        """Take the first byte, counted through all shards, and the length of every image: `byte_ranges`, int64 [N, 2].

        Raises:
            ValueError: there are not as many images as labels, or one lies beyond the shards.
        """
        self.labels, self.image_size, self.byte_ranges = labels, image_size, byte_ranges
        self._bytes = ShardBytes(shards)
        if len(byte_ranges) != len(labels) or byte_ranges.shape[1:] != (2,):
            raise ValueError(f"there are {len(labels)} labels and {len(byte_ranges)} images")
        ends = byte_ranges[:, 0] + byte_ranges[:, 1]  # no more than 64 bits hold, as neither is beyond the end
        if byte_ranges.min() < 0 or max(byte_ranges.max(), ends.max()) > len(self._bytes):
            raise ValueError("an image lies outside the shards")

    def blocks(self, indices: Indices) -> Iterator[Block]:
        image = np.empty((1, self.image_size, self.image_size, 3), np.uint8)
        readonly = image.view()
        readonly.flags.writeable = False  # as the maps of raw images are: compiled code sees one type
        row = np.zeros(1, np.int64)
        for place, index in enumerate(self._checked(indices).tolist()):
            shard, file = self._bytes.find(self.byte_ranges[index])
            try:
                decode_into(file, image[0])
            except ValueError as error:
                what = f"image {index} is damaged ({' '.join(str(error).split())})"
                remedy = f"run `alexnet verify {shlex.quote(str(shard.parent))}` to find other damage"
                raise UserError(f"{shard}: {what}; {remedy}") from None
            yield Block(readonly, row, np.array([place]))

    def files(self, indices: Indices) -> list[npt.NDArray[np.uint8]]:
        """Return the JPEG files of the images at `indices`, int [n] within [0, N)."""
        return [self._bytes.find(self.byte_ranges[index])[1] for index in self._checked(indices)]


class Digests(NamedTuple):
    """The images of a split."""

    slots: Indices
    """[n]: their numbers among all images of the split."""
    labels: Indices
    """Of all images of the split, by number."""
    values: npt.NDArray[np.uint64]
    """[n]: equal for equal pixels."""


class Shards:
    """The files of one split, appended to; a new one begins where an image would not fit into the last."""

    def __init__(self, folder: Path, split: str, suffix: str, labels: Indices, shard_bytes: int) -> None:
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

    def kept(self) -> Indices:
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
        held = ShardBytes(self.paths)
        return lambda slot: held.find(self.byte_ranges[slot])[1].tobytes()

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

    def drop(self, slots: Indices, spare: Path) -> None:
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
