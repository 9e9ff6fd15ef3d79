"""The filter against Pillow's own, its two passes asked for one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.sources.images import center_square


def pillow(pixels: np.ndarray, size: int) -> np.ndarray:
    """Rows first, in any version of Pillow: one call shrinks the width alone, the next one the height."""
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    narrow = image.resize((size, image.height), Image.Resampling.BILINEAR, box=(left, 0, left + side, image.height))
    return np.asarray(narrow.resize((size, size), Image.Resampling.BILINEAR, box=(0, top, size, top + side)))


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 40),
    seed=st.integers(0, 99),
    flat=st.booleans(),
)
def test_pixel_for_pixel(height: int, width: int, size: int, seed: int, flat: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if flat:
        pixels[:] = pixels[0, 0]
    np.testing.assert_array_equal(center_square(pixels, size), pillow(pixels, size))


def test_photograph_sizes() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((375, 500), (500, 333), (256, 341), (1200, 1600), (68, 90)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        np.testing.assert_array_equal(center_square(pixels, 256), pillow(pixels, 256))
