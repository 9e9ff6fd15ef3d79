"""Batches made ahead of the network on threads of their own: gathered, decoded, and brought to where they are used.

Nothing here is random or depends on timing: which images are in a batch, and what becomes of them, is the epoch plan's.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.data.batches.augment import AugmentedBatch, RawBatch
from alexnet.data.batches.fused import FusedAugmenter
from alexnet.data.batches.nvjpeg import NvjpegDecoder
from alexnet.data.batches.plan import EpochPlan
from alexnet.data.batches.slots import Slots
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.splits import Indices, Split
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.parts import SINGLE_REPLICA, Replica

Made = TypeVar("Made")


def val_splits(pack: Pack, config: Config) -> list[str]:
    """Return the splits evaluated after every epoch; `train` only if the schedule depends on its error."""
    wanted = ["val", *(["train"] if config.schedule.stop_at_train_error is not None else [])]
    return [name for name in wanted if name in pack.splits]


def test_splits(pack: Pack) -> list[str]:
    """Return the splits that a trained network is evaluated on."""
    return [name for name in ("val", "test") if name in pack.splits]


def batch_parts(images: int, batch_size: int, replica: Replica = SINGLE_REPLICA) -> list[slice]:
    """What a copy of the network sees of each batch, as places in the order of the images.

    The last batch may be smaller, as in 2012, and the part of one copy empty.
    """
    parts = []
    for first in range(0, images, batch_size):
        part = replica.part(min(batch_size, images - first))
        parts.append(slice(first + part.first, first + part.first + part.count))
    return parts


class Loader(Generic[Made]):
    """The batches of a split, in order, each made from its part of the images."""

    def __init__(
        self,
        make: Callable[[slice], Made],
        *,
        parts: Sequence[slice],
        threads: int = 1,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop` is called before each batch, to raise where what is loaded can no longer be trusted."""
        self._make, self._parts = make, parts
        self._threads, self._stop = threads, stop
        self._batches: ParallelMap[slice, Made] | None = None
        self._first = self._done = 0
        self.waited = 0.0
        """Seconds that the network has waited for batches."""

    def __len__(self) -> int:
        return len(self._parts)

    def state_dict(self) -> dict[str, int]:
        """Batches of the epoch under way that have been handed out; 0 at its end."""
        return {"batches": self._done % len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin with the batch after those that have been handed out."""
        self._first = state_dict["batches"]

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
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self._stop()
            self._done += 1
            yield batch

    def close(self) -> None:
        """Stop the threads of an unfinished epoch."""
        if self._batches is not None:
            self._batches.close()


def loader_threads(
    wanted: int | None, device: torch.device, *, processes: int = 1, device_decodes: bool = False
) -> int:
    """How many threads make batches, if the user has no wish, where so many processes share the machine."""
    if wanted is not None or device.type == "cpu":
        return wanted or 1
    # Where the device decodes, one thread waits for it while another has the next files ready.
    return 2 if device_decodes else max(1, available_cpus() // processes)


class AugmentedBatches:
    """Makes batches for a network on the CPU: augmented in one pass."""

    def __init__(self, split: Split, plan: EpochPlan, augment: FusedAugmenter, slots: Slots) -> None:
        self._split, self._plan, self._augment, self._slots = split, plan, augment, slots

    def __call__(self, part: slice) -> AugmentedBatch:
        labels = torch.from_numpy(self._split.labels[self._plan.order[part]])
        return AugmentedBatch(self._augment(self._split, self._plan, part, self._slots.take()), labels)


class RawBatches:
    """Makes batches for a network elsewhere: the host moves bytes, the device augments, and decodes where it can."""

    def __init__(
        self, split: Split, plan: EpochPlan, device: torch.device, decoder: NvjpegDecoder | None = None
    ) -> None:
        """`decoder` is the device's, for JPEG packs; None leaves decoding to the host."""
        self._split, self._plan, self._device, self._decoder = split, plan, device, decoder
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, part: slice) -> RawBatch:
        indices, plan = self._plan.order[part], self._plan
        batch = RawBatch(
            images=self._images(indices) if self._decoder is None else self._decoder.gather(self._split, indices),
            labels=torch.from_numpy(self._split.labels[indices]),
            offsets=torch.from_numpy(plan.offsets[part]),
            flips=torch.from_numpy(plan.flips[part]),
            colors=torch.from_numpy(plan.colors[part]),
        )
        return batch if self._stream is None else RawBatch(*self._copied(batch, self._stream))

    def _images(self, indices: Indices) -> Tensor:
        shape = (len(indices), self._split.image_size, self._split.image_size, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._stream is not None)
        self._split.gather(indices, images.numpy())
        return images

    def _copied(self, batch: RawBatch, stream: torch.cuda.Stream) -> list[Tensor]:
        """The batch on the GPU, copied beside the computation; waits for the copy, on the loader's thread."""
        with torch.cuda.stream(stream):
            copies = [tensor.to(self._device, non_blocking=True) for tensor in batch]
        stream.synchronize()
        for copy in copies:  # their memory is the copying stream's; it must not reuse it while the network reads
            copy.record_stream(torch.cuda.default_stream(self._device))
        return copies


class EvalBatches:
    """Makes batches for evaluation: uint8 images [n, S, S, 3] in order, and their labels, int64 [n]."""

    def __init__(self, split: Split, decoder: NvjpegDecoder | None = None) -> None:
        """`decoder` is that of a device, for JPEG packs; its images are there, the labels on the host."""
        self._split, self._decoder = split, decoder

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        indices = np.arange(part.start, part.stop)
        labels = torch.from_numpy(self._split.labels[indices])
        if self._decoder is not None:
            return self._decoder.gather(self._split, indices), labels
        return torch.from_numpy(self._split.gather(indices)), labels
