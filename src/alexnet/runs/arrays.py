"""Files of named arrays (`.npz`): written whole, and read array by array, each against the form it must have."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.files import replace_file
from alexnet.received import MIB, Forms, check_unchanged, damage_named, open_regular
from alexnet.runs.decode import require

LARGEST_FILE = 64 * 2**30
LARGEST_UNPACKED = 256 * MIB
"""Of one compressed array; the top-5 predictions of six million images."""


class ArrayFile:
    """An open file of arrays."""

    def __init__(self, archive: zipfile.ZipFile, held: int) -> None:
        """`held` is the size of the file in bytes."""
        self._archive, self._held, self._forms = archive, held, Forms()

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def read(self, name: str, form: str, *, finite: bool = True) -> NDArray[Any]:
        """Read an array of a form such as `int32 [N, 5]`, where N is any size but 0, and the same in every form.

        Raises:
            KeyError: there is no such array.
            ValueError: it has another form, or numbers that are not `finite`.
        """
        entry = self._archive.getinfo(f"{name}.npy")
        stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED and entry.file_size <= LARGEST_UNPACKED
        require(entry.compress_size <= self._held and (stored or deflated), name, "larger than its file allows")
        with self._archive.open(entry) as member:
            size = self._forms.check(name, member, form)
            require(size == entry.file_size, name, f"{entry.file_size:,} bytes instead of {size:,}")
        with self._archive.open(entry) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        require(not finite or array.dtype.kind != "f" or bool(np.isfinite(array).all()), name, "not finite")
        return array


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compress: bool = True) -> None:
    """Write an `.npz` file, complete or not at all."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())


@contextmanager
def open_arrays(path: Path, *, version: int | None = None, sha256: str | None = None) -> Iterator[ArrayFile]:
    """Open an `.npz` file; its `version` and its checksum must be the given ones.

    Raises:
        UserError: the file is missing, damaged (also if that shows inside the `with`) or of another version.
    """
    with damage_named(path), open_regular(path, most=LARGEST_FILE) as stream:
        check_unchanged(stream, sha256)
        held = stream.seek(0, io.SEEK_END)
        with zipfile.ZipFile(stream) as archive:
            file = ArrayFile(archive, held)
            if version is not None:
                found = int(file.read("version", "int32 []"))
                require(found == version, "version", f"{found} is unknown")
            yield file
