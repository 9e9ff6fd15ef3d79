"""Files of named arrays (`.npz`): written whole, and read array by array, each against the form it must have."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.decode import require

_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What numpy raises for a file that is no archive, truncated, or holds pickled objects."""


class ArrayFile:
    """An open file of arrays."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._sizes: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def read(self, name: str, form: str) -> NDArray[Any]:
        """Read an array of a form such as `int32 [N, 5]`, where N is any size but 0, and the same in every form.

        Raises:
            KeyError: there is no such array.
            FieldError: it has another form.
        """
        array = self._arrays[name]
        dtype, *sizes = re.findall(r"\w+", form)
        fits = array.dtype.kind == "U" if dtype == "str" else array.dtype == dtype
        fits = fits and array.ndim == len(sizes) and array.size > 0
        for size, found in zip(sizes, array.shape, strict=False):
            fits = fits and found == (int(size) if size.isdigit() else self._sizes.setdefault(size, found))
        require(fits, name, f"{array.dtype} {list(array.shape)} instead of {form}")
        return array


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compress: bool = True) -> None:
    """Write an `.npz` file, complete or not at all."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())


@contextmanager
def open_arrays(path: Path, *, version: int | None = None) -> Iterator[ArrayFile]:
    """Open an `.npz` file; its `version` must be the given one.

    Raises:
        UserError: the file is missing, damaged (also if that shows inside the `with`) or of another version.
    """
    try:
        # Opened here because numpy does not close a file that turns out to be no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            file = ArrayFile(arrays)
            if version is not None:
                found = int(file.read("version", "int32 []"))
                require(found == version, "version", f"{found} is unknown")
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged: {error}") from None
