"""Augmentation on the device against one image at a time in numpy, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.augment import Augmenter, CropGeometry, RawBatch
from alexnet.data.pack.statistics import PixelStats

ON = CropsConfig(random=True, flip=True, include_last_offset=False)
OFF = CropsConfig(random=False, flip=False, include_last_offset=False)
STD = ColorConfig(std=0.1, magnitude="std")
EIGENVALUE = ColorConfig(std=0.1, magnitude="eigenvalue")
NO_COLOR = ColorConfig(std=0.0, magnitude="std")


def statistics(size: int, seed: int = 0) -> PixelStats:
    """Made-up statistics with three clearly different principal directions."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(0, 1, (3, 3)) * np.array([60.0, 25.0, 9.0])
    covariance = factor @ factor.T
    values, vectors = np.linalg.eigh(covariance)
    return PixelStats(
        mean_image=rng.uniform(90, 150, (size, size, 3)).astype(np.float32),
        covariance=covariance,
        eigenvalues=values[::-1].copy(),
        eigenvectors=vectors[:, ::-1].copy(),
    )


def batch(n: int, size: int, crop: int, seed: int) -> RawBatch:
    rng = np.random.default_rng(seed)
    return RawBatch(
        images=torch.from_numpy(rng.integers(0, 256, (n, size, size, 3), np.uint8)),
        labels=torch.from_numpy(rng.integers(0, 5, n)),
        crop_offsets=torch.from_numpy(rng.integers(0, size - crop + 1, (n, 2))),
        flips=torch.from_numpy(rng.random(n) < 0.5),
        colors=torch.from_numpy(rng.normal(0, 1, (n, 3)).astype(np.float32)),
    )


def expected(
    batch: RawBatch, stats: PixelStats, crop: int, crops: CropsConfig, color: ColorConfig
) -> NDArray[np.float64]:
    """Sections 2 and 4.1, image by image: mean image away, crop, mirror, colours added."""
    size = batch.images.shape[1]
    outputs = []
    for image, offset, flip, draws in zip(batch.images, batch.crop_offsets, batch.flips, batch.colors, strict=True):
        pixels = image.numpy().astype(np.float64) - stats.mean_image.astype(np.float64)
        row, column = offset.tolist() if crops.random else [(size - crop) // 2] * 2
        pixels = pixels[row : row + crop, column : column + crop]
        if flip and crops.flip:
            pixels = pixels[:, ::-1]
        for i, draw in enumerate(draws.tolist()):
            scale = stats.eigenvalues[i] ** (0.5 if color.magnitude == "std" else 1.0)
            pixels = pixels + draw * color.std * scale * stats.eigenvectors[:, i]
        outputs.append(pixels.transpose(2, 0, 1))
    return np.stack(outputs)


@settings(max_examples=40, deadline=None)
@given(
    crop=st.integers(1, 9),
    margin=st.integers(0, 4),
    n=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    random=st.booleans(),
    flip=st.booleans(),
    color=st.sampled_from([STD, EIGENVALUE, NO_COLOR]),
)
def test_a_batch_is_its_images_one_by_one(
    crop: int, margin: int, n: int, seed: int, random: bool, flip: bool, color: ColorConfig
) -> None:
    size, crops = crop + margin, CropsConfig(random=random, flip=flip, include_last_offset=False)
    stats, images = statistics(size, seed), batch(n, size, crop, seed)
    augmenter = Augmenter(stats, CropGeometry(image_size=size, crop_size=crop), crops=crops, color=color)
    output = augmenter(images)
    assert output.dtype == torch.float32 and output.shape == (n, 3, crop, crop)
    # float32 of sums up to 255, and up to thousands where the eigenvalue is taken literally
    np.testing.assert_allclose(output.numpy(), expected(images, stats, crop, crops, color), rtol=1e-5, atol=1e-3)


def test_everything_off_is_the_centre_crop_and_never_mirrored() -> None:
    stats, images = statistics(12), batch(20, 12, 8, 1)
    augmenter = Augmenter(stats, CropGeometry(image_size=12, crop_size=8), crops=OFF, color=NO_COLOR)
    pixels = images.images.numpy().astype(np.float32) - stats.mean_image
    centre = pixels[:, 2:10, 2:10].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(augmenter(images).numpy(), centre)


def colours_added(color: ColorConfig, draws: int) -> tuple[NDArray[np.float64], PixelStats]:
    """The colour that each of many images gets, from draws of its own: float64 [draws, 3]."""
    stats = statistics(4)
    rng = np.random.default_rng(5)
    images = batch(1, 4, 4, 0)._replace(
        images=torch.zeros(draws, 4, 4, 3, dtype=torch.uint8),
        crop_offsets=torch.zeros(draws, 2, dtype=torch.int64),
        flips=torch.zeros(draws, dtype=torch.bool),
        colors=torch.from_numpy(rng.standard_normal((draws, 3), dtype=np.float32)),
    )
    geometry = CropGeometry(image_size=4, crop_size=4)
    with_noise = Augmenter(stats, geometry, crops=OFF, color=color)(images)
    without = Augmenter(stats, geometry, crops=OFF, color=NO_COLOR)(images)
    added = (with_noise - without).numpy().astype(np.float64)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :, :1, :1], added.shape), atol=1e-2)  # one per image
    return added[:, :, 0, 0], stats


@pytest.mark.parametrize("color", [STD, EIGENVALUE], ids=lambda color: color.magnitude)
def test_the_covariance_of_the_colour_noise(color: ColorConfig) -> None:
    draws = 40_000
    added, stats = colours_added(color, draws)
    variances = stats.eigenvalues if color.magnitude == "std" else stats.eigenvalues**2
    target = 0.1**2 * stats.eigenvectors @ np.diag(variances) @ stats.eigenvectors.T
    # In the noise's own axes it is white: five standard deviations of each moment.
    whiten = stats.eigenvectors / (0.1 * np.sqrt(variances))
    white = added @ whiten
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(draws)
    assert np.abs(white.T @ white / draws - np.eye(3)).max() < 5 * np.sqrt(2 / draws)
    np.testing.assert_allclose(added.T @ added / draws, target, atol=5 * np.sqrt(2 / draws) * np.trace(target))
    if color.magnitude == "std":  # the physically sensible reading: a hundredth of the pixels' own covariance
        np.testing.assert_allclose(target, 0.01 * stats.covariance, rtol=1e-9, atol=1e-9)


def test_the_source_subtracts_the_centre_of_the_mean_image_and_divides_noisy_images() -> None:
    """convdata_jpeg.py: crop, mirror, subtract the mean's centre as it stands, add the noise, divide by 1.1."""
    crops = CropsConfig(random=True, flip=True, include_last_offset=True, center_mean=True)
    color = ColorConfig(std=0.1, magnitude="std", rescale=True)
    stats, images = statistics(12), batch(20, 12, 8, 1)
    augmenter = Augmenter(stats, CropGeometry(image_size=12, crop_size=8), crops=crops, color=color)
    noisy = augmenter(images).numpy()
    augmenter.color_on = False
    plain = augmenter(images).numpy()
    for index in range(20):
        row, column = images.crop_offsets[index].tolist()
        pixels = images.images[index].numpy().astype(np.float64)[row : row + 8, column : column + 8]
        pixels = (pixels[:, ::-1] if images.flips[index] else pixels) - stats.mean_image[2:10, 2:10]
        noise = stats.eigenvectors @ (images.colors[index].numpy() * 0.1 * np.sqrt(stats.eigenvalues))
        np.testing.assert_allclose(plain[index], pixels.transpose(2, 0, 1), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(noisy[index], ((pixels + noise) / 1.1).transpose(2, 0, 1), rtol=1e-5, atol=1e-4)
    views = augmenter.crop_at(images.images, 2, 2, flipped=False).numpy()
    expected_views = images.images.numpy()[:, 2:10, 2:10] - stats.mean_image[2:10, 2:10]
    np.testing.assert_allclose(views, expected_views.transpose(0, 3, 1, 2), atol=1e-4)  # neither noise nor division


@pytest.mark.parametrize("center_mean", [False, True])
@pytest.mark.parametrize("flipped", [False, True])
def test_crop_at_equals_a_batch_with_that_offset_and_flip_for_all(center_mean: bool, flipped: bool) -> None:
    """Bit for bit and in its layout, also where the mean image is that of the center and is not flipped."""
    crops = CropsConfig(random=True, flip=True, include_last_offset=True, center_mean=center_mean)
    augmenter = Augmenter(statistics(9), CropGeometry(image_size=9, crop_size=6), crops=crops, color=STD)
    augmenter.color_on = False
    images = batch(4, 9, 6, 0)._replace(flips=torch.full((4,), flipped))
    for row, column in ((0, 0), (3, 1)):
        expected = augmenter(images._replace(crop_offsets=torch.tensor([[row, column]]).expand(4, 2)))
        found = augmenter.crop_at(images.images, row, column, flipped)
        assert torch.equal(found, expected) and found.stride() == expected.stride()


def test_colors_are_not_rounded_to_bfloat16_in_its_autocast() -> None:
    augmenter = Augmenter(statistics(9), CropGeometry(image_size=9, crop_size=6), crops=ON, color=STD)
    images = batch(4, 9, 6, 0)
    expected = augmenter(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augmenter(images), expected)


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.slow  # the compiler takes half a minute
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_compiled_into_one_kernel_it_computes_the_same(device: str) -> None:
    """On a GPU that is how it runs; the compiler's other product, C++, can be tried anywhere."""
    geometry = CropGeometry(image_size=20, crop_size=16)
    eager, compiled = (Augmenter(statistics(20), geometry, crops=ON, color=STD).to(device) for _ in range(2))
    compiled.compile()
    for n, color_on in ((8, True), (5, True), (8, False)):
        images = RawBatch(*(tensor.to(device) for tensor in batch(n, 20, 16, n)))
        eager.color_on = compiled.color_on = color_on
        torch.testing.assert_close(compiled(images), eager(images), rtol=1e-6, atol=1e-4)
        assert compiled(images).stride() == eager(images).stride()


def test_positions_are_the_paper_s_32_of_33() -> None:
    paper = CropGeometry(image_size=256, crop_size=224)
    assert (paper.margin, paper.center) == (32, 16)
    assert paper.positions(ON) == 32
    assert paper.positions(CropsConfig(random=True, flip=True, include_last_offset=True)) == 33
    whole = CropGeometry(image_size=32, crop_size=32)
    assert whole.positions(ON) == whole.positions(CropsConfig(random=True, flip=True, include_last_offset=True)) == 1


def test_the_statistics_travel_with_the_checkpoint() -> None:
    geometry = CropGeometry(image_size=6, crop_size=4)
    trained = Augmenter(statistics(6, 1), geometry, crops=ON, color=STD)
    loaded = Augmenter(statistics(6, 2), geometry, crops=ON, color=STD)
    images = batch(3, 6, 4, 0)
    assert not torch.equal(loaded(images), trained(images))
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(loaded(images), trained(images))
    assert list(trained.parameters()) == []
