"""JPEG to pixels and back, by libjpeg-turbo (simplejpeg): exact DCT, smooth chroma upsampling, as PIL decodes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg

from alexnet.config.values import SUBSAMPLINGS
from alexnet.errors import UserError

MAX_PIXELS = 100_000_000  # images that claim more are decompression bombs


@dataclass(frozen=True, kw_only=True)
class JpegQuality:
    """How images are compressed in a pack.

    The default was measured on 100 photographs of ImageNet at 256 x 256 (docs/data.md): 20 kB an image at 37.7 dB.
    Quality 95 takes 1.4 times the space and decodes a sixth more slowly, 4:4:4 1.2 times and a fifth.
    """

    quality: int = 90
    """1 to 100, libjpeg's scale."""
    subsampling: str = "420"
    """Chroma subsampling: 444 keeps all colors, 422 every second column, 420 every second column and row."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality={self.quality} must lie between 1 and 100")
        if self.subsampling not in SUBSAMPLINGS:
            raise UserError(f"chroma_subsampling={self.subsampling} is not one of: {', '.join(SUBSAMPLINGS)}")


def encode(pixels: npt.NDArray[np.uint8], quality: JpegQuality) -> bytes:
    """Encode uint8 [H, W, 3] as a JPEG file. Releases the GIL."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality.quality, colorsubsampling=quality.subsampling, fastdct=False
    )
    return data


def decode_into(data: npt.NDArray[np.uint8] | bytes, pixels: npt.NDArray[np.uint8]) -> None:
    """Decode a JPEG file of exactly the shape of `pixels`, uint8 [H, W, 3], into it. Releases the GIL.

    Raises:
        ValueError: the file is damaged or has another size.
    """
    decoded = simplejpeg.decode_jpeg(data, buffer=pixels)
    if decoded.shape != pixels.shape:
        raise ValueError(f"it is {decoded.shape[1]} x {decoded.shape[0]} pixels")


def decode_photograph(data: bytes) -> tuple[npt.NDArray[np.uint8], bool] | None:
    """Decode an ordinary, sound JPEG photograph to uint8 [H, W, 3], and tell whether it is grayscale.

    None leaves unusual and damaged files to another decoder. Releases the GIL.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors not in ("YCbCr", "Gray") or height * width > MAX_PIXELS:
            return None
        return simplejpeg.decode_jpeg(data), colors == "Gray"
    except ValueError:
        return None
