"""`first_layer.npz`: the kernels of the first convolution, for Figure 3."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.arrays import open_arrays, write_arrays
from alexnet.runs.decode import require
from alexnet.runs.directory import FIRST_LAYER_FILE

VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstLayer:
    """The weights of the first convolution of a trained net."""

    kernels: NDArray[np.float32]
    """[channels, 3, k, k], RGB; the channels of the first column come first."""
    columns: int
    """Columns of the net: 1, or 2 as in the paper."""

    def by_column(self) -> list[NDArray[np.float32]]:
        """The kernels of each column, [channels / columns, 3, k, k]."""
        return np.split(self.kernels, self.columns)


def write_first_layer(directory: Path, layer: FirstLayer) -> None:
    """Write `first_layer.npz` into `directory`, complete or not at all."""
    numbers = {"version": np.array(VERSION, np.int32), "columns": np.array(layer.columns, np.int32)}
    write_arrays(directory / FIRST_LAYER_FILE, {**numbers, "kernels": layer.kernels})


def read_first_layer(directory: Path, *, sha256: str | None = None) -> FirstLayer:
    """Read `first_layer.npz`; UserError if the file is missing, damaged or of an unknown version."""
    with open_arrays(directory / FIRST_LAYER_FILE, version=VERSION, sha256=sha256) as file:
        kernels, columns = file.read("kernels", "float32 [channels, 3, k, k]"), int(file.read("columns", "int32 []"))
        fits = columns >= 1 and len(kernels) % columns == 0
        require(fits, "columns", f"{columns} columns do not divide {len(kernels)} channels")
        return FirstLayer(kernels=kernels, columns=columns)
