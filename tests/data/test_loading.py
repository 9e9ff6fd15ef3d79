"""The loader hands out batches in order, from where a run was stopped, and ends its threads."""

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.data.augment import draw_epoch
from alexnet.data.loading import AugmentedBatches, Loader, batch_parts, loader_threads
from alexnet.data.threads import available_cpus

PARTS = [slice(start, start + 2) for start in range(0, 12, 2)]


def first_image(part: slice) -> int:
    return part.start


def test_loader_continues_after_the_batches_that_were_handed_out() -> None:
    loader = Loader(first_image, parts=PARTS, threads=2)
    batches = iter(loader)
    assert [next(batches), next(batches)] == [0, 2] and loader.state_dict()["batches"] == 2
    resumed = Loader(first_image, parts=PARTS)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.data_wait_seconds == loader.data_wait_seconds > 0  # of the whole epoch
    assert list(resumed) == [4, 6, 8, 10] and resumed.state_dict() == {"batches": 0, "data_wait_seconds": 0.0}
    assert list(resumed) == list(loader) == [0, 2, 4, 6, 8, 10]
    loader.close()


def test_closed_loader_has_no_threads() -> None:
    before = threading.active_count()
    loader = Loader(first_image, parts=PARTS, threads=2)
    loader.close()
    next(iter(loader))
    assert threading.active_count() > before
    loader.close()
    assert threading.active_count() == before


class Slow:
    """An augmenter that leaves NaN in a buffer for a while before it fills it with the batch's first place."""

    geometry = SimpleNamespace(crop_size=2)

    def __init__(self) -> None:
        self.release = threading.Event()
        self.buffers: set[int] = set()

    def __call__(self, _split: Any, _plan: Any, part: slice, out: np.ndarray) -> torch.Tensor:
        self.buffers.add(out.ctypes.data)
        out.fill(np.nan)
        self.release.wait(0.002)
        out.fill(part.start)
        return torch.from_numpy(out[: part.stop - part.start])


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_in_use_keep_their_buffers(threads: int) -> None:
    images, batch_size = 203, 5
    split = type("Split", (), {"labels": np.arange(images), "__len__": lambda _: images})()
    plan = draw_epoch(seed=0, epoch=0, images=images, positions=1)
    augment = Slow()
    make = AugmentedBatches(split, plan, augment, parts=batch_parts(images, batch_size), threads=threads)  # type: ignore[arg-type]
    held: deque[tuple[int, Any]] = deque(maxlen=threads + 2)
    for number, batch in enumerate(Loader(make, parts=batch_parts(images, batch_size), threads=threads)):
        held.append((number, batch))
        for kept, inputs in ((kept, batch.inputs) for kept, batch in held):
            assert (inputs == kept * batch_size).all(), f"batch {kept} was overwritten while batch {number} was used"
    assert number == 40 and len(augment.buffers) == 2 * threads + 3


def test_threads_are_the_user_s_or_this_process_s_share_of_the_cpus() -> None:
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert loader_threads(5, gpu) == loader_threads(5, cpu) == 5 and loader_threads(None, cpu) == 1
    assert loader_threads(None, gpu, processes=1) == available_cpus() and loader_threads(None, gpu, processes=999) == 1
    assert loader_threads(None, gpu, nvjpeg=True) == 2 and loader_threads(None, cpu, nvjpeg=True) == 1
