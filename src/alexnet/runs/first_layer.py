"""`first_layer.npz`: the kernels of the first convolution, for Figure 3."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.decode import require
from alexnet.runs.directory import FIRST_LAYER_FILE, open_arrays, whole_number, write_arrays

FIRST_LAYER_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstLayer:
    """The weights of the first convolution of a trained net."""

    kernels: NDArray[np.float32]
    """[channels, 3, k, k], RGB; the channels of the first column come first."""
    columns: int
    """Columns of the net: 1, or 2 as in the paper."""

    def __post_init__(self) -> None:
        shape = self.kernels.shape
        fits = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and self.kernels.size > 0
        require(fits, "kernels", f"{shape} instead of [channels, 3, k, k]")
        require(self.kernels.dtype == np.float32, "kernels", "not float32")
        require(bool(np.isfinite(self.kernels).all()), "kernels", "not finite")
        fits = self.columns >= 1 and shape[0] % self.columns == 0
        require(fits, "columns", f"{self.columns} columns do not divide {shape[0]} channels")

    def by_column(self) -> list[NDArray[np.float32]]:
        """The kernels of each column, [channels / columns, 3, k, k]."""
        return np.split(self.kernels, self.columns)


def write_first_layer(directory: Path, layer: FirstLayer) -> None:
    """Write `first_layer.npz` into `directory`, complete or not at all."""
    arrays = {"version": np.int32(FIRST_LAYER_VERSION), "columns": np.int32(layer.columns), "kernels": layer.kernels}
    write_arrays(directory / FIRST_LAYER_FILE, {name: np.asarray(array) for name, array in arrays.items()})


def read_first_layer(directory: Path) -> FirstLayer:
    """Read `first_layer.npz`; UserError if the file is missing, damaged or of an unknown version."""
    with open_arrays(directory / FIRST_LAYER_FILE, version=FIRST_LAYER_VERSION) as file:
        return FirstLayer(kernels=file["kernels"], columns=whole_number(file["columns"], "columns"))
