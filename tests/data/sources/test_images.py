import gzip
import io
import os
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.sources import images
from alexnet.data.sources.images import Converted, convert, convert_file
from tests.data.samples import encoded, noise


def square(blob: Path | bytes | np.ndarray, size: int = 16) -> np.ndarray:
    (result,) = convert([blob], size)
    assert isinstance(result, Converted), result
    assert result.square.shape == (size, size, 3) and result.square.dtype == np.uint8
    return result.square


def reason(blob: Path | bytes) -> str:
    (result,) = convert([blob], 16)
    assert isinstance(result, str)
    assert "\n" not in result and "\t" not in result
    return result


def resize_then_crop(image: Image.Image, size: int) -> np.ndarray:
    """The paper's words one by one, for sides where nothing falls between two pixels."""
    scale = size / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    whole = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(whole.crop((left, top, left + size, top + size)))


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from([8, 16, 24]),
    factor=st.integers(1, 4),
    extra=st.integers(0, 5),
    tall=st.booleans(),
    seed=st.integers(0, 99),
)
def test_shorter_side_then_centre_crop(size: int, factor: int, extra: int, tall: bool, seed: int) -> None:
    short, long = size * factor, (size + 2 * extra) * factor
    image = noise(seed, *((short, long) if tall else (long, short)))
    difference = square(encoded(image, "PNG"), size).astype(int) - resize_then_crop(image, size)
    assert np.abs(difference).max() <= 1  # PIL rounds its weights to whole numbers


def test_an_image_of_the_size_keeps_its_pixels() -> None:
    pixels = np.asarray(noise(1, 16, 16))
    np.testing.assert_array_equal(square(encoded(noise(1, 16, 16), "PNG")), pixels)
    np.testing.assert_array_equal(square(pixels), pixels)


@pytest.mark.parametrize(("width", "height", "notes"), [(16, 4, ()), (3, 3, ("tiny",)), (17, 4, ("extreme ratio",))])
def test_tiny_and_extreme_images_are_noted(width: int, height: int, notes: tuple[str, ...]) -> None:
    (found,) = convert([encoded(noise(1, width, height), "PNG")], 16)
    assert isinstance(found, Converted) and found.notes == notes


def test_shrinking_averages() -> None:
    """A chessboard of single pixels becomes grey; without antialiasing it would stay black and white."""
    board = np.indices((128, 128)).sum(axis=0) % 2 * 255
    found = square(encoded(Image.fromarray(board.astype(np.uint8)), "PNG"))
    assert np.abs(found.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_modes_become_rgb_as_pil_converts_them(mode: str) -> None:
    image = noise(2, 16, 16).convert("L").convert(mode) if mode == "LA" else noise(2, 16, 16).convert(mode)
    found = square(encoded(image, "TIFF" if mode == "CMYK" else "PNG"))
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_grey_is_repeated() -> None:
    grey = noise(3, 16, 16).convert("L")
    found = square(encoded(grey, "PNG"))
    assert (found == np.asarray(grey)[..., None]).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_keep_the_upper_8(form: str) -> None:
    values = np.random.default_rng(4).integers(0, 2**16, (16, 16), np.uint16)
    found = square(encoded(Image.fromarray(values), form))
    np.testing.assert_array_equal(found, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_the_name_does_not_tell_the_format(tmp_path: Path) -> None:
    (tmp_path / "n1.JPEG").write_bytes(encoded(noise(5, 16, 16), "PNG"))
    np.testing.assert_array_equal(square(tmp_path / "n1.JPEG"), np.asarray(noise(5, 16, 16)))


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned, plain = (encoded(noise(6), "JPEG", **options) for options in ({"exif": exif}, {}))
    np.testing.assert_array_equal(square(turned), square(plain))


def test_a_file_compressed_once_more_is_read() -> None:
    """ILSVRC-2010 has such files."""
    plain = encoded(noise(6, 16, 16), "JPEG")
    found = convert_file(gzip.compress(plain), 16, "n1.JPEG")
    assert isinstance(found, Converted) and found.notes == ("gzip-compressed",)
    np.testing.assert_array_equal(found.square, square(plain))
    assert reason(gzip.compress(plain)[:-9]) == "gzip-compressed and truncated"
    assert reason(gzip.compress(b"words")) == "not an image"
    with patch.object(images, "MAX_BYTES", 1000):
        assert "more than 1,000 bytes" in reason(gzip.compress(bytes(2000)))


def deep_colors() -> bytes:
    """A PNG of 9 x 9 black pixels of three times 16 bits, which PIL reads but does not write."""
    header = b"IHDR" + (9).to_bytes(4) + (9).to_bytes(4) + bytes((16, 2, 0, 0, 0))
    data = encoded(Image.new("RGB", (18, 9)), "PNG")
    return data[:12] + header + zlib.crc32(header).to_bytes(4) + data[33:]


TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""One entry: orientation (0x0112), a 16-bit number, 6."""
ODDITIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "plain": (encoded(noise(1), "JPEG"), ()),
    "greyscale JPEG": (encoded(noise(1).convert("L"), "JPEG"), ("greyscale",)),
    "CMYK JPEG": (encoded(noise(1).convert("CMYK"), "JPEG"), ("CMYK",)),
    "PNG": (encoded(noise(1), "PNG"), ("PNG",)),
    "BMP": (encoded(noise(1), "BMP"), ("BMP",)),
    "alpha": (encoded(noise(1).convert("RGBA"), "PNG"), ("PNG", "alpha dropped")),
    "palette": (encoded(noise(1).quantize(), "PNG"), ("PNG", "palette")),
    "16-bit": (encoded(Image.fromarray(np.full((9, 9), 900, np.uint16)), "PNG"), ("PNG", "16-bit")),
    "16-bit colors": (deep_colors(), ("PNG", "16-bit")),
    "turned": (encoded(noise(1), "JPEG", exif=TURNED), ("EXIF orientation ignored",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODDITIES)
def test_what_is_out_of_the_ordinary_is_told(kind: str) -> None:
    data, told = ODDITIES[kind]
    found = convert_file(data, 16, "n01440764_1.JPEG")
    assert isinstance(found, Converted) and found.notes == told


def test_photographs_decode_to_pil_s_pixels() -> None:
    """The quick way for ordinary JPEGs against the slow one, in the forms that ImageNet has."""
    for number, options in enumerate(
        ({}, {"subsampling": 0}, {"progressive": True}, {"quality": 40}, {"optimize": True})
    ):
        for image in (noise(number, 37, 29), noise(number, 37, 29).convert("L")):
            data = encoded(image, "JPEG", **options)
            with Image.open(io.BytesIO(data)) as opened:
                np.testing.assert_array_equal(square(data, 8), square(np.asarray(opened.convert("RGB")), 8))


def test_the_first_picture_of_several_counts() -> None:
    first, second = noise(7, 16, 16).quantize(), noise(8, 16, 16).quantize()
    found = square(encoded(first, "GIF", save_all=True, append_images=[second]))
    np.testing.assert_array_equal(found, np.asarray(first.convert("RGB")))


def test_a_long_thin_image_is_no_burden() -> None:
    assert (square(encoded(Image.new("RGB", (60000, 1), (9, 8, 7)), "PNG"), 256) == (9, 8, 7)).all()


def test_what_cannot_be_used_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == reason(b"") == "empty file"
    assert reason(b"these are words") == "not an image"
    cut = encoded(noise(9), "JPEG"), encoded(noise(9), "TIFF", compression="tiff_lzw")
    assert all("truncated" in reason(image[:-200]) for image in cut)

    assert "floating-point" in reason(encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"))
    assert "from -1 to -1" in reason(encoded(Image.fromarray(np.full((9, 9), -1, np.float32)), "TIFF"))
    assert "32-bit" in reason(encoded(Image.fromarray(np.full((9, 9), 2**20, np.int32)), "TIFF"))
    assert "No such file" in reason(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    assert all("not a file, or one of more than" in reason(tmp_path / name) for name in ("pipe.jpg", "sparse.jpg"))


@pytest.mark.parametrize("end", [b"\xff\xd9", bytes(400)])
def test_a_damaged_jpeg_that_is_read_is_noted(end: bytes) -> None:
    found = convert_file(encoded(noise(6, 64, 64), "JPEG")[:-400] + end, 16)
    assert isinstance(found, Converted) and found.notes == ("damaged JPEG",)


@pytest.mark.parametrize("side", [10_001, 60_000])
def test_a_decompression_bomb_is_rejected_unread(side: int) -> None:
    forged = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    forged[16:24] = side.to_bytes(4, "big") * 2
    forged[29:33] = zlib.crc32(forged[12:29]).to_bytes(4, "big")
    assert "pixels" in reason(bytes(forged))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), form=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]))
def test_no_damage_gets_through_as_an_error(data: st.DataObject, form: str) -> None:
    whole = encoded(noise(10), form)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=5)):
        if damaged:
            damaged[place] ^= data.draw(st.integers(1, 255))
    (result,) = convert([bytes(damaged)], 16)
    assert result if isinstance(result, str) else result.square.shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_a_damaged_exif_block_leaves_the_image_as_it_is(form: str) -> None:
    plain, damaged = (convert_file(encoded(noise(0), form, **exif), 16) for exif in ({}, {"exif": b"Exif\0\0garbage"}))
    assert isinstance(plain, Converted) and isinstance(damaged, Converted)
    np.testing.assert_array_equal(plain.square, damaged.square)
    assert damaged.notes == ()
