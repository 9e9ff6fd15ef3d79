"""`probabilities.npz`: the probabilities of all classes for each evaluated image.

Averaging several nets needs more than the five classes in `predictions.npz`: a class may be sixth for each net and
third in the average.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.runs.decode import require
from alexnet.runs.directory import PROBABILITIES_FILE, open_arrays, write_arrays

PROBABILITIES_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitProbabilities:
    """A net's probabilities for the N images of one split, in the order of the pack."""

    labels: NDArray[np.int32]
    """[N], the true class."""
    views: Mapping[str, NDArray[np.float32]]
    """By view: the probabilities of all classes, [N, classes]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilitiesHeader:
    """The net and the images of a file of probabilities."""

    net: str
    """Name of the run."""
    fingerprint: str
    """Of the pack."""
    class_names: list[str]
    splits: list[str]


def bytes_needed(images: int, classes: int, views: int) -> int:
    """Return the size of the probabilities in the file."""
    return images * classes * views * np.dtype(np.float32).itemsize


def write_probabilities(
    directory: Path, answers: Mapping[str, SplitProbabilities], *, net: str, fingerprint: str, class_names: list[str]
) -> None:
    """Write `probabilities.npz` into `directory`, complete or not at all."""
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array(PROBABILITIES_VERSION, np.int32),
        "net": np.array(net),
        "fingerprint": np.array(fingerprint),
        "class_names": np.array(class_names),
        "splits": np.array(list(answers)),
    }
    for split, said in answers.items():
        arrays[f"{split}/labels"] = said.labels.astype(np.int32)
        arrays |= {f"{split}/{view}": probabilities for view, probabilities in said.views.items()}
    write_arrays(directory / PROBABILITIES_FILE, arrays, compress=False)


def read_answered(directory: Path) -> ProbabilitiesHeader:
    """Read the net and its images; UserError if the file is missing, damaged or of an unknown version."""
    with open_arrays(directory / PROBABILITIES_FILE, version=PROBABILITIES_VERSION) as file:
        return ProbabilitiesHeader(
            net=str(file["net"]),
            fingerprint=str(file["fingerprint"]),
            class_names=[str(name) for name in file["class_names"]],
            splits=[str(split) for split in file["splits"]],
        )


def read_probabilities(directory: Path, split: str, view: str) -> SplitProbabilities:
    """Read one split and view; UserError if the file is missing, damaged or without them."""
    path = directory / PROBABILITIES_FILE
    with open_arrays(path, version=PROBABILITIES_VERSION) as file:
        if f"{split}/{view}" not in file:
            raise UserError(f"{path}: holds no probabilities for {split}/{view}")
        classes = len(file["class_names"])
        labels, probabilities = file[f"{split}/labels"], file[f"{split}/{view}"]
        require(labels.dtype == np.int32 and labels.ndim == 1 and len(labels) > 0, "labels", "not a list of labels")
        require(labels.min() >= 0 and labels.max() < classes, "labels", "name no class")
        fits = probabilities.shape == (len(labels), classes) and probabilities.dtype == np.float32
        require(fits, f"{split}/{view}", f"not probabilities of {classes:,} classes for every image")
        return SplitProbabilities(labels=labels, views={view: probabilities})
