import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.pack.statistics import RunningPixelStats


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.integers(1, 5), min_size=1, max_size=4), size=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_streaming_equals_numpy_on_the_whole_set(pieces: list[int], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (sum(pieces), size, size, 3), np.uint8)
    sums = RunningPixelStats(size)
    for piece in np.split(images, np.cumsum(pieces)[:-1]):
        sums.add(piece)
    statistics = sums.statistics()
    pixels = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_array_equal(statistics.mean_image, images.mean(axis=0, dtype=np.float64).astype(np.float32))
    np.testing.assert_allclose(statistics.covariance, np.cov(pixels.T, bias=True), rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(statistics.channel_means, pixels.mean(axis=0), rtol=1e-6)


def test_directions_rebuild_the_covariance() -> None:
    rng = np.random.default_rng(0)
    mixing = np.array([[40, 30, 20], [10, 40, 30], [5, 10, 40]])
    images = (128 + rng.normal(size=(50, 8, 8, 3)) @ mixing).clip(0, 255).astype(np.uint8)
    sums = RunningPixelStats(8)
    sums.add(images)
    found = sums.statistics()
    assert (np.diff(found.eigenvalues) < 0).all()
    rebuilt = found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T
    np.testing.assert_allclose(rebuilt, found.covariance, rtol=1e-9)
    np.testing.assert_allclose(found.eigenvectors.T @ found.eigenvectors, np.eye(3), atol=1e-12)
    assert (found.eigenvectors.max(axis=0) == np.abs(found.eigenvectors).max(axis=0)).all()


def test_images_of_one_colour_have_no_spread() -> None:
    sums = RunningPixelStats(4)
    sums.add(np.full((3, 4, 4, 3), 255, np.uint8))
    assert (sums.statistics().covariance == 0).all()
    assert (sums.statistics().eigenvalues == 0).all()
