"""What a run leaves behind for the study, third part: `first_layer.npz`, the kernels that look at the pixels."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.config.records import replace_file, require
from alexnet.errors import UserError

FIRST_LAYER_FILE = "first_layer.npz"
FIRST_LAYER_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstLayer:
    """The weights of the first convolution of a trained net."""

    kernels: NDArray[np.float32]
    """[maps, 3, k, k], red, green and blue; the maps of each column stand together, those of the first column first."""
    columns: int
    """In how many columns the net is divided: 1, or 2 as in the paper."""

    def __post_init__(self) -> None:
        shape = self.kernels.shape
        fits = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and self.kernels.size > 0
        require(fits, "kernels", f"{shape} instead of [maps, 3, k, k]")
        require(self.kernels.dtype == np.float32, "kernels", "not float32")
        require(bool(np.isfinite(self.kernels).all()), "kernels", "not finite")
        fits = self.columns >= 1 and shape[0] % self.columns == 0
        require(fits, "columns", f"{self.columns} columns do not divide {shape[0]} maps")

    def by_column(self) -> list[NDArray[np.float32]]:
        """The kernels of each column, [maps / columns, 3, k, k]."""
        return np.split(self.kernels, self.columns)


def write_first_layer(directory: Path, layer: FirstLayer) -> None:
    """Write `first_layer.npz` into `directory`, complete or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, version=np.int32(FIRST_LAYER_VERSION), columns=np.int32(layer.columns), kernels=layer.kernels
    )
    replace_file(directory / FIRST_LAYER_FILE, buffer.getvalue())


def read_first_layer(directory: Path) -> FirstLayer:
    """Read `first_layer.npz`; UserError if the file is missing, damaged or of an unknown version."""
    path = directory / FIRST_LAYER_FILE
    damage = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)
    try:
        # Opened here, since numpy leaves a file open that turns out not to be an archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            version = _number(file["version"])
            require(version == FIRST_LAYER_VERSION, "version", f"{version} is unknown")
            layer = FirstLayer(kernels=file["kernels"], columns=_number(file["columns"]))
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except damage as error:
        raise UserError(f"{path}: damaged: {error}") from None
    return layer


def _number(array: NDArray[Any]) -> int:
    require(array.shape == () and array.dtype.kind == "i", "version, columns", "not whole numbers")
    return int(array)
