"""Parts cover a whole without gap or overlap, and halves are those of torch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.sharding import shard_of


@given(whole=st.integers(0, 1000), parts=st.integers(1, 9))
def test_parts_cover_the_whole_evenly(whole: int, parts: int) -> None:
    held = [shard_of(whole, index=index, parts=parts) for index in range(parts)]
    assert [i for part in held for i in range(whole)[part.within]] == list(range(whole))
    assert max(part.count for part in held) - min(part.count for part in held) <= 1


@given(whole=st.integers(2, 1000))
def test_halves_are_those_of_torch(whole: int) -> None:
    chunks = torch.arange(whole).chunk(2)
    assert [len(chunk) for chunk in chunks] == [shard_of(whole, index=i, parts=2).count for i in (0, 1)]
