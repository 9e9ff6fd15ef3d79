"""Batches made ahead of the network on threads.

Nothing here is random or depends on timing: the epoch plan says which images are in a batch and what happens to them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.data.batches.augment import AugmentedBatch, RawBatch
from alexnet.data.batches.augment_numba import NumbaAugmenter
from alexnet.data.batches.nvjpeg import NvjpegDecoder
from alexnet.data.batches.plan import EpochPlan
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.splits import Indices, RawSplit, Split
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.devices import free_memory_bytes, pins_memory
from alexnet.errors import UserError, first_line
from alexnet.parts import Replica

logger = logging.getLogger(__name__)

Made = TypeVar("Made")
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
