"""`predictions.npz`: the five most probable classes of each evaluated image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import UserError
from alexnet.runs.decode import require
from alexnet.runs.directory import PREDICTIONS_FILE, open_arrays, write_arrays
from alexnet.runs.result import ErrorRates


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPredictions:
    """Top-5 predictions for N images of one split in one view, in the order of the data set."""

    labels: NDArray[np.int32]
    """[N], the true class."""
    top5_classes: NDArray[np.int32]
    """[N, 5], most probable first; -1 where there are fewer than five classes."""
    top5_probabilities: NDArray[np.float32]
    """[N, 5], the probabilities of `top5_classes`; 0 where there is no class."""

    def __post_init__(self) -> None:
        shape = (len(self.labels), 5)
        require(self.labels.shape == shape[:1] and self.labels.size > 0, "labels", "not a list of labels")
        require(self.top5_classes.shape == shape, "top5_classes", f"{self.top5_classes.shape} instead of {shape}")
        require(self.top5_probabilities.shape == shape, "top5_probabilities", f"instead of {shape}")
        require(self.labels.dtype == np.int32 and self.labels.min() >= 0, "labels", "not classes as int32")
        require(self.top5_classes.dtype == np.int32, "top5_classes", "not int32")
        require(self.top5_probabilities.dtype == np.float32, "top5_probabilities", "not float32")

    @classmethod
    def from_top(cls, labels: ArrayLike, classes: ArrayLike, probabilities: ArrayLike) -> Self:
        """Build from labels [N] and the K <= 5 most probable classes with probabilities [N, K], of any numeric type."""
        top = np.asarray(classes, dtype=np.int32)
        missing = ((0, 0), (0, 5 - top.shape[1]))
        return cls(
            labels=np.asarray(labels, dtype=np.int32),
            top5_classes=np.pad(top, missing, constant_values=-1),
            top5_probabilities=np.pad(np.asarray(probabilities, dtype=np.float32), missing),
        )

    @property
    def top1_correct(self) -> NDArray[np.bool_]:
        """[N], whether the most probable class is the label."""
        return np.equal(self.top5_classes[:, 0], self.labels)

    @property
    def top5_correct(self) -> NDArray[np.bool_]:
        """[N], whether the label is among the five most probable classes."""
        return np.asarray(np.any(self.top5_classes == self.labels[:, None], axis=1))

    def error_rates(self) -> ErrorRates:
        """Return the errors for `Result.errors`, every image counted once."""
        incorrect = [int((~correct).sum()) for correct in (self.top1_correct, self.top5_correct)]
        images = len(self.labels)
        return ErrorRates(images=images, top1=incorrect[0] / images, top5=incorrect[1] / images)


def write_predictions(directory: Path, predictions: Mapping[str, Mapping[str, ViewPredictions]]) -> None:
    """Write `predictions.npz` (split -> view -> predictions) into `directory`, complete or not at all.

    Raises ValueError if two views of a split have different labels.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, views in predictions.items():
        for view, seen in views.items():
            if not np.array_equal(arrays.setdefault(f"{split}/labels", seen.labels), seen.labels):
                raise ValueError(f"the views of split {split} have different labels")
            arrays |= {f"{split}/{view}/{name}": array for name, array in _view_arrays(seen).items()}
    write_arrays(directory / PREDICTIONS_FILE, arrays)


def _view_arrays(seen: ViewPredictions) -> dict[str, NDArray[Any]]:
    return {
        "top5_classes": seen.top5_classes,
        "top5_probabilities": seen.top5_probabilities,
        "top1_right": seen.top1_correct,
        "top5_right": seen.top5_correct,
    }


def read_predictions(directory: Path, split: str, view: str) -> ViewPredictions:
    """Read one split and view from `predictions.npz`; UserError if the file is missing, damaged or without them."""
    path = directory / PREDICTIONS_FILE
    with open_arrays(path) as file:
        if f"{split}/{view}/top5_classes" not in file:
            raise UserError(f"{path}: holds no predictions for {split}/{view}")
        seen = ViewPredictions(
            labels=file[f"{split}/labels"],
            top5_classes=file[f"{split}/{view}/top5_classes"],
            top5_probabilities=file[f"{split}/{view}/top5_probabilities"],
        )
        for name in ("top1_right", "top5_right"):
            agrees = np.array_equal(file[f"{split}/{view}/{name}"], _view_arrays(seen)[name])
            require(agrees, f"{split}/{view}/{name}", "does not follow from labels and classes")
    return seen
