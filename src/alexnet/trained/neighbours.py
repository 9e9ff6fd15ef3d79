"""Exact nearest neighbours by Euclidean distance, as in Figure 4 (right)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from alexnet.errors import UserError

_MARGIN = 64
"""Candidates beyond the k nearest that the quick pass keeps; where they are not enough, a query is searched anew."""
_ROWS = 2**14
"""Rows of the database that are compared at a time."""
_QUERIES = 256
_ELEMENTS = 2**24
"""Elements of the largest float64 difference that is held at a time (128 MiB)."""


@dataclass(frozen=True, kw_only=True)
class Neighbors:
    """The k rows of a database that are nearest to each of q queries, nearest first, on the CPU."""

    indices: Tensor
    """int64 [q, k]; of rows at equal distance the one with the lower number comes first"""
    distances: Tensor
    """float64 [q, k]"""


def nearest_neighbours(queries: Tensor, database: Tensor, *, k: int, own: Tensor | None = None) -> Neighbors:
    """The k nearest rows of `database`, float32 [n, d], to each of `queries`, float32 [q, d].

    `own`, int64 [q], are rows to leave out: the queries themselves, where they are part of the database. Products in
    float32 choose candidates, distances in float64 rank them; a bound on the rounding of the products says for which
    queries the candidates might not hold the k nearest, and those are compared with every row in float64. Computed
    where `queries` are; the database may lie elsewhere and is brought over in parts.

    Raises:
        UserError: the database has fewer than k rows to choose from.
    """
    rows = len(database) - (own is not None)
    if not 1 <= k <= rows:
        raise UserError(f"{k} nearest neighbours of {rows} images: ask for 1 to {rows}")
    found = [
        _search(queries[start : start + _QUERIES], database, k, None if own is None else own[start : start + _QUERIES])
        for start in range(0, len(queries), _QUERIES)
    ]
    indices, squared = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return Neighbors(indices=indices, distances=squared.sqrt())


def _search(queries: Tensor, database: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """Indices and squared distances of the k nearest, both [q, k]."""
    kept = min(k + _MARGIN, len(database))
    candidates, estimates, error = _candidates(queries, database, kept, own)
    squared = _squared_distances(queries, database, candidates)
    squared[estimates.isinf()] = torch.inf  # the query itself
    indices, squared = _k_smallest(candidates, squared, k)
    # A row that is no candidate has an estimate of at least the last candidate's, and is off by at most the error.
    doubtful = squared[:, -1] >= estimates[:, -1].double() - error
    if kept < len(database):
        for query in doubtful.nonzero()[:, 0].tolist():
            indices[query], squared[query] = _search_all(
                queries[query], database, k, own if own is None else own[query]
            )
    return indices, squared


def _candidates(queries: Tensor, database: Tensor, kept: int, own: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with the smallest squared distances in float32, [q, kept], those distances, and a bound [q] on their error.

    Everything is shifted by the mean of some rows, which changes no distance and makes the norms, and so the rounding,
    smaller.
    """
    origin = database[:_ROWS].to(queries.device).mean(dim=0)
    moved = queries - origin
    norms = moved.square().sum(dim=1)
    best = torch.empty(len(queries), 0, device=queries.device)
    indices = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    largest = torch.zeros((), device=queries.device)
    for start in range(0, len(database), _ROWS):
        rows = database[start : start + _ROWS].to(queries.device) - origin
        row_norms = rows.square().sum(dim=1)
        largest = torch.maximum(largest, row_norms.max())
        squared = norms[:, None] + row_norms - 2 * moved @ rows.T
        numbers = torch.arange(start, start + len(rows), device=queries.device).expand_as(squared)
        if own is not None:
            squared.masked_fill_(numbers == own.to(queries.device)[:, None], torch.inf)
        best, chosen = torch.cat([best, squared], 1).topk(min(kept, best.shape[1] + len(rows)), largest=False)
        indices = torch.cat([indices, numbers], 1).gather(1, chosen)
    return indices, best, _rounding(norms.double(), largest.double(), queries.shape[1])


def _rounding(norms: Tensor, largest: Tensor, d: int) -> Tensor:
    """How far a squared distance computed from float32 norms and products can be off, for squared norms [q].

    A product of d terms is off by at most gamma |x| |y| with gamma = m u / (1 - m u), u = 2^-24 and m = d (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 3.1); the shift and the three sums round again.
    """
    m = (d + 8) * 2.0**-24
    return m / (1 - m) * (norms.sqrt() + largest.sqrt()).square()


def _squared_distances(queries: Tensor, database: Tensor, candidates: Tensor) -> Tensor:
    """Squared distances float64 [q, c] of queries [q, d] from the rows `candidates` [q, c]."""
    step = max(1, _ELEMENTS // (candidates.shape[1] * queries.shape[1]))
    parts = []
    for query, chosen in zip(torch.split(queries, step), torch.split(candidates, step), strict=True):
        rows = database[chosen.to(database.device)].to(queries.device)
        parts.append((rows.double() - query[:, None].double()).square().sum(dim=2))
    return torch.cat(parts)


def _search_all(query: Tensor, database: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same for one query [d] by comparing it with every row in float64."""
    step = max(1, _ELEMENTS // len(query))
    parts = [
        (rows.to(query.device).double() - query.double()).square().sum(dim=1) for rows in torch.split(database, step)
    ]
    squared = torch.cat(parts)
    if own is not None:
        squared[own] = torch.inf
    indices, squared = _k_smallest(torch.arange(len(database), device=query.device)[None], squared[None], k)
    return indices[0], squared[0]


def _k_smallest(indices: Tensor, squared: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row of `squared`, and their indices; equal ones in the order of the indices."""
    by_index = indices.argsort(dim=1)
    indices, squared = indices.gather(1, by_index), squared.gather(1, by_index)
    order = squared.argsort(dim=1, stable=True)[:, :k]
    return indices.gather(1, order), squared.gather(1, order)
