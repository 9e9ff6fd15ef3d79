"""Training images similar to an image: exact search (Figure 4, right), and search by short codes (Section 6.1)."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from alexnet.config.values import DataConfig
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.sets import open_data
from alexnet.data.pack.splits import Split
from alexnet.data.sources.images import convert
from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.trained.codes import Codes, codes_file, encode, load_codes, nearest_codes, save_codes, train_codes
from alexnet.trained.features import image_features, split_features
from alexnet.trained.network import TrainedModel, load_trained
from alexnet.trained.weights import weights_digest

ROWS = 2**14
"""Images that are compared at a time."""
EXTRA = 64
"""Candidates beyond k that the float32 pass keeps, since rounding can reorder near-ties."""
PRECISION_AT = (1, 10, 50)
MAX_QUERIES = 2000
"""Queries that precision is measured on, at most."""
FIGURE_4 = 5
"""Query images in the paper's figure."""


def nearest_neighbors(
    queries: Tensor, database: NDArray[np.float32], *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return indices and distances, both [Q, k], of the rows of a database [N, D] nearest to each query float32 [Q, D].

    Candidates are found by float32 products on the queries' device, and ranked by float64 distances.

    Raises:
        UserError: the database has fewer than k rows.
    """
    if not 1 <= k <= len(database):
        raise UserError(f"{k} nearest neighbors of {len(database):,} images: choose 1 to {len(database):,}")
    device = queries.device
    origin = torch.from_numpy(database[:ROWS].mean(axis=0)).to(device)  # smaller norms, so smaller rounding errors
    estimates = torch.empty(len(queries), 0, device=device)
    candidates = torch.empty(len(queries), 0, dtype=torch.int64, device=device)
    for start in range(0, len(database), ROWS):
        rows = torch.from_numpy(database[start : start + ROWS]).to(device) - origin
        squared = rows.square().sum(dim=1) - 2 * (queries - origin) @ rows.T  # the query's own norm changes no order
        numbers = torch.arange(start, start + len(rows), device=device).expand_as(squared)
        estimates = torch.cat([estimates, squared], dim=1)
        estimates, chosen = estimates.topk(min(k + EXTRA, estimates.shape[1]), largest=False)
        candidates = torch.cat([candidates, numbers], dim=1).gather(1, chosen)
    indices, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    for number, query in enumerate(queries.double().cpu().numpy()):
        rows_of_query = np.sort(candidates[number].cpu().numpy())
        exact = np.sqrt(np.square(database[rows_of_query] - query).sum(axis=1))
        order = exact.argsort(kind="stable")[:k]  # ties by lower index
        indices[number], distances[number] = rows_of_query[order], exact[order]
    return indices, distances


def nearest_training_images(
    trained: TrainedModel, images: NDArray[np.uint8], train: Split, *, layer: str, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the training images nearest to images uint8 [N, S, S, 3], by the center crops' features."""
    return nearest_neighbors(
        image_features(trained, images, layer=layer), split_features(trained, train, layer=layer), k=k
    )


def find_similar(
    run: Path, source: Path, *, queries: list[Path], layer: str, bits: int | None, k: int, seed: int, console: Console
) -> None:
    """Print the k training images nearest to each query, exactly or by existing codes of `bits`.

    Without image files, five held-out images of the pack are drawn by `seed`, as many as in Figure 4.

    Raises:
        UserError: the run, the pack, an image or the codes cannot be used.
    """
    trained, pack = _open(run, source)
    names, images = _read_images(queries, pack.image_size) if queries else _random_queries(pack, seed)
    train = pack.splits["train"]
    if not 1 <= k <= len(train):
        raise UserError(f"-k {k}: the pack has {len(train):,} training images")
    if bits is None:
        indices, distances = nearest_training_images(trained, images, train, layer=layer, k=k)
    else:
        codes = _matching_codes(trained, pack, layer, bits)
        packed = encode(codes.net, image_features(trained, images, layer=layer).cpu().numpy())
        indices, distances = nearest_codes(packed, codes.database, k=k)
    for name, *found in zip(names, indices, distances, strict=True):
        table = Table("training image", "class", "bits" if bits else "distance", box=SIMPLE)
        table.columns[2].justify = "right"
        for index, distance in zip(*found, strict=True):
            table.add_row(f"#{index}", Text(pack.class_names[train.labels[index]]), f"{distance:.6g}")
        console.print(Text(name, style="italic"), soft_wrap=True)
        console.print(table)


def make_codes(run: Path, source: Path, *, bits: int, layer: str, epochs: int, seed: int, console: Console) -> None:
    """Train codes for a pack's training images, save them with the run, and compare them with exact search.

    Queries are images of the pack's test split, or else of its validation split.

    Raises:
        UserError: the run, the pack or the layer cannot be used.
    """
    trained, pack = _open(run, source)
    train, held_out = pack.splits["train"], pack.splits.get("test", pack.splits.get("val"))
    if held_out is None:
        raise UserError(f"{pack.path} has training images only: held-out images are needed as queries")
    database = split_features(trained, train, layer=layer)
    net = train_codes(database, bits=bits, epochs=epochs, seed=seed, device=trained.device)
    packed = encode(net, database)
    path = codes_file(trained.directory, layer, bits)
    digest = weights_digest(str(trained.path))
    codes = Codes(net=net, bits=bits, layer=layer, database=packed, weights=digest, fingerprint=pack.fingerprint)
    save_codes(codes, path)

    chosen = np.sort(np.random.default_rng(0).permutation(len(held_out))[:MAX_QUERIES])
    queries, labels = split_features(trained, held_out, layer=layer)[chosen], held_out.labels[chosen]
    depth = min(max(PRECISION_AT), len(train))
    exact, _ = nearest_neighbors(torch.from_numpy(queries).to(trained.device), database, k=depth)
    by_code, _ = nearest_codes(encode(net, queries), packed, k=depth)
    searches = {
        "exact": {"precision": precision(train.labels[exact], labels), "bytes_per_image": database[0].nbytes},
        "codes": {"precision": precision(train.labels[by_code], labels), "bytes_per_image": packed[0].nbytes},
    }
    facts = {"run": trained.name, "layer": layer, "dimensions": database.shape[1], "bits": bits}
    facts |= {"queries": len(queries), "images": len(train)}
    replace_file(path.with_suffix(".json"), f"{json.dumps(facts | searches, indent=2)}\n".encode())
    title = (
        f"{trained.name}: {len(queries):,} queries among {len(train):,} training images,"
        f" {layer} ({database.shape[1]} units)"
    )
    depths = [k for k in PRECISION_AT if k <= depth]
    headings = ("search by", *(f"precision at {k}" for k in depths), "bytes an image")
    table = Table(*headings, title=title, title_justify="left", box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, search in zip(("Euclidean distance", f"{bits}-bit codes"), searches.values(), strict=True):
        shares = (f"{100 * search['precision'][k]:.1f} %" for k in depths)
        table.add_row(name, *shares, f"{search['bytes_per_image']:,}")
    console.print(table)
    console.print(f"-> {path}", highlight=False, soft_wrap=True)


def precision(found: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[int, float]:
    """Return the share of the first k neighbors that have the query's class; `found` are classes [Q, K]."""
    correct = found == labels[:, None]
    return {k: float(correct[:, :k].mean()) for k in PRECISION_AT if k <= found.shape[1]}


def _open(run: Path, source: Path) -> tuple[TrainedModel, Pack]:
    trained = load_trained(run)
    # Any source of images will do; a pack of another size is refused.
    return trained, open_data(DataConfig(name="folder", root=str(source)), trained.config.scale.image_size)


def _matching_codes(trained: TrainedModel, pack: Pack, layer: str, bits: int) -> Codes:
    """Load the codes next to the run; refuse those of other weights or images."""
    path = codes_file(trained.directory, layer, bits)
    codes = load_codes(path, trained.device)
    if codes.weights != weights_digest(str(trained.path)):
        raise UserError(f"{path} was made for other weights than {trained.path}; run alexnet codes again")
    if codes.fingerprint != pack.fingerprint:
        raise UserError(f"{path} has codes of other images than {pack.path}; run alexnet codes again")
    return codes


def _read_images(files: list[Path], size: int) -> tuple[list[str], NDArray[np.uint8]]:
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such image")
    squares = []
    for file, result in zip(files, convert(list(files), size), strict=True):
        if isinstance(result, str):
            raise UserError(f"{file} cannot be read: {result}")
        squares.append(result.square)
    return [str(file) for file in files], np.stack(squares)


def _random_queries(pack: Pack, seed: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Draw held-out images, or training images if the pack has no others."""
    name = next(name for name in ("test", "val", "train") if name in pack.splits)
    split = pack.splits[name]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:FIGURE_4])
    labels = [f"{name} #{number}, {pack.class_names[split.labels[number]]}" for number in chosen]
    return labels, split.gather(chosen)
