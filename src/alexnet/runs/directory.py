"""The names of the files in a run directory, and the one reader and writer of its arrays."""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.files import replace_file

RESULT_FILE = "result.json"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.csv"
PREDICTIONS_FILE = "predictions.npz"
PROBABILITIES_FILE = "probabilities.npz"
FIRST_LAYER_FILE = "first_layer.npz"
LOCK_FILE = ".lock"
FIRST_LOCK = ".first.lock"
"""Held by the first of several processes that train one network."""
TERMINAL_LOG = "screen.log"
"""What a run prints when it shares the terminal with others."""
CHECKPOINTS = "checkpoints"
LAST = "last"
BEST = "best"
"""Names of checkpoints, without `.ckpt`."""
WANDB = "wandb"
COMPUTED = (RESULT_FILE, PREDICTIONS_FILE, PROBABILITIES_FILE, FIRST_LAYER_FILE, METRICS_FILE)
"""Files that a restarted run must not inherit."""

_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What numpy raises for a file that is no archive, truncated, or holds pickled objects."""

Arrays = Mapping[str, NDArray[Any]]


def last_checkpoint(directory: Path) -> Path:
    """Return the checkpoint that a run resumes from; it may not exist."""
    return directory / CHECKPOINTS / f"{LAST}.ckpt"


def weights_file(path: Path) -> Path:
    """Return `path` itself if it is a file, or the last checkpoint of a run directory.

    Raises:
        UserError: there is none.
    """
    for file in (path, last_checkpoint(path), path / f"{LAST}.ckpt"):
        if file.is_file():
            return file
    if path.is_dir():
        raise UserError(f"{path}: no {CHECKPOINTS}/{LAST}.ckpt in it; pass a run directory or a checkpoint")
    raise UserError(f"{path}: no such run directory or checkpoint")


def write_arrays(path: Path, arrays: Arrays, *, compress: bool = True) -> None:
    """Write an `.npz` file, complete or not at all."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())


@contextmanager
def open_arrays(path: Path, *, version: int | None = None) -> Iterator[Arrays]:
    """Open an `.npz` file; its `version` must be the given one. Arrays are read on access.

    Raises:
        UserError: the file is missing, damaged (also if that shows inside the `with`) or of another version.
    """
    try:
        # Opened here because numpy does not close a file that turns out to be no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if version is not None and (found := whole_number(arrays["version"], "version")) != version:
                raise ValueError(f"version: {found} is unknown")
            yield arrays
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged: {error}") from None


def whole_number(array: NDArray[Any], name: str) -> int:
    """Read a scalar array.

    Raises:
        ValueError: it is not a single whole number.
    """
    if array.shape != () or array.dtype.kind != "i":
        raise ValueError(f"{name}: not a whole number")
    return int(array)
