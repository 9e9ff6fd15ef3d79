"""Nearest neighbors against plain numpy in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.trained import similar
from alexnet.trained.similar import nearest_neighbors

Floats = NDArray[np.float32]


def naive(queries: Floats, database: Floats, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices and distances from float64 differences, one pair at a time; ties by index."""
    pairs = np.square(queries.astype(np.float64)[:, None] - database.astype(np.float64)).sum(axis=2)
    order = pairs.argsort(axis=1, kind="stable")[:, :k]
    return order, np.sqrt(np.take_along_axis(pairs, order, axis=1))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 130),
    d=st.integers(1, 40),
    q=st.integers(1, 7),
    k=st.integers(1, 12),
    far=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_nearest_neighbors_agree_with_float64(n: int, d: int, q: int, k: int, far: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    database = rng.normal(1e4 if far else 0, 1, (n, d)).astype(np.float32)
    queries = rng.normal(size=(q, d)).astype(np.float32)
    k = min(k, n)
    indices, distances = naive(queries, database, k)
    found, found_distances = nearest_neighbors(torch.from_numpy(queries), database, k=k)
    np.testing.assert_allclose(found_distances, distances, rtol=1e-12)
    np.testing.assert_array_equal(found, indices)


def test_nearest_neighbors_in_blocks_with_ties_take_the_lower_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "ROWS", 50)
    database = np.random.default_rng(5).integers(0, 2, (60, 4)).astype(np.float32)
    indices, _ = naive(database[:3], database, 20)
    found, _ = nearest_neighbors(torch.from_numpy(database[:3]), database, k=20)
    np.testing.assert_array_equal(found, indices)


def test_nearest_neighbors_refuse_more_than_there_are() -> None:
    with pytest.raises(UserError, match="6 nearest neighbors of 5 images"):
        nearest_neighbors(torch.zeros(1, 3), np.zeros((5, 3), np.float32), k=6)
