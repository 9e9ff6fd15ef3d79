"""Images alike by the activations of one layer (Section 6.1), its features: exact search, and search by short codes."""

import json
from collections import OrderedDict
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.pack.pack import Pack
from alexnet.data.pack.splits import Split
from alexnet.data.sources.images import convert
from alexnet.errors import UserError, did_you_mean
from alexnet.evaluation import center_logits
from alexnet.files import check_writable, replace_file
from alexnet.net.dropout import UNITWISE
from alexnet.net.specs import LinearSpec
from alexnet.runs.directory import codes_file
from alexnet.trained.network import TrainedModel
from alexnet.trained.short_codes import Codes, load_codes, nearest_codes, train_codes
from alexnet.trained.weights import weights_digest

LAST_HIDDEN = "fc7"
"""The paper's "last, 4096-dimensional hidden layer"."""
ROWS = 2**14
"""Images that are compared at a time."""
EXTRA = 64
"""Candidates beyond k that the float32 pass keeps, since rounding can reorder near-ties."""
PRECISION_AT = (1, 10, 50)
MAX_QUERIES = 2000
"""Queries that precision is measured on, at most."""


def split_features(
    trained: TrainedModel, split: Split, *, layer: str = LAST_HIDDEN, batch_size: int = 256
) -> NDArray[np.float32]:
    """Compute the features [N, D] of every image, in the order of the split; D is 4096 for fc7.

    They are memory-mapped from a temporary file without a name: 21 GB for the training images of ILSVRC-2012.

    Raises:
        UserError: the net has no such layer, or the folder for temporary files is full.
    """
    with TemporaryFile(buffering=0) as file:  # closing has nothing left to write on a full disk
        for start in range(0, len(split), batch_size):
            indices = np.arange(start, min(start + batch_size, len(split)))
            part = image_features(trained, split.gather(indices), layer=layer).cpu().numpy()
            rest = part.data.cast("B")
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                need = f"the features need {len(split) * part[0].nbytes / 1e9:.1f} GB"
                raise UserError(f"{gettempdir()}: {error.strerror}; {need}, set TMPDIR") from None
        return np.asarray(np.memmap(file, np.float32, "c", shape=(len(split), part.shape[1])))


@torch.inference_mode()
def image_features(trained: TrainedModel, images: NDArray[np.uint8], *, layer: str) -> Tensor:
    """Compute the features float32 [N, D] of the center crops of images uint8 [N, S, S, 3], on the net's device."""
    batch = torch.from_numpy(images).to(trained.device)
    return center_logits(truncate_at(trained.net, layer), trained.augmenter, batch).flatten(1).float()


def truncate_at(net: nn.Sequential, layer: str) -> nn.Sequential:
    """Return the backbone that ends with a layer and the activation and dropout directly after it; modules are shared.

    In evaluation mode that dropout scales the units by their keep rate, as in the 2012 source (shownet.py, feature
    mode). UserError without such a layer.
    """
    children = list(net.named_children())
    names = [name for name, _ in children]
    if layer not in names:
        raise UserError(f"the net has no layer {layer}{did_you_mean(layer, names)}")
    end = names.index(layer) + 1
    following = takewhile(lambda child: isinstance(child[1], UNITWISE), children[end:])
    return nn.Sequential(OrderedDict([*children[:end], *following]))


def last_hidden(trained: TrainedModel) -> str | None:
    """Return the paper's fc7, or another net's last fully connected layer before the classifier; None without one."""
    hidden = [layer.name for layer in trained.net.specs if isinstance(layer, LinearSpec)][:-1]
    return LAST_HIDDEN if LAST_HIDDEN in hidden else next(reversed(hidden), None)


def nearest_neighbors(
    queries: Tensor, database: NDArray[np.float32], *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return indices and distances, both [Q, k], of the rows of a database [N, D] nearest to each query float32 [Q, D].

    Candidates are found by float32 products on the queries' device, and ranked by float64 distances.
    UserError if there are fewer than k.
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
    for number, query in enumerate(queries.cpu().double().numpy()):
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


def make_codes(
    trained: TrainedModel, pack: Pack, *, bits: int, layer: str, epochs: int, seed: int
) -> tuple[Path, dict[str, Any]]:
    """Train codes for a pack's training images and save them with the run; compare searches by them with exact ones.

    Return the file of the codes, and the comparison, which is written beside it as `.json`.

    Queries are images of the pack's test split, or else of its validation split.

    Raises:
        UserError: the pack or the layer cannot be used.
    """
    train, held_out = pack.splits["train"], pack.splits.get("test", pack.splits.get("val"))
    if held_out is None:
        raise UserError(f"{pack.path} has training images only: held-out images are needed as queries")
    path = codes_file(trained.directory, layer, bits)
    check_writable(path)
    features = split_features(trained, train, layer=layer)
    net = train_codes(features, bits=bits, epochs=epochs, seed=seed, device=trained.device)
    digest = weights_digest(str(trained.path))
    codes = Codes(net=net, layer=layer, database=net.encode(features), weights=digest, fingerprint=pack.fingerprint)
    codes.save(path)

    chosen = np.sort(np.random.default_rng(0).permutation(len(held_out))[:MAX_QUERIES])
    queries, labels = split_features(trained, held_out, layer=layer)[chosen], held_out.labels[chosen]
    depth = min(max(PRECISION_AT), len(train))
    exact, _ = nearest_neighbors(torch.from_numpy(queries).to(trained.device), features, k=depth)
    by_code, _ = nearest_codes(net.encode(queries), codes.database, k=depth)
    facts = {"run": trained.name, "layer": layer, "dimensions": features.shape[1], "bits": bits}
    facts |= {"queries": len(queries), "images": len(train)}
    for name, found, rows in (("exact", exact, features), ("codes", by_code, codes.database)):
        facts[name] = {"precision": precision(train.labels[found], labels), "bytes_per_image": rows[0].nbytes}
    replace_file(path.with_suffix(".json"), f"{json.dumps(facts, indent=2)}\n".encode())
    return path, facts


def precision(found: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[int, float]:
    """Return the share of the first k neighbors that have the query's class; `found` are classes [Q, K]."""
    correct = found == labels[:, None]
    return {k: float(correct[:, :k].mean()) for k in PRECISION_AT if k <= found.shape[1]}


def nearest_by_codes(
    trained: TrainedModel, images: NDArray[np.uint8], pack: Pack, *, layer: str, bits: int, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the training images whose codes, kept next to the run, are nearest to those of images [N, S, S, 3]."""
    path = codes_file(trained.directory, layer, bits)
    codes = load_codes(path, trained.device)
    if codes.weights != weights_digest(str(trained.path)):
        raise UserError(f"{path} was made for other weights than {trained.path}; run alexnet codes again")
    if codes.fingerprint != pack.fingerprint or len(codes.database) != len(pack.splits["train"]):
        raise UserError(f"{path} has codes of other images than {pack.path}; run alexnet codes again")
    return nearest_codes(
        codes.net.encode(image_features(trained, images, layer=layer).cpu().numpy()), codes.database, k=k
    )


def read_images(files: list[Path], size: int) -> NDArray[np.uint8]:
    """Read image files as uint8 [N, size, size, 3]; UserError names one that cannot be read."""
    squares = []
    for file, result in zip(files, convert(list(files), size), strict=True):
        if not file.is_file():
            raise UserError(f"{file}: {'it is a folder; give image files' if file.is_dir() else 'no such image'}")
        if isinstance(result, str):
            raise UserError(f"{file} cannot be read: {result}")
        squares.append(result.square)
    return np.stack(squares)


def draw_images(pack: Pack, count: int, seed: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Draw held-out images and their names, or training images if the pack has no others."""
    name = next(name for name in ("test", "val", "train") if name in pack.splits)
    split = pack.splits[name]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    labels = [f"{name} #{number}, {pack.class_names[split.labels[number]]}" for number in chosen]
    return labels, split.gather(chosen)
