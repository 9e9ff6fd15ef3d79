"""The mean image and the covariance of the pixels' colors (paper, sections 2 and 4.1), in one streaming pass.

Pixels are integers, so their sums are too: the result does not depend on the order of the images and is rounded once,
at the end. 64 bits hold the sums of more than 1e14 pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.jit import compiled


@dataclass(frozen=True, kw_only=True)
class PixelStats:
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


class RunningPixelStats:
    """Sums over images of one size that arrive in pieces."""

    def __init__(self, image_size: int) -> None:
        self.images, self._side = 0, image_size
        self._sum = np.zeros((image_size**2, 3), np.int64)
        self._products = np.zeros((3, 3), np.int64)

    def add(self, images: npt.NDArray[np.uint8]) -> None:
        """Add uint8 [n, S, S, 3]. Releases the GIL."""
        self.images += len(images)
        _add_up(images.reshape(len(images), *self._sum.shape), self._sum, self._products)

    def merge(self, other: "RunningPixelStats") -> None:
        """Add the sums of `other`."""
        self.images += other.images
        self._sum += other._sum  # noqa: SLF001  the same class
        self._products += other._products  # noqa: SLF001

    def statistics(self) -> PixelStats:
        """Compute the statistics of all images so far, at least one."""
        assert self.images > 0
        # (n * sum(x y) - sum(x) * sum(y)) / n^2 in Python's unbounded integers: nothing cancels.
        n, sums, products = self.images * self._side**2, self._sum.sum(axis=0).tolist(), self._products.tolist()
        covariance = np.empty((3, 3))
        for i, j in zip(*np.triu_indices(3), strict=True):
            covariance[i, j] = covariance[j, i] = (n * products[i][j] - sums[i] * sums[j]) / n**2
        values, vectors = np.linalg.eigh(covariance)
        vectors = vectors[:, ::-1]
        largest = np.abs(vectors).argmax(axis=0)
        return PixelStats(
            mean_image=(self._sum / self.images).astype(np.float32).reshape(self._side, self._side, 3),
            covariance=covariance,
            eigenvalues=values[::-1].clip(min=0),
            eigenvectors=vectors * np.sign(vectors[largest, np.arange(3)]),  # whatever the linear algebra library
        )


@compiled()
def _add_up(images: npt.NDArray[np.uint8], sums: npt.NDArray[np.int64], products: npt.NDArray[np.int64]) -> None:
    """Add uint8 [n, P, 3] to the sums of every value [P, 3] and to those of products of two channels [3, 3], i <= j."""
    for image in images:
        for pixel in range(len(sums)):
            for i in range(3):
                sums[pixel, i] += image[pixel, i]
                for j in range(i, 3):
                    products[i, j] += np.int64(image[pixel, i]) * image[pixel, j]
