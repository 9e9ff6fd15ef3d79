"""The files of arrays (`.npz`) of a run: written whole, and read array by array, each against the form it must have.

`predictions.npz` has the five most probable classes of every evaluated image. `probabilities.npz` has the probabilities
of all classes, for averages of several nets: a class may be sixth for each net and third in the average.
`first_layer.npz` has the kernels of the first convolution, for Figure 3.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.directory import FIRST_LAYER_FILE, PREDICTIONS_FILE, PROBABILITIES_FILE
from alexnet.runs.result import ErrorRates
from alexnet.untrusted import MIB, Forms, check_unchanged, damage_named, open_regular, require

LARGEST_FILE = 64 * 2**30
"""With the probabilities of all classes."""
LARGEST_UNPACKED = 256 * MIB
"""Of one compressed array; the top-5 predictions of six million images."""
PROBABILITIES_VERSION = 1
FIRST_LAYER_VERSION = 1


class ArrayFile:
    """An open file of arrays."""

    def __init__(self, archive: zipfile.ZipFile, held: int) -> None:
        """`held` is the size of the file in bytes."""
        self._archive, self._held, self._forms = archive, held, Forms()

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def read(self, name: str, form: str, *, finite: bool = True) -> NDArray[Any]:
        """Read an array of a form such as `int32 [N, 5]`, where N is any size but 0, and the same in every form.

        Raises:
            KeyError: there is no such array.
            ValueError: it has another form, or numbers that are not `finite`.
        """
        entry = self._archive.getinfo(f"{name}.npy")
        stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED and entry.file_size <= LARGEST_UNPACKED
        require(entry.compress_size <= self._held and (stored or deflated), name, "larger than its file allows")
        with self._archive.open(entry) as member:
            size = self._forms.check(name, member, form)
            require(size == entry.file_size, name, f"{entry.file_size:,} bytes instead of {size:,}")
        with self._archive.open(entry) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        require(not finite or array.dtype.kind != "f" or bool(np.isfinite(array).all()), name, "not finite")
        return array


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compress: bool = True) -> None:
    """Write an `.npz` file, complete or not at all."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())


@contextmanager
def open_arrays(
    path: Path, *, version: int | None = None, sha256: str | None = None, most: int = 4 * LARGEST_UNPACKED
) -> Iterator[ArrayFile]:
    """Open an `.npz` file of at most `most` bytes; its `version` and its checksum must be the given ones.

    Raises:
        UserError: the file is missing, damaged (also if that shows inside the `with`) or of another version.
    """
    with damage_named(path), open_regular(path, most=most) as stream:
        check_unchanged(stream, sha256)
        held = stream.seek(0, io.SEEK_END)
        with zipfile.ZipFile(stream) as archive:
            file = ArrayFile(archive, held)
            if version is not None:
                found = int(file.read("version", "int32 []"))
                require(found == version, "version", f"{found} is unknown")
            yield file


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPredictions:
    """Predictions for N images of one split in one view, in the order of the data set."""

    labels: NDArray[np.int32]
    """[N], the true class."""
    top5_classes: NDArray[np.int32]
    """[N, 5], most probable first; -1 where there are fewer than five classes."""
    top5_probabilities: NDArray[np.float32]
    """[N, 5], the probabilities of `top5_classes`; 0 where there is no class."""
    probabilities: NDArray[np.float32] | None = None
    """[N, classes], those of all classes, where they are kept."""

    @classmethod
    def from_top(
        cls, labels: ArrayLike, classes: ArrayLike, top: ArrayLike, probabilities: NDArray[np.float32] | None = None
    ) -> Self:
        """Build from labels [N] and the K <= 5 most probable classes with probabilities [N, K], of any numeric type."""
        of_top = np.asarray(classes, dtype=np.int32)
        missing = ((0, 0), (0, 5 - of_top.shape[1]))
        return cls(
            labels=np.asarray(labels, dtype=np.int32),
            top5_classes=np.pad(of_top, missing, constant_values=-1),
            top5_probabilities=np.pad(np.asarray(top, dtype=np.float32), missing),
            probabilities=probabilities,
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
        top1, top5 = (int((~correct).sum()) / len(correct) for correct in (self.top1_correct, self.top5_correct))
        few = bool((self.top5_classes[:, 4] < 0).all())
        return ErrorRates(images=len(self.labels), top1=top1, top5=None if few else top5)


Predictions = Mapping[str, Mapping[str, ViewPredictions]]
"""By split and view."""


def write_predictions(directory: Path, predictions: Predictions) -> None:
    """Write `predictions.npz` into `directory`, complete or not at all.

    Raises ValueError if two views of a split have different labels.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, views in predictions.items():
        for view, seen in views.items():
            if not np.array_equal(arrays.setdefault(f"{split}/labels", seen.labels), seen.labels):
                raise ValueError(f"the views of split {split} have different labels")
            arrays[f"{split}/{view}/top5_classes"] = seen.top5_classes
            arrays[f"{split}/{view}/top5_probabilities"] = seen.top5_probabilities
            arrays[f"{split}/{view}/top1_right"] = seen.top1_correct
            arrays[f"{split}/{view}/top5_right"] = seen.top5_correct
    write_arrays(directory / PREDICTIONS_FILE, arrays)


def read_predictions(directory: Path, split: str, view: str, *, sha256: str | None = None) -> ViewPredictions:
    """Read one split and view from `predictions.npz`; UserError if the file is missing, damaged or without them."""
    path, name = directory / PREDICTIONS_FILE, f"{split}/{view}"
    with open_arrays(path, sha256=sha256) as file:
        if f"{name}/top5_classes" not in file:
            raise UserError(f"{path}: holds no predictions for {name}")
        seen = ViewPredictions(
            labels=file.read(f"{split}/labels", "int32 [N]"),
            top5_classes=file.read(f"{name}/top5_classes", "int32 [N, 5]"),
            top5_probabilities=file.read(f"{name}/top5_probabilities", "float32 [N, 5]", finite=False),
        )
        require(seen.labels.min() >= 0, f"{split}/labels", "name no class")
        for flag, follows in (("top1_right", seen.top1_correct), ("top5_right", seen.top5_correct)):
            agrees = np.array_equal(file.read(f"{name}/{flag}", "bool [N]"), follows)
            require(agrees, f"{name}/{flag}", "does not follow from labels and classes")
    return seen


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilitiesHeader:
    """The net and the images of a file of probabilities."""

    net: str
    """Name of the run."""
    fingerprint: str
    """Of the pack."""
    class_names: list[str]
    splits: list[str]


def write_probabilities(
    directory: Path, predictions: Predictions, *, net: str, fingerprint: str, class_names: list[str]
) -> None:
    """Write the probabilities of all classes into `probabilities.npz`, complete or not at all; they must be kept."""
    arrays: dict[str, ArrayLike] = {
        "version": np.int32(PROBABILITIES_VERSION),
        "net": net,
        "fingerprint": fingerprint,
        "class_names": class_names,
        "splits": list(predictions),
    }
    for split, views in predictions.items():
        for view, seen in views.items():
            assert seen.probabilities is not None
            arrays |= {f"{split}/labels": seen.labels, f"{split}/{view}": seen.probabilities}
    write_arrays(directory / PROBABILITIES_FILE, arrays, compress=False)


def read_header(directory: Path) -> ProbabilitiesHeader:
    """Read the net and its images; UserError if the file is missing, damaged or of an unknown version."""
    with open_arrays(directory / PROBABILITIES_FILE, version=PROBABILITIES_VERSION, most=LARGEST_FILE) as file:
        return ProbabilitiesHeader(
            net=str(file.read("net", "str []")),
            fingerprint=str(file.read("fingerprint", "str []")),
            class_names=file.read("class_names", "str [classes]").tolist(),
            splits=file.read("splits", "str [splits]").tolist(),
        )


def read_probabilities(directory: Path, split: str, view: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Read labels [N] and probabilities [N, classes]; UserError if the file is missing, damaged or without them."""
    path = directory / PROBABILITIES_FILE
    with open_arrays(path, version=PROBABILITIES_VERSION, most=LARGEST_FILE) as file:
        if f"{split}/{view}" not in file:
            raise UserError(f"{path}: holds no probabilities for {split}/{view}")
        classes = len(file.read("class_names", "str [classes]"))
        labels = file.read(f"{split}/labels", "int32 [N]")
        require(labels.min() >= 0 and labels.max() < classes, f"{split}/labels", "name no class")
        found = file.read(f"{split}/{view}", "float32 [N, classes]")
        are = found.min() >= 0 and np.abs(found.sum(axis=1) - 1).max() < 0.01
        require(bool(are), f"{split}/{view}", "no probabilities: a number is negative, or a row does not add up to 1")
        return labels, found


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstLayer:
    """The weights of the first convolution of a trained net."""

    kernels: NDArray[np.float32]
    """[channels, 3, k, k], RGB; the channels of the first column come first."""
    columns: int
    """Columns of the net: 1, or 2 as in the paper."""

    def by_column(self) -> list[NDArray[np.float32]]:
        """The kernels of each column, [channels / columns, 3, k, k]."""
        return np.split(self.kernels, self.columns)


def write_first_layer(directory: Path, layer: FirstLayer) -> None:
    """Write `first_layer.npz` into `directory`, complete or not at all."""
    numbers = {"version": np.array(FIRST_LAYER_VERSION, np.int32), "columns": np.array(layer.columns, np.int32)}
    write_arrays(directory / FIRST_LAYER_FILE, {**numbers, "kernels": layer.kernels})


def read_first_layer(directory: Path, *, sha256: str | None = None) -> FirstLayer:
    """Read `first_layer.npz`; UserError if the file is missing, damaged or of an unknown version."""
    with open_arrays(directory / FIRST_LAYER_FILE, version=FIRST_LAYER_VERSION, sha256=sha256) as file:
        kernels, columns = file.read("kernels", "float32 [channels, 3, k, k]"), int(file.read("columns", "int32 []"))
        fits = columns >= 1 and len(kernels) % columns == 0
        require(fits, "columns", f"{columns} columns do not divide {len(kernels)} channels")
        return FirstLayer(kernels=kernels, columns=columns)
