"""The images of one split of a pack, read through memory maps: pixels, or JPEG files that are decoded on access."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet.data.jpeg import decode_into
from alexnet.errors import UserError

Images = npt.NDArray[np.uint8]
"""uint8 [n, S, S, 3]."""
Indices = npt.NDArray[np.int64]


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


class JpegSplit(Split):
    """JPEG files, one after another; none lies in two shards."""

    def __init__(self, shards: list[Path], image_size: int, labels: Indices, byte_ranges: Indices) -> None:
        """Take the first byte, counted through all shards, and the length of every image: `byte_ranges`, int64 [N, 2].

        Raises:
            ValueError: there are not as many images as labels, or one lies beyond the shards.
        """
        self.labels, self.image_size, self.byte_ranges = labels, image_size, byte_ranges
        self._paths = shards
        self._shards = [np.asarray(np.memmap(shard, np.uint8, "r")) for shard in shards]
        self._starts = np.concatenate([[0], np.cumsum([len(shard) for shard in self._shards])])
        if len(byte_ranges) != len(labels) or byte_ranges.shape[1:] != (2,):
            raise ValueError(f"there are {len(labels)} labels and {len(byte_ranges)} images")
        ends = byte_ranges[:, 0] + byte_ranges[:, 1]  # no more than 64 bits hold, as neither is beyond the end
        if byte_ranges.min() < 0 or byte_ranges.max() > self._starts[-1] or ends.max() > self._starts[-1]:
            raise ValueError("an image lies outside the shards")

    def blocks(self, indices: Indices) -> Iterator[Block]:
        image = np.empty((1, self.image_size, self.image_size, 3), np.uint8)
        readonly = image.view()
        readonly.flags.writeable = False  # as the maps of raw images are: compiled code sees one type
        row = np.zeros(1, np.int64)
        for place, index in enumerate(self._checked(indices).tolist()):
            shard, file = self._file(index)
            try:
                decode_into(file, image[0])
            except ValueError as error:
                what = f"image {index} is damaged ({' '.join(str(error).split())})"
                remedy = f"run `alexnet verify {shard.parent}` to find other damage"
                raise UserError(f"{shard}: {what}; {remedy}") from None
            yield Block(readonly, row, np.array([place]))

    def files(self, indices: Indices) -> list[npt.NDArray[np.uint8]]:
        """Return the JPEG files of the images at `indices`, int [n] within [0, N)."""
        return [self._file(index)[1] for index in self._checked(indices).tolist()]

    def _file(self, index: int) -> tuple[Path, npt.NDArray[np.uint8]]:
        """One image's shard and its JPEG file."""
        start, length = self.byte_ranges[index].tolist()
        shard, begin = place_in_shards(self._starts, start)
        return self._paths[shard], self._shards[shard][begin : begin + length]


def place_in_shards(starts: Indices, place: int) -> tuple[int, int]:
    """Find the shard that holds byte `place` of all, and the byte's offset there; `starts`, int64 [n + 1]."""
    shard = int(np.searchsorted(starts, place, "right")) - 1
    return shard, place - int(starts[shard])
