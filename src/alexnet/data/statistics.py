"""The mean image and the covariance of the pixels' colours (paper, sections 2 and 4.1), in one streaming pass.

Pixels are whole numbers, so their sums are kept as whole numbers: the result does not depend on the order of the
images and is rounded once, at the end. 64 bits hold the sums of more than 1e14 pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Over the training images, on the 0-255 scale; S is the side of the images, channels are R, G, B."""

    mean_image: npt.NDArray[np.float32]
    """float32 [S, S, 3]."""
    covariance: npt.NDArray[np.float64]
    """float64 [3, 3], of the RGB values of all pixels (divided by their number)."""
    eigenvalues: npt.NDArray[np.float64]
    """float64 [3], of the covariance, descending."""
    eigenvectors: npt.NDArray[np.float64]
    """float64 [3, 3]; column i is the unit direction of eigenvalue i, its largest component positive."""

    @property
    def channel_means(self) -> npt.NDArray[np.float64]:
        """float64 [3]: the mean of each channel."""
        means: npt.NDArray[np.float64] = self.mean_image.mean(axis=(0, 1), dtype=np.float64)
        return means


class PixelSums:
    """Sums over images of one size that are handed over in pieces."""

    def __init__(self, image_size: int) -> None:
        self.images = 0
        self._sum = np.zeros((image_size, image_size, 3), np.int64)
        self._products = np.zeros((3, 3), np.int64)

    def add(self, images: npt.NDArray[np.uint8]) -> None:
        """Count uint8 [n, S, S, 3]; n up to a few thousand images, as n * S * S * 255^2 must stay below 2^53."""
        pixels = images.reshape(-1, 3).astype(np.float64)
        self.images += len(images)
        self._sum += images.sum(axis=0, dtype=np.int64)
        self._products += (pixels.T @ pixels).astype(np.int64)  # exact: whole numbers below 2^53

    def statistics(self) -> Statistics:
        """The statistics of all images so far; there must be one at least."""
        assert self.images > 0
        covariance = self._covariance()
        eigenvalues, eigenvectors = _directions(covariance)
        return Statistics(
            mean_image=(self._sum / self.images).astype(np.float32),
            covariance=covariance,
            eigenvalues=eigenvalues,
            eigenvectors=eigenvectors,
        )

    def _covariance(self) -> npt.NDArray[np.float64]:
        """(n * sum(x y) - sum(x) * sum(y)) / n^2 in Python's unbounded integers: nothing cancels."""
        n = self.images * self._sum.shape[0] * self._sum.shape[1]
        sums = [int(value) for value in self._sum.sum(axis=(0, 1))]
        rows = [[(n * int(self._products[i, j]) - sums[i] * sums[j]) / n**2 for j in range(3)] for i in range(3)]
        return np.array(rows)


def _directions(covariance: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Eigenvalues, descending, and eigenvectors with a sign that does not depend on the linear algebra library."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[largest, np.arange(3)])
