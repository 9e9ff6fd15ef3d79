"""Numbers by the million, on disk instead of in memory: in files without a name, which go with the process.

The system keeps what is in use in its cache, and writes the rest to disk where memory is short. What the images of a
data set are called, how large they are and where they lie is little for each, but gigabytes for fifteen million.
"""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from alexnet.errors import UserError

IN_MEMORY = 2**20
"""Bytes of an array that stay in memory."""
PART = 2**16
"""Things that are handled at a time, where there may be millions."""

Scalar = TypeVar("Scalar", bound=np.generic)


class Column:
    """Numbers of one kind that are appended, and read when all are there.

    Appending raises `UserError` where the disk has no room.
    """

    def __init__(self, typecode: str) -> None:
        """`typecode` as that of `array.array`."""
        self._new = array(typecode)
        self._file: IO[bytes] | None = None

    def __del__(self) -> None:
        if self._file is not None:  # never read
            self._file.close()

    def append(self, number: int) -> None:
        self._new.append(number)
        if len(self._new) * self._new.itemsize >= IN_MEMORY:
            self._spill()

    def extend(self, data: bytes) -> None:
        """Append numbers as they lie in memory."""
        self._new.frombytes(data)
        if len(self._new) * self._new.itemsize >= IN_MEMORY:
            self._spill()

    def array(self) -> npt.NDArray[Any]:
        """All numbers, in one array [n]; nothing can be appended any more."""
        dtype = np.dtype(self._new.typecode)
        if self._file is None:
            return np.frombuffer(self._new, dtype)
        self._spill()
        with _on_disk(), self._file as file:
            file.flush()
            return np.asarray(np.memmap(file, dtype, "r+"))

    def _spill(self) -> None:
        with _on_disk():
            self._file = self._file or tempfile.TemporaryFile(dir=_folder())  # noqa: SIM115
            self._file.write(self._new)
        del self._new[:]


def filled(pieces: Iterable[npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
    """Arrays [n, ...], one at least, one behind the other; raises as `Column`."""
    column, pieces = Column("B"), iter(pieces)
    first = next(pieces)
    for piece in chain([first], pieces):
        column.extend(piece.tobytes())
    whole: npt.NDArray[Scalar] = column.array().view(first.dtype).reshape(-1, *first.shape[1:])
    return whole


def full(length: int, value: Scalar) -> npt.NDArray[Scalar]:
    """[length] times `value`; raises as `Column`."""
    return filled(np.full(part.stop - part.start, value) for part in parts(length))


def parts(length: int, *, most: int | None = None) -> Iterator[slice]:
    """`length` things, `most` (None: `PART`) at a time; the last part may be smaller. There is one at least."""
    most = most or PART
    return (slice(first, min(first + most, length)) for first in range(0, max(length, 1), most))


def _folder() -> Path:
    """Of temporary files: the user's choice, or one that is on a disk, while /tmp is memory on many systems."""
    chosen = os.environ.get("TMPDIR") or "/var/tmp"
    return Path(chosen if os.access(chosen, os.W_OK) else tempfile.gettempdir())


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{_folder()}: temporary files cannot be written ({error.strerror or error}); "
            "set TMPDIR to a folder on a disk with room"
        ) from None
