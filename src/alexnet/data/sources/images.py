"""One image: from a file to a square of pixels, and to JPEG and back.

The shorter side is scaled to the size and the center kept (paper, section 2), antialiased. Every kind of
file is read as `Image.open(file).convert("RGB")` reads it, unless stated otherwise. The notes in [brackets] are counted
and listed in the pack's `unusual.txt`, in these words:

* the contents determine the format, so a PNG named .JPEG is read as a PNG [PNG];
* grayscale is repeated in the three channels [greyscale]; palettes are looked up [palette]; CMYK and YCCK are converted
  without a color profile [CMYK];
* an alpha channel is dropped [alpha dropped]; of an animation or a file of several pages the first image is used
  [first of several];
* the EXIF orientation is ignored, as in published ImageNet results [EXIF orientation ignored];
* an image whose shorter side is under a quarter of the size is enlarged [tiny]; one that is over four times as long as
  wide loses most of its length [extreme ratio];
* a damaged JPEG of which PIL makes an image, gray where data are missing, is used [damaged JPEG];
* a file that was also compressed by gzip, as some of ILSVRC-2010's, is decompressed [gzip-compressed];
* 16-bit pixels keep their upper 8 bits, also of grayscale, which PIL would clip to white [16-bit];
* floating-point pixels from 0 to 1, else those from 0 to 255, are taken for black to white [floating-point];
* empty, truncated and undecodable files, files that are no image, vector drawings (a drawing can start programs), raw
  files of cameras (only their preview would be read), other floating-point pixels, 32-bit pixels and images of more
  than 100 million pixels (decompression bombs) are rejected with a reason.

Formats are all that Pillow reads, and HEIC and JPEG XL by its plug-ins if these are installed. Those whose files do not
begin with a signature (TGA) are only read if the name says so.

Pillow's algorithm (Resample.c, 8 bits a channel): the weights of every target pixel are the triangle filter as wide as
the reduction, in 22-bit fixed point; rows are filtered first, rounded to 8 bits, then columns. Pillow 13 swaps the two
passes for some shapes, which moves single pixels by one level; here rows always come first, so that a pack does not
depend on the version that made it. Compiled, because half of all time in preparing would go here.

JPEG is that of libjpeg-turbo (simplejpeg): exact DCT, smooth chroma upsampling, as PIL decodes.
"""

import io
import warnings
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from alexnet.config.values import SUBSAMPLINGS
from alexnet.data.sources.archives import FileRange, Unreadable
from alexnet.data.sources.file_names import looks_like_image
from alexnet.errors import UserError, how_to_install
from alexnet.jit import compiled

Blob = Path | FileRange | bytes | Unreadable | npt.NDArray[np.uint8]
"""An encoded image in a file, in an archive or in memory, or its pixels, uint8 [H, W, 3], or none."""

# Written into packs, spelling included.
RESIZE = "shorter side to the size, bilinear (antialiased, rows first), centre crop"
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF"}  # some start programs, some are no single images
_FIRST = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # tried before the others
_NO_SIGNATURE = {
    "TGA": (".tga", ".icb", ".vda", ".vst"), "SPIDER": (".spider",), "PCD": (".pcd",), "IPTC": (".iim",),
    "PIXAR": (".pxr",), "IM": (".im",), "IMT": (".imt",), "XVTHUMB": (".p7",), "MCIDAS": (".area",),
}  # fmt: skip
_VECTOR = (".svg", ".eps", ".wmf", ".emf")
_RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw")
_PLUGINS = {
    "pillow-heif": (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1"),
    "pillow-jxl-plugin": (b"\xff\x0a", b"JXL "),
}
"""Plug-ins of Pillow, with what their files begin with, or have at byte 4."""
MAX_BYTES = 2**28  # the largest file, and the largest that gzip may decompress to


@dataclass(frozen=True)
class Converted:
    """An image that can be used."""

    square: npt.NDArray[np.uint8]
    """uint8 [S, S, 3]."""
    notes: tuple[str, ...] = ()
    """What is unusual about its file, in the words of the module's docstring."""


def convert(blobs: list[Blob], size: int) -> list[Converted | str]:
    """Convert each image to a uint8 [size, size, 3] square, or give the reason, one line, why it cannot be used."""
    with suppress_pil_warnings():
        return [convert_file(blob, size, blob.name if isinstance(blob, Path) else "") for blob in blobs]


def suppress_pil_warnings() -> AbstractContextManager[object]:
    """Silence PIL's warnings about odd metadata, which is not used. Enter it once: filters belong to the process."""
    return warnings.catch_warnings(action="ignore")


def convert_file(blob: Blob, size: int, name: str = "") -> Converted | str:
    """Convert an image to a uint8 [size, size, 3] square, or give the reason, one line, why it cannot be used.

    The suffix of `name` is the format that the file claims. May be called from several threads, within one
    `suppress_pil_warnings`.
    """
    try:
        if isinstance(blob, np.ndarray):
            return Converted(center_square(blob, size))
        if isinstance(blob, Unreadable):
            return blob.reason
        suffix = name[name.rfind(".") :].lower()
        if suffix in _RAW:
            return "a camera's raw file, of which only a preview would be read; convert it"
        data = file_bytes(blob)
        if not data:
            return "empty file"
        notes: list[str] = []
        if data.startswith(b"\x1f\x8b"):
            notes.append("gzip-compressed")
            unzip = zlib.decompressobj(wbits=31)
            data = unzip.decompress(data, MAX_BYTES)
            if unzip.unconsumed_tail:
                return f"gzip-compressed, more than {MAX_BYTES:,} bytes"
            if not unzip.eof:
                return "gzip-compressed and truncated"
        photograph = decode_photograph(data)
        if isinstance(photograph, tuple):
            pixels, gray = photograph
            notes += ["greyscale"] * gray + ["EXIF orientation ignored"] * _is_turned(partial(_exif, data))
        else:
            formats = [form for form in _formats() if suffix in _NO_SIGNATURE.get(form, (suffix,))]
            with Image.open(io.BytesIO(data), formats=formats) as image:
                is_deep = ";16" in str(getattr(image, "tile", ""))  # colors have lost it once PIL has read them
                pixels = _rgb(image)
                notes += ["damaged JPEG"] * photograph + _notes(image, name, is_deep=is_deep)
        shorter, longer = sorted(pixels.shape[:2])
        notes += ["tiny"] * (4 * shorter < size) + ["extreme ratio"] * (longer > 4 * shorter)
        return Converted(center_square(pixels, size), tuple(notes))
    except UnidentifiedImageError:
        return _not_identified(data, suffix)
    except MemoryError:
        raise  # says nothing about the image
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        return " ".join(str(error).split()) or type(error).__name__


def file_bytes(blob: Blob) -> bytes:
    """The bytes of an image's file or of its pixels; none of an unreadable one. Raises `UserError` if it has gone."""
    if isinstance(blob, bytes | Unreadable):
        return blob if isinstance(blob, bytes) else b""
    if isinstance(blob, Path) and blob.exists() and not (blob.is_file() and blob.stat().st_size <= MAX_BYTES):
        raise UserError(f"not a file, or one of more than {MAX_BYTES:,} bytes")
    return blob.tobytes() if isinstance(blob, np.ndarray) else blob.read_bytes()


@cache
def _formats() -> list[str]:
    """Return the formats that are read, the plug-ins' included."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401  registers itself
    Image.init()
    return [*_FIRST, *(form for form in Image.OPEN if form not in (*_FIRST, *_NOT_READ))]


def _not_identified(data: bytes, suffix: str) -> str:
    for plugin, beginnings in _PLUGINS.items():
        if data.startswith(beginnings) or data[4:12].startswith(beginnings):
            return f"{plugin} does not read it, or is not installed: {how_to_install('formats')}"
    if suffix in _VECTOR:
        return "a vector drawing; convert it"
    return "damaged or truncated" if looks_like_image(data[:32]) else "not an image"


def _is_turned(exif: Callable[[], Image.Exif]) -> bool:
    """Whether an image asks to be rotated."""
    try:
        return bool(exif().get(ExifTags.Base.Orientation, 1) != 1)
    except Exception:  # a damaged block says nothing that would be followed
        return False


def _exif(data: bytes) -> Image.Exif:
    """Read the EXIF block of a JPEG, which comes early; most photographs have none."""
    exif, start = Image.Exif(), data.find(b"Exif\0\0", 0, 4096)
    if start >= 0:
        exif.load(data[start : start + int.from_bytes(data[start - 2 : start], "big") - 2])
    return exif


def _notes(image: Image.Image, name: str, *, is_deep: bool) -> list[str]:
    claims_jpeg = name.lower().endswith((".jpg", ".jpeg", ".jpe", ".jfif"))
    applies = {
        str(image.format): claims_jpeg and image.format not in ("JPEG", "MPO"),
        "greyscale": image.mode in ("1", "L", "LA", "La"),
        "palette": image.mode in ("P", "PA"),
        "CMYK": image.mode == "CMYK",
        "16-bit": is_deep or image.mode.startswith("I"),
        "floating-point": image.mode == "F",
        "alpha dropped": image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info,
        "first of several": getattr(image, "n_frames", 1) > 1,
        "EXIF orientation ignored": _is_turned(image.getexif),
    }
    return [note for note, true in applies.items() if true]


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels, uint8 [H, W, 3], of an image of allowed size."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
    if image.mode == "F":
        image = _from_floats(np.asarray(image))
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() >= 2**16:
            raise ValueError("32-bit pixels have no defined range")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def _from_floats(values: npt.NDArray[np.float32]) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # nor any NaN
        raise ValueError(f"floating-point pixels from {low:g} to {high:g} have no defined range")
    return Image.fromarray((values * (255 if high <= 1 else 1) + 0.5).astype(np.uint8))


_BITS = 22  # fractional bits of a weight: 32 less 8 for the pixel and 2 for the filter's overshoot, as in Pillow

_Pixels = npt.NDArray[np.uint8]
_Taps = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]
"""First source pixel [S] and number of source pixels [S] of each target pixel, and their weights [S, K]."""


def center_square(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Scale uint8 [H, W, 3] to uint8 [size, size, 3]: the shorter side becomes `size`, the longer one is cropped."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    if height == width == size:
        return pixels
    top, left = (height - side) / 2, (width - side) / 2
    across = _taps(width, left, left + side, size)
    down = _taps(height, top, top + side, size)
    first, last = int(down[0][0]), int(down[0][-1] + down[1][-1])
    rows = np.empty((last - first, size * 3), np.uint8)
    _filter_rows(pixels.reshape(height, width * 3)[first:last], *across, rows)
    square = np.empty((size, size * 3), np.uint8)
    _filter_columns(rows, down[0] - first, *down[1:], square)
    return square.reshape(size, size, 3)


@compiled()
def _taps(pixels: int, start: float, stop: float, size: int) -> _Taps:
    """Weight the pixels of a line for `size` target pixels that share its span from `start` to `stop`."""
    scale = (stop - start) / size
    support = max(scale, 1.0)
    first, count = np.empty(size, np.int64), np.empty(size, np.int64)
    weights = np.zeros((size, int(np.ceil(support)) * 2 + 1), np.int32)
    line = np.empty(weights.shape[1])
    for target in range(size):
        center = start + (target + 0.5) * scale
        low = max(0, int(center - support + 0.5))
        high = min(pixels, int(center + support + 0.5))
        total = 0.0
        for tap in range(high - low):
            distance = abs((tap + low - center + 0.5) * (1.0 / support))
            line[tap] = max(0.0, 1.0 - distance)
            total += line[tap]
        for tap in range(high - low):
            weights[target, tap] = int(0.5 + line[tap] / total * (1 << _BITS))
        first[target], count[target] = low, high - low
    return first, count, weights


@compiled()
def _filter_rows(
    source: _Pixels, first: npt.NDArray[np.int64], count: npt.NDArray[np.int64], weights: npt.NDArray[np.int32],
    target: _Pixels,
) -> None:  # fmt: skip
    """Filter uint8 [H, W * 3] to [H, S * 3]. Unsigned indices avoid numba's check for negative ones."""
    half = np.int32(1 << (_BITS - 1))
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for y in range(target.shape[0]):
        row, out = source[y], target[y]
        for x in range(first.shape[0]):
            red, green, blue = half, half, half
            place = np.uint64(3 * first[x])
            for tap in range(np.uint64(count[x])):
                weight = weights[x, tap]
                red += weight * np.int32(row[place])
                green += weight * np.int32(row[place + one])
                blue += weight * np.int32(row[place + two])
                place += three
            end = np.uint64(3 * x)
            out[end] = red >> _BITS
            out[end + one] = green >> _BITS
            out[end + two] = blue >> _BITS


@compiled()
def _filter_columns(
    source: _Pixels, first: npt.NDArray[np.int64], count: npt.NDArray[np.int64], weights: npt.NDArray[np.int32],
    target: _Pixels,
) -> None:  # fmt: skip
    """Filter uint8 [H, W] to [S, W]: whole rows are added up, which the compiler vectorizes."""
    sums = np.empty(source.shape[1], np.int32)
    for y in range(first.shape[0]):
        sums[:] = 1 << (_BITS - 1)
        for tap in range(count[y]):
            weight, row = weights[y, tap], source[first[y] + tap]
            for x in range(len(sums)):
                sums[x] += weight * np.int32(row[x])
        out = target[y]
        for x in range(len(sums)):
            out[x] = sums[x] >> _BITS


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


def decode_photograph(data: bytes) -> tuple[npt.NDArray[np.uint8], bool] | bool:
    """Decode an ordinary, sound JPEG photograph to uint8 [H, W, 3], and tell whether it is grayscale.

    For other files, left to another decoder, tell whether they are damaged photographs. Releases the GIL.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors not in ("YCbCr", "Gray") or height * width > MAX_PIXELS:
            return False
        return simplejpeg.decode_jpeg(data), colors == "Gray"
    except ValueError:
        return True
