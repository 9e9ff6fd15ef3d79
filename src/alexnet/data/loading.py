"""Batches made ahead of the network on threads.

Nothing here is random or depends on timing: the epoch plan says which images are in a batch and what happens to them.

JPEG files are decoded on the threads, or on an NVIDIA GPU by nvJPEG, through torchvision. nvJPEG's pixels differ from
libjpeg-turbo's. Its DCT and color conversion round differently. Users report that, as torchvision configures it, nvJPEG
repeats the chroma of 4:2:0 and 4:2:2 files, which libjpeg-turbo interpolates. See docs/speed.md.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.data.augment import AugmentedBatch, EpochPlan, NumbaAugmenter, RawBatch
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.splits import Indices, JpegSplit, RawSplit, Split
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.devices import free_memory_bytes, pins_memory
from alexnet.errors import UserError, first_line
from alexnet.sharding import Replica

logger = logging.getLogger(__name__)

Made = TypeVar("Made")
CHOSEN = "data.decoder=nvjpeg"
RESIDENT_SHARE = 0.25
"""Of a GPU's free memory, which the images of a split may take."""
RESIDENT_STEP = 1024
"""Images that are copied there at a time."""


def val_splits(pack: Pack, config: Config) -> list[str]:
    """Return the splits evaluated after every epoch; `train` only if the schedule depends on its error."""
    wanted = ["val", *(["train"] if config.schedule.stop_at_train_error is not None else [])]
    return [name for name in wanted if name in pack.splits]


def test_splits(pack: Pack) -> list[str]:
    """Return the splits that a trained network is evaluated on."""
    return [name for name in ("val", "test") if name in pack.splits]


def test_batch_size(wanted: int, device: torch.device) -> int:
    """Return how many images get their ten crops at a time, one crop after another, from `hardware.eval_batch_size`.

    A GPU takes as many as in validation. On a CPU the number decides the last bits.
    """
    return max(1, wanted // 10) if device.type == "cpu" else wanted


def batch_parts(images: int, batch_size: int, replica: Replica = Replica(), *, turns: int = 1) -> list[slice]:
    """Return one replica's part of each batch, in one or several turns, as places in the order of the images.

    The last batch may be smaller, as in 2012, and the part of one replica empty.
    """
    return [
        slice(first + part.first, first + part.first + part.count)
        for first in range(0, images, batch_size)
        for turn in range(turns)
        for part in [replica.part(min(batch_size, images - first), turn=turn, turns=turns)]
    ]


class Loader(Generic[Made]):
    """The batches of a split in order, each made from its part of the images; resumable in the middle of an epoch."""

    def __init__(
        self,
        make: Callable[[slice], Made],
        *,
        parts: Sequence[slice],
        threads: int = 1,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop` is called before each batch; it raises if the data can no longer be trusted."""
        self._make, self._parts = make, parts
        self._threads, self._stop = threads, stop
        self._batches: ParallelMap[slice, Made] | None = None
        self._first = self._done = 0
        self.data_wait_seconds = 0.0
        """Seconds that the network has waited for batches."""

    def __len__(self) -> int:
        return len(self._parts)

    def state_dict(self) -> dict[str, float]:
        """Return how many batches of the current epoch were handed out, and how long they took; 0 at its end."""
        done = self._done % len(self)
        return {"batches": done, "data_wait_seconds": self.data_wait_seconds if done else 0.0}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Start the next epoch after the batches that were handed out."""
        self._first, self.data_wait_seconds = int(state_dict["batches"]), state_dict["data_wait_seconds"]

    def __iter__(self) -> Iterator[Made]:
        """Start an epoch, which ends the one before."""
        self.close()
        self._done, self._first = self._first, 0
        parts = self._parts[self._done :]
        self._batches = ParallelMap(self._make, parts, self._threads, ahead=self._threads + 1)
        return self._hand_out(self._batches)

    def _hand_out(self, batches: Iterator[Made]) -> Iterator[Made]:
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches, None)
            except UserError:
                raise
            except Exception as error:
                logger.exception("batch %d", self._done + 1)
                cause = f"{type(error).__name__}: {first_line(error)}"
                raise UserError(f"batch {self._done + 1} of an epoch cannot be loaded: {cause}") from error
            self.data_wait_seconds += time.perf_counter() - start
            if batch is None:
                return
            self._stop()
            self._done += 1
            yield batch

    def close(self) -> None:
        """Stop the threads of an unfinished epoch."""
        if self._batches is not None:
            self._batches.close()


def loader_threads(wanted: int | None, device: torch.device, *, processes: int = 1, nvjpeg: bool = False) -> int:
    """Return how many threads make batches, unless the user wants a number; `processes` share the machine."""
    if wanted is not None or device.type == "cpu":
        return wanted or 1
    # With nvJPEG one thread waits for the GPU while the other reads the next files.
    return 2 if nvjpeg else max(1, available_cpus() // processes)


class AugmentedBatches:
    """Makes batches for a network on the CPU, augmented in one pass.

    Fresh memory takes longer to map than to fill, so a batch reuses the buffer of an earlier one. Of a `Loader` with as
    many threads, each batch may be kept until the (threads + 2)-th after it is asked for.
    """

    def __init__(
        self, split: Split, plan: EpochPlan, augment: NumbaAugmenter, *, parts: Sequence[slice], threads: int = 1
    ) -> None:
        """`parts` are those that batches are made of, in order."""
        self._split, self._plan, self._augment = split, plan, augment
        self._numbers = {part.start: number for number, part in enumerate(parts) if part.stop > part.start}
        shape = (max(part.stop - part.start for part in parts), *2 * (augment.geometry.crop_size,), 3)
        self._buffers = [torch.empty(shape).numpy() for _ in range(2 * threads + 3)]

    def __call__(self, part: slice) -> AugmentedBatch:
        labels = torch.from_numpy(self._split.labels[self._plan.order[part]])
        buffer = self._buffers[self._numbers.get(part.start, 0) % len(self._buffers)]
        return AugmentedBatch(self._augment(self._split, self._plan, part, buffer), labels)


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


@dataclass(frozen=True)
class Reader:
    """Makes batches for a network elsewhere: in the CPU's memory, pinned if `device` is an NVIDIA GPU."""

    split: Split
    device: torch.device
    decoder: NvjpegDecoder | None = None
    """A GPU's, for JPEG packs; its images are on the GPU already."""

    def evaluation(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return images uint8 [n, S, S, 3] and labels int64 [n], in the order of the split."""
        return self._read(np.arange(part.start, part.stop))

    def training(self, plan: EpochPlan) -> Callable[[slice], RawBatch]:
        """Return what makes the batches of an epoch, to be augmented on the device."""

        def make(part: slice) -> RawBatch:
            drawn = (plan.crop_offsets[part], plan.flips[part], plan.colors[part])
            return RawBatch(*self._read(plan.order[part]), *map(self._pinned, drawn))

        return make

    def _read(self, indices: Indices) -> tuple[Tensor, Tensor]:
        labels = self._pinned(self.split.labels[indices])
        if self.decoder is not None:
            return self.decoder.gather(self.split, indices), labels
        shape = (len(indices), self.split.image_size, self.split.image_size, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=pins_memory(self.device))
        self.split.gather(indices, images.numpy())
        return images, labels

    def _pinned(self, values: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor.pin_memory() if pins_memory(self.device) else tensor


class Resident:
    """A split in a GPU's memory, where its batches are cut out: no step waits for the CPU or for a copy from it."""

    def __init__(self, split: Split, device: torch.device) -> None:
        reader = Reader(split, device)
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)
        shape = (len(split), split.image_size, split.image_size, 3)
        self.images = torch.empty(shape, dtype=torch.uint8, device=device)
        for first in range(0, len(split), RESIDENT_STEP):
            part = slice(first, min(first + RESIDENT_STEP, len(split)))
            self.images[part] = reader.evaluation(part)[0]

    @classmethod
    def if_fitting(cls, split: Split, device: torch.device) -> "Resident | None":
        """Take the pixels of a raw pack that leave most of a GPU's free memory to the network, or nothing."""
        size = len(split) * split.image_size**2 * 3
        fits = isinstance(split, RawSplit) and size <= RESIDENT_SHARE * free_memory_bytes(device)
        return cls(split, device) if fits else None

    def evaluation(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return a batch as `Reader` does."""
        return self.images[part], self.labels[part]

    def training(self, plan: EpochPlan) -> Callable[[slice], RawBatch]:
        """Bring an epoch's plan to the device; return what makes its batches, as `Reader` does."""
        of_plan = (plan.order, plan.crop_offsets, plan.flips, plan.colors)
        order, *drawn = (torch.from_numpy(values).to(self.images.device) for values in of_plan)

        def make(part: slice) -> RawBatch:
            chosen = order[part]
            return RawBatch(self.images[chosen], self.labels[chosen], *(values[part] for values in drawn))

        return make
