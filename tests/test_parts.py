"""Parts cover a whole without gap or overlap, and halves are those of torch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.net.layers import NonInvertedDropout
from alexnet.parts import shard_of


@given(whole=st.integers(0, 1000), parts=st.integers(1, 9))
def test_parts_cover_the_whole_evenly(whole: int, parts: int) -> None:
    held = [shard_of(whole, index=index, parts=parts) for index in range(parts)]
    assert [i for part in held for i in range(whole)[part.within]] == list(range(whole))
    assert max(part.count for part in held) - min(part.count for part in held) <= 1


@given(whole=st.integers(2, 1000))
def test_halves_are_those_of_torch(whole: int) -> None:
    chunks = torch.arange(whole).chunk(2)
    assert [len(chunk) for chunk in chunks] == [shard_of(whole, index=i, parts=2).count for i in (0, 1)]


def test_parts_of_a_dropout_mask_make_the_mask_of_the_whole() -> None:
    dropout = NonInvertedDropout(0.5)
    torch.manual_seed(3)
    whole = dropout(torch.ones(7, 10))
    parts = []
    for row in range(3):
        dropout.images = shard_of(7, index=row, parts=3)
        halves = []
        for column in range(2):
            dropout.units = shard_of(10, index=column, parts=2)
            torch.manual_seed(3)
            halves.append(dropout(torch.ones(dropout.images.count, dropout.units.count)))
        parts.append(torch.cat(halves, dim=1))
    assert torch.equal(torch.cat(parts), whole)
    assert 0 < int(whole.sum()) < whole.numel()
