"""The loader hands out batches in order, from where a run was stopped, and ends its threads."""

import threading

from alexnet.data.batches.loading import Loader

PARTS = [slice(start, start + 2) for start in range(0, 12, 2)]


def first_image(part: slice) -> int:
    return part.start


def test_loader_continues_after_the_batches_that_were_handed_out() -> None:
    loader = Loader(first_image, parts=PARTS, threads=2)
    batches = iter(loader)
    assert [next(batches), next(batches)] == [0, 2] and loader.state_dict() == {"batches": 2}
    resumed = Loader(first_image, parts=PARTS)
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == [4, 6, 8, 10] and resumed.state_dict() == {"batches": 0}
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
