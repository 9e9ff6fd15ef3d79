"""The first layer's kernels: their color selectivity, whether the two columns differ in it (section 6.1), a picture."""

from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb

import numpy as np
from numpy.typing import NDArray

from alexnet.runs.arrays import FirstLayer

EXACT_SPLITS = 20_000
"""Up to this many ways to split the kernels into two columns, all are counted; beyond, this many are drawn."""


@dataclass(frozen=True, kw_only=True)
class ColumnContrast:
    """The two columns against each other."""

    difference: float
    """Mean color selectivity of the second column minus that of the first."""
    p: float
    """Two-sided permutation test: how often a random split of the kernels differs by at least as much."""


def color_selectivity(kernels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the share of each kernel's energy off the gray axis, [K] from 0 to 1, for kernels [K, 3, k, k].

    With w the three weights (red, green, blue) of a pixel, the part along (1, 1, 1) / sqrt 3 has the energy
    (w_r + w_g + w_b)^2 / 3; selectivity = 1 - sum of it over the pixels / sum of w_r^2 + w_g^2 + w_b^2 over the pixels.
    0 is a kernel that sees brightness alone, 1 one that sees color alone; independent random weights give 2/3 on
    average. Nothing is subtracted from the kernels first. A kernel of zeros sees nothing: nan.
    """
    weights = kernels.astype(np.float64)
    energy = (weights**2).sum(axis=(1, 2, 3))
    gray = (weights.sum(axis=1) ** 2).sum(axis=(1, 2)) / 3
    with np.errstate(invalid="ignore"):
        return np.asarray(np.clip(1 - gray / np.where(energy > 0, energy, np.nan), 0, 1))


def mean_selectivity(kernels: NDArray[np.float32]) -> float | None:
    """Return the mean over the kernels that see anything; None if there are none."""
    values = color_selectivity(kernels)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def contrast(first: NDArray[np.float64], second: NDArray[np.float64]) -> ColumnContrast | None:
    """Compare the selectivities [n] and [m] of two columns; kernels that are nan are left out. None if none is left."""
    first, second = (values[~np.isnan(values)] for values in (first, second))
    if not (len(first) and len(second)):
        return None
    pooled, size = np.concatenate([first, second]), len(first)
    difference = float(second.mean() - first.mean())
    exact = comb(len(pooled), size) <= EXACT_SPLITS
    if exact:
        splits = pooled[np.array(list(combinations(range(len(pooled)), size)))]
    else:
        rng = np.random.default_rng(2012)  # fixed, so that a report made twice says the same
        splits = rng.permuted(np.broadcast_to(pooled, (EXACT_SPLITS, len(pooled))), axis=1)[:, :size]
    sums = splits.sum(axis=1)
    differences = np.abs((pooled.sum() - sums) / len(second) - sums / size)
    reached = int((differences >= abs(difference) - 1e-12).sum())
    # Among draws the observed split counts as one more (Davison and Hinkley 1997, section 4.3): p is never 0.
    p = reached / len(sums) if exact else (reached + 1) / (len(sums) + 1)
    return ColumnContrast(difference=difference, p=p)


def column_contrast(layer: FirstLayer) -> ColumnContrast | None:
    """Compare the two columns of a net; None if it is not divided in two, or a column is all zeros."""
    selectivities = [color_selectivity(column) for column in layer.by_column()]
    return contrast(*selectivities) if len(selectivities) == 2 else None


def kernel_sheet(kernels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Arrange kernels [K, 3, k, k] in one image [height, width, 4]: red, green, blue, opacity.

    Each kernel has its own scale, 0 as middle gray and its largest weight at the end of the range.
    """
    count = len(kernels)
    across = next((number for number in range(12, 5, -1) if count % number == 0), 8)
    peaks = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = 0.5 + 0.5 * kernels / np.where(peaks > 0, peaks, 1)
    return tiles(np.round(255 * scaled).astype(np.uint8).transpose(0, 2, 3, 1), across)


def tiles(squares: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """Arrange squares [n, k, k, 3] in rows of `across`: an image [height, width, 4] with gaps of one clear pixel."""
    count, side, _, _ = squares.shape
    across = min(count, across)
    down, step = ceil(count / across), side + 1
    picture = np.zeros((down * across, step, step, 4), dtype=np.uint8)
    picture[:count, :side, :side, :3] = squares
    picture[:count, :side, :side, 3] = 255
    rows = picture.reshape(down, across, step, step, 4).swapaxes(1, 2)
    return rows.reshape(down * step, across * step, 4)[:-1, :-1]
