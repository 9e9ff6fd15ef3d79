"""Finding similar training images: exactly, and by short codes (section 6.1); `alexnet codes` and `alexnet similar`."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.config.groups import DataConfig
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.sets import open_data
from alexnet.data.sources.images import convert
from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.trained.codes import (
    Codes,
    Words,
    codes_file,
    encode,
    load_codes,
    nearest_codes,
    save_codes,
    train_codes,
)
from alexnet.trained.features import features
from alexnet.trained.neighbours import nearest_neighbours
from alexnet.trained.network import TrainedModel, load_trained
from alexnet.trained.similar import nearest_training_images, query_features
from alexnet.trained.weights import weights_digest

PRECISION_AT = (1, 10, 50)
"""Numbers of neighbours among which those of the query's class are counted."""
FIGURE_4 = 5
"""Query images that the paper's figure shows."""
_TIMED = 50
"""Queries that are timed one by one."""
_COMPARED = 2000
"""Queries that precision is measured on, at most."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well and how fast one way of searching finds images of the query's class."""

    way: str
    precision: dict[int, float]
    """k -> share of the k nearest training images that are of the query's class, over all queries."""
    bytes_per_image: int
    """What the database holds of an image."""
    milliseconds: float
    """Median time of one query among all training images, its features given."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Exact search against codes, on one net and pack."""

    run: str
    layer: str
    dimensions: int
    bits: int
    queries: int
    images: int
    """Training images that are searched."""
    device: str
    exact: Quality
    codes: Quality


def make_codes(
    run: Path, source: Path, *, bits: int, layer: str, epochs: int, seed: int, console: Console
) -> Comparison:
    """Train codes for the training images of a pack, keep them with the run, and compare them with exact search.

    Queries are the images of the pack's test split, or else of its validation split.

    Raises:
        UserError: the run, the pack or the layer cannot be used.
    """
    trained, pack = _opened(run, source)
    if not {"val", "test"} & pack.splits.keys():
        raise UserError(f"{pack.path} has only training images: held-out ones are needed to query with")
    database = features(trained.net, trained.augmenter, pack.splits["train"], layer=layer)
    net = train_codes(database, bits=bits, epochs=epochs, seed=seed, device=trained.device)
    codes = Codes(
        net=net,
        bits=bits,
        layer=layer,
        database=encode(net, database),
        weights=weights_digest(str(trained.path)),
        fingerprint=pack.fingerprint,
    )
    path = codes_file(trained.directory, layer, bits)
    save_codes(codes, path)
    compared = _compare(trained, pack, database, codes)
    content = json.dumps(asdict(compared), indent=2)
    replace_file(path.with_suffix(".json"), f"{content}\n".encode())
    console.print(comparison_table(compared))
    console.print(f"-> {path}", highlight=False, soft_wrap=True)
    return compared


def _opened(run: Path, source: Path) -> tuple[TrainedModel, Pack]:
    trained = load_trained(run)
    # Any source of images will do; a pack of another size is refused.
    data = DataConfig(name="folder", root=str(source))
    return trained, open_data(data, trained.config.scale.image_size)


def _compare(trained: TrainedModel, pack: Pack, database: NDArray[np.float32], codes: Codes) -> Comparison:
    split = pack.splits.get("test", pack.splits.get("val"))
    assert split is not None
    found = features(trained.net, trained.augmenter, split, layer=codes.layer)
    chosen = np.sort(np.random.default_rng(0).permutation(len(found))[:_COMPARED])
    queries, labels = found[chosen], split.labels[chosen]
    known = pack.splits["train"].labels
    depth = min(max(PRECISION_AT), len(known))
    vectors = torch.from_numpy(database).to(trained.device)
    near = nearest_neighbours(torch.from_numpy(queries).to(trained.device), vectors, k=depth).indices.numpy()
    words = encode(codes.net, queries)
    near_by_code = np.stack([nearest_codes(word, codes.database, depth)[0] for word in words])

    def exact_search(number: int) -> None:
        nearest_neighbours(torch.from_numpy(queries[number : number + 1]).to(trained.device), vectors, k=depth)

    def code_search(number: int) -> None:
        nearest_codes(encode(codes.net, queries[number : number + 1])[0], codes.database, depth)

    timed = min(_TIMED, len(queries))
    return Comparison(
        run=trained.name,
        layer=codes.layer,
        dimensions=database.shape[1],
        bits=codes.bits,
        queries=len(queries),
        images=len(known),
        device=str(trained.device),
        exact=Quality(
            way="Euclidean distance",
            precision=precision(known[near], labels),
            bytes_per_image=4 * database.shape[1],
            milliseconds=_milliseconds(exact_search, timed),
        ),
        codes=Quality(
            way=f"{codes.bits}-bit codes",
            precision=precision(known[near_by_code], labels),
            bytes_per_image=codes.database.itemsize * codes.database.shape[1],
            milliseconds=_milliseconds(code_search, timed),
        ),
    )


def precision(found: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[int, float]:
    """Share of the first k neighbours that are of the query's class; classes `found` [q, K], `labels` [q]."""
    right = found == labels[:, None]
    return {k: float(right[:, :k].mean()) for k in PRECISION_AT if k <= found.shape[1]}


def _milliseconds(search: Callable[[int], None], queries: int) -> float:
    times = []
    for number in range(queries):
        start = time.perf_counter()
        search(number)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def comparison_table(compared: Comparison) -> Table:
    """Precision, size and time of both ways."""
    title = (
        f"{compared.run}: {compared.queries:,} queries among {compared.images:,} training images,"
        f" {compared.layer} ({compared.dimensions} units)"
    )
    ways = (compared.exact, compared.codes)
    depths = list(compared.exact.precision)
    names = ["search by", *(f"precision at {k}" for k in depths), "bytes an image", "ms a query"]
    table = Table(*names, title=title, title_justify="left", box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    for way in ways:
        shares = (f"{100 * way.precision[k]:.1f} %" for k in depths)
        table.add_row(way.way, *shares, f"{way.bytes_per_image:,}", f"{way.milliseconds:.2f}")
    return table


@dataclass(frozen=True, kw_only=True)
class Similar:
    """The training images nearest to one query."""

    query: str
    indices: Indices
    """[k]: their numbers in the pack's training split, nearest first"""
    distances: NDArray[np.float64]
    """[k]: Euclidean, or Hamming in bits"""


def similar(
    run: Path, source: Path, *, queries: list[Path], layer: str, bits: int | None, k: int, seed: int, console: Console
) -> list[Similar]:
    """List the k nearest training images to each query: exactly, or by codes of `bits` made before.

    Without image files, five held-out images of the pack are drawn by `seed`, as many as Figure 4 shows.

    Raises:
        UserError: the run, the pack, an image or the codes cannot be used.
    """
    trained, pack = _opened(run, source)
    names, images = _from_files(queries, pack.image_size) if queries else _drawn(pack, seed)
    train = pack.splits["train"]
    if not 1 <= k <= len(train):
        raise UserError(f"-k {k}: the pack has {len(train):,} training images")
    if bits is None:
        near = nearest_training_images(trained, images, train, layer=layer, k=k)
        indices, distances = near.indices.numpy(), near.distances.numpy()
    else:
        codes = _codes_of(trained, pack, layer, bits)
        words = encode(codes.net, query_features(trained, images, layer=layer).cpu().numpy())
        indices, distances = _by_codes(words, codes.database, k)
    found = [
        Similar(query=name, indices=rows, distances=far)
        for name, rows, far in zip(names, indices, distances, strict=True)
    ]
    for one in found:
        console.print(Text(one.query, style="italic"), soft_wrap=True)
        console.print(similar_table(one, pack, unit="bits" if bits else "distance"))
    return found


def _by_codes(words: Words, database: Words, k: int) -> tuple[Indices, NDArray[np.float64]]:
    near = [nearest_codes(word, database, k) for word in words]
    return np.stack([rows for rows, _ in near]), np.stack([far for _, far in near]).astype(np.float64)


def _codes_of(trained: TrainedModel, pack: Pack, layer: str, bits: int) -> Codes:
    """The codes beside the run; refused where they are of other weights or images."""
    path = codes_file(trained.directory, layer, bits)
    codes = load_codes(path, trained.device)
    if codes.weights != weights_digest(str(trained.path)):
        raise UserError(f"{path} was made for other weights than {trained.path}: make it again with alexnet codes")
    if codes.fingerprint != pack.fingerprint:
        raise UserError(f"{path} holds codes of other images than {pack.path}: make it again with alexnet codes")
    return codes


def _from_files(files: list[Path], size: int) -> tuple[list[str], NDArray[np.uint8]]:
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: there is no such image")
    squares = []
    for file, result in zip(files, convert(list(files), size), strict=True):
        if isinstance(result, str):
            raise UserError(f"{file} cannot be read: {result}")
        squares.append(result.square)
    return [str(file) for file in files], np.stack(squares)


def _drawn(pack: Pack, seed: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Held-out images of the pack, of the training images where there are no others."""
    name = next(name for name in ("test", "val", "train") if name in pack.splits)
    split = pack.splits[name]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:FIGURE_4])
    labels = [f"{name} #{number}, {pack.class_names[split.labels[number]]}" for number in chosen]
    return labels, split.gather(chosen)


def similar_table(found: Similar, pack: Pack, *, unit: str) -> Table:
    """One row a neighbour."""
    table = Table("training image", "class", unit, box=SIMPLE)
    table.columns[2].justify = "right"
    labels = pack.splits["train"].labels
    for index, distance in zip(found.indices, found.distances, strict=True):
        table.add_row(f"#{index}", Text(pack.class_names[labels[index]]), f"{distance:.6g}")
    return table
