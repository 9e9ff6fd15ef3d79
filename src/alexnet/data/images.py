"""One image file to one square of pixels.

The shorter side is scaled to the size and the centre kept (paper, section 2), with PIL's bilinear filter, which
averages over the whole footprint of a target pixel when it shrinks an image (antialiased). Every kind of file has
one outcome, that of the usual tool chain (`Image.open(file).convert("RGB")`) unless said otherwise:

* the format is told by the contents, so a PNG named .JPEG is read as the PNG that it is;
* greyscale is repeated in the three channels; palettes are looked up; CMYK is converted without a colour profile;
* an alpha channel is dropped; of an animation or a file of several pages the first image is taken;
* the EXIF orientation is ignored, as it is in published ImageNet results;
* 16-bit greyscale keeps its upper 8 bits (PIL alone would clip it to white);
* empty, truncated and undecodable files, files that are no image, images of floating-point pixels and images of
  more than 100 million pixels (decompression bombs) are rejected with a reason.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

Blob = Path | bytes | npt.NDArray[np.uint8]
"""An encoded image in a file or in memory, or its pixels, uint8 [H, W, 3]."""
Square = npt.NDArray[np.uint8]
"""uint8 [S, S, 3]."""

RESIZE = "shorter side to the size, PIL bilinear (antialiased), centre crop"
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no others: some start programs, such as EPS
_MAX_PIXELS = 100_000_000


class RejectedError(ValueError):
    """An image that cannot be used; the message is the reason."""


def convert(blobs: list[Blob], size: int) -> list[Square | str]:
    """Each image as a uint8 [size, size, 3] square, or the reason, one line, why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata, which is not used
        return [_square_or_reason(blob, size) for blob in blobs]


def _square_or_reason(blob: Blob, size: int) -> Square | str:
    try:
        with _open(blob) as image:
            return _square(_rgb(image), size)
    except UnidentifiedImageError:
        return "not an image"
    except MemoryError:
        raise  # says nothing about the image
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        return " ".join(str(error).split()) or type(error).__name__


def _open(blob: Blob) -> Image.Image:
    if isinstance(blob, np.ndarray):
        return Image.fromarray(blob)
    if not (len(blob) if isinstance(blob, bytes) else blob.stat().st_size):
        raise RejectedError("empty file")
    return Image.open(io.BytesIO(blob) if isinstance(blob, bytes) else blob, formats=_FORMATS)


def _rgb(image: Image.Image) -> Image.Image:
    if image.width * image.height > _MAX_PIXELS:
        raise RejectedError(f"{image.width} x {image.height} pixels are more than {_MAX_PIXELS:,}")
    if image.mode == "F":
        raise RejectedError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() >= 2**16:
            raise RejectedError("32-bit pixels have no defined range")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> Square:
    """Scale only the centre square: the same pixels, but a long thin image does not grow to gigabytes."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
