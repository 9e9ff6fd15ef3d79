"""A pack: a data set as square images of one size in one directory, read through memory maps.

    pack.json          what it is, for people and programs: format version, encoding, image size, class names, images
                       per split, how it was made, statistics, and the bytes and SHA-256 of every other file
    mean.npy           float32 [S, S, 3], the mean training image
    train-labels.npy   int64 [N], and one such file for every split (`train`; `val` and `test` where there are any)
    train-00000.raw    uint8 [n, S, S, 3] without a header: images in the order of the labels, at most 1 GiB a file
    rejected.txt       images of the source that could not be read: path, tab, reason; only where there are any

Nothing in a pack is ever unpickled. `alexnet.data.writer` makes packs.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.data.statistics import Statistics
from alexnet.errors import UserError

__all__ = ["FORMAT", "VERSION", "Pack", "Split", "Statistics", "is_pack", "open_pack"]

FORMAT = "alexnet pack"
VERSION = 1
ENCODINGS = ("raw",)
FULL_CHECK_BYTES = 2**30
"""Packs up to this size (a second of SHA-256) are compared with their checksums when opened, larger ones by size."""


class Split:
    """The images and labels of one split."""

    def __init__(self, shards: list[Path], image_size: int, labels: npt.NDArray[np.int64]) -> None:
        self.labels = labels
        """int64 [N]: the class of every image."""
        self._arguments = (shards, image_size, labels)
        shape = (-1, image_size, image_size, 3)
        self._shards = [np.asarray(np.memmap(shard, np.uint8, "r")).reshape(shape) for shard in shards]
        self._per_shard = len(self._shards[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process opens the files itself instead of being sent their contents.
        return Split, self._arguments

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images at `indices`, int [n] within [0, N), as uint8 [n, S, S, 3] in the order given."""
        indices = np.asarray(indices, np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"image indices must lie in [0, {len(self)})")
        images = np.empty((len(indices), *self._shards[0].shape[1:]), np.uint8)
        shard, row = np.divmod(indices, self._per_shard)
        for number in np.unique(shard):
            here = shard == number
            images[here] = self._shards[number][row[here]]
        return images


@dataclass(frozen=True, kw_only=True)
class Pack:
    """An open pack."""

    path: Path
    image_size: int
    """Side of the images, S, in pixels."""
    class_names: list[str]
    splits: dict[str, Split]
    """By name: "train", and "val" and "test" where the pack has them."""
    statistics: Statistics
    fingerprint: str
    """Hexadecimal; equal for equal images, labels and class names in the same order and splits."""


def is_pack(path: Path) -> bool:
    """Whether `path` is a directory that claims to be a pack; only `open_pack` finds out whether it is sound."""
    return (path / "pack.json").is_file()


def open_pack(path: Path) -> Pack:
    """Open a pack; a `UserError` names what is missing, short, half-written, altered or of an unknown version."""
    header = _read_header(path)
    try:
        _check_files(path, header["files"])
        return _open(path, header)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(path / "pack.json", f"it has an unusable entry ({type(error).__name__}: {error})") from None


def _open(path: Path, header: dict[str, Any]) -> Pack:
    size = int(header["image_size"])
    splits = {name: _open_split(path, name, entry, header) for name, entry in header["splits"].items()}
    if "train" not in splits:
        raise KeyError("train")
    return Pack(
        path=path,
        image_size=size,
        class_names=[str(name) for name in header["class_names"]],
        splits=splits,
        statistics=_statistics(path, size, header["statistics"]),
        fingerprint=_fingerprint(header),
    )


def _open_split(path: Path, name: str, entry: dict[str, Any], header: dict[str, Any]) -> Split:
    labels = np.load(path / entry["labels"], allow_pickle=False)
    split = Split([path / shard for shard in entry["shards"]], header["image_size"], labels)
    held = sum(len(shard) for shard in split._shards)
    if not (len(labels) == held == entry["images"]):
        raise ValueError(f"{name} has {entry['images']} images, {len(labels)} labels and shards of {held} images")
    if labels.dtype != np.int64 or labels.min() < 0 or labels.max() >= len(header["class_names"]):
        raise ValueError(f"{name} has labels that name no class")
    return split


def _statistics(path: Path, size: int, entry: dict[str, Any]) -> Statistics:
    mean_image = np.load(path / "mean.npy", allow_pickle=False)
    if mean_image.dtype != np.float32 or mean_image.shape != (size, size, 3):
        raise ValueError("mean.npy is no image of this size")
    return Statistics(
        mean_image=mean_image,
        covariance=np.array(entry["covariance"], np.float64).reshape(3, 3),
        eigenvalues=np.array(entry["eigenvalues"], np.float64).reshape(3),
        eigenvectors=np.array(entry["eigenvectors"], np.float64).reshape(3, 3),
    )


def _fingerprint(header: dict[str, Any]) -> str:
    """Over what a network can see: checksums of shards and labels, class names; not over how the pack was made."""
    splits = {
        name: [header["files"][file]["sha256"] for file in (entry["labels"], *entry["shards"])]
        for name, entry in header["splits"].items()
    }
    seen = [header["encoding"], header["image_size"], header["class_names"], splits]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"{path}: there is no such pack")
    if not is_pack(path):
        raise UserError(f"{path} is not a pack, or a half-copied one: it has no pack.json. Make one: alexnet prepare")
    try:
        header = json.loads((path / "pack.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _damaged(path / "pack.json", f"it cannot be read ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path}: its pack.json is not that of an {FORMAT}; give the path of another pack")
    if header.get("version") != VERSION or header.get("encoding") not in ENCODINGS:
        form = f"version {header.get('version')}, encoding {header.get('encoding')!r}"
        raise UserError(f"{path} is a pack of {form}; this program reads version {VERSION}, 'raw': prepare it again")
    return header


def _check_files(path: Path, files: dict[str, dict[str, Any]]) -> None:
    """Refuse files that are not as they were written; names cannot lead out of the pack."""
    for name, entry in files.items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise _damaged(file, "the file is missing")
        if file.stat().st_size != entry["bytes"]:
            raise _damaged(file, f"it has {file.stat().st_size:,} bytes instead of {entry['bytes']:,}")
    in_full = sum(entry["bytes"] for entry in files.values()) <= FULL_CHECK_BYTES
    for name, entry in files.items():
        if (in_full or name.endswith(".npy")) and file_sha256(path / name) != entry["sha256"]:
            raise _damaged(path / name, "its contents have changed since it was written (SHA-256 differs)")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(file: Path, what: str) -> UserError:
    return UserError(f"{file}: {what}; the pack is damaged or half-copied: delete {file.parent} and prepare it again")
