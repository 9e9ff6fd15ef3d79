"""Nearest neighbours against plain numpy in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.trained import neighbours
from alexnet.trained.neighbours import nearest_neighbours

Floats = NDArray[np.float32]


def naive(queries: Floats, database: Floats, k: int, own: NDArray[np.int64] | None) -> tuple[NDArray, NDArray]:
    """Indices and distances by subtracting, squaring and sorting, one pair at a time."""
    indices, distances = [], []
    for number, query in enumerate(queries.astype(np.float64)):
        found = [
            (float(((row - query) ** 2).sum()), index)
            for index, row in enumerate(database.astype(np.float64))
            if own is None or index != own[number]
        ]
        nearest = sorted(found)[:k]
        indices.append([index for _, index in nearest])
        distances.append([squared**0.5 for squared, _ in nearest])
    return np.array(indices), np.array(distances)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 130),
    d=st.integers(1, 40),
    q=st.integers(1, 7),
    k=st.integers(1, 12),
    leave_out=st.booleans(),
    values=st.sampled_from(["normal", "far from 0", "few", "wide"]),
    seed=st.integers(0, 10**6),
)
def test_as_numpy_finds_them(n: int, d: int, q: int, k: int, leave_out: bool, values: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if values == "few":  # many equal distances, and duplicates
        database = rng.integers(0, 2, (n, d)).astype(np.float32)
    else:
        database = rng.normal(1e4 if values == "far from 0" else 0, 1, (n, d)).astype(np.float32)
    if values == "wide":
        database *= (10.0 ** rng.uniform(-4, 4, (n, 1))).astype(np.float32)
    own = rng.integers(0, n, q)
    queries = database[own] if leave_out else rng.normal(size=(q, d)).astype(np.float32)
    k = min(k, n - leave_out)
    indices, distances = naive(queries, database, k, own if leave_out else None)
    found = nearest_neighbours(
        torch.from_numpy(queries),
        torch.from_numpy(database),
        k=k,
        own=torch.from_numpy(own) if leave_out else None,
    )
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-12, atol=0)
    np.testing.assert_array_equal(found.indices.numpy(), indices)


def test_rows_that_float32_products_cannot_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred rows at nearly one distance, more than there are candidates, in parts of 50 rows."""
    monkeypatch.setattr(neighbours, "_ROWS", 50)
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(200, 300))
    directions *= 1000 / np.linalg.norm(directions, axis=1, keepdims=True)
    database, query = directions.astype(np.float32), np.zeros((1, 300), np.float32)
    indices, distances = naive(query, database, 5, None)
    # The norms differ by billionths, the rounding of their components, which a float32 of a million cannot hold.
    plain = np.argsort((database**2).sum(axis=1, dtype=np.float32), kind="stable")[:5]
    assert plain.tolist() != indices[0].tolist()
    found = nearest_neighbours(torch.from_numpy(query), torch.from_numpy(database), k=5)
    np.testing.assert_array_equal(found.indices.numpy(), indices)
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-12)


def test_more_neighbours_than_images_are_refused() -> None:
    rows = torch.zeros(5, 3)
    assert nearest_neighbours(rows, rows, k=5).indices.tolist()[0] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="5 nearest neighbours of 4 images"):
        nearest_neighbours(rows, rows, k=5, own=torch.arange(5))
