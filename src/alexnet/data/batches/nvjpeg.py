"""JPEG decoding on an NVIDIA GPU by nvJPEG, through torchvision.

nvJPEG's pixels differ from libjpeg-turbo's. Its DCT and color conversion round differently. Users report that, as
torchvision configures it, nvJPEG repeats the chroma of 4:2:0 and 4:2:2 files, which libjpeg-turbo interpolates. See
docs/speed.md.
"""

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.data.jpeg import JpegQuality, encode
from alexnet.data.pack.splits import Indices, JpegSplit, Split
from alexnet.errors import UserError, first_line

CHOSEN = "data.decoder=nvjpeg"


class NvjpegDecoder:
    """Decoder for the images of JPEG packs. Several threads may call it; they decode one at a time."""

    def __init__(self, device: torch.device) -> None:
        """Check that torchvision can decode on `device`: a GPU or, for tests, the CPU (libjpeg-turbo).

        Raises:
            UserError: torchvision cannot decode there.
        """
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        try:
            self._decode([np.frombuffer(encode(np.zeros((64, 64, 3), np.uint8), JpegQuality()), np.uint8)], 64)
        except (ImportError, RuntimeError) as error:
            what = f"this torchvision decodes nothing on {device} ({first_line(error)})"
            raise UserError(f"{CHOSEN}: {what}; install one that is built with nvJPEG, or choose cpu") from error

    def gather(self, split: Split, indices: Indices) -> Tensor:
        """Return the images at `indices`, int [n] within [0, N), in that order, as uint8 [n, S, S, 3] on the device.

        They are complete when this returns, and may be used on the device's default stream.

        Raises:
            UserError: an image is damaged, or nvJPEG fails.
        """
        assert isinstance(split, JpegSplit), "raw packs are refused before a run"
        files = split.files(indices)
        if not files:
            return torch.empty((0, split.image_size, split.image_size, 3), dtype=torch.uint8, device=self._device)
        try:
            return self._decode(files, split.image_size)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            split.gather(indices)  # nvJPEG does not say which image it is; this does
            what = f"nvJPEG failed on images that the host decodes ({first_line(error)})"
            raise UserError(f"{CHOSEN}: {what}; choose cpu") from error

    def _decode(self, files: Sequence[npt.NDArray[np.uint8]], size: int) -> Tensor:
        from torchvision.io import ImageReadMode, decode_jpeg  # deprecated since 0.29: some release will not have it

        in_memory = [torch.from_numpy(np.array(file)) for file in files]  # read while another thread decodes
        # nvJPEG writes into memory of the current stream without waiting for that stream's pending work. So it gets a
        # separate stream, which is always idle at this point.
        with self._lock, torch.cuda.stream(self._stream):
            decoded = decode_jpeg(in_memory, ImageReadMode.RGB, self._device)
            if any(image.shape != (3, size, size) for image in decoded):
                raise RuntimeError("an image has another size")
            images = torch.stack(decoded).permute(0, 2, 3, 1).contiguous()
            if self._stream is not None:
                self._stream.synchronize()
                images.record_stream(torch.cuda.default_stream(self._device))
        return images
