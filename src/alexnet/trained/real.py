"""ReaL: reassessed labels of ILSVRC-2012's validation images (Beyer et al. 2020, arXiv:2006.07159), as published.

`real.json` has a list of classes for each image, in the order of the images' numbers, classes by the order of their
WordNet IDs. A prediction is right if it is one of them; images with none are not counted.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alexnet.data.pack.pack import Pack
from alexnet.errors import UserError
from alexnet.runs.predictions import ViewPredictions
from alexnet.runs.result import ErrorRates

_MOST_BYTES = 2**26
_IMAGE = re.compile(r"(?:.*/)?ILSVRC2012_val_(\d{8})\b.*")


def real_errors(file: Path, pack: Pack, views: Mapping[str, ViewPredictions], classes: int) -> dict[str, ErrorRates]:
    """Count top-1 errors by the labels in `file`, by view of the pack's validation images; `classes` are the net's.

    Raises:
        UserError: the file is not such a list, or the pack does not hold those images with their names.
    """
    names = pack.path / "val-names.npy"
    if names.name not in pack.files:
        raise UserError(f"{pack.path} does not have the names of its validation images; prepare it again")
    listed = [name.decode(errors="replace") for name in np.load(names, allow_pickle=False).tolist()]
    numbers = [int(found[1]) if (found := _IMAGE.fullmatch(name)) else 0 for name in listed]
    labels = _read(file)
    if classes != 1000 or min(numbers) < 1 or max(numbers) > len(labels):
        raise UserError(
            f"{file} is about the 1,000 classes and validation images of ILSVRC-2012, and {pack.path} is not"
        )
    allowed = [frozenset(labels[number - 1]) for number in numbers]
    counted = np.array([bool(of_image) for of_image in allowed])
    errors = {}
    for view, seen in views.items():
        guessed = seen.top5_classes[:, 0].tolist()
        right = np.array([guess in of_image for guess, of_image in zip(guessed, allowed, strict=True)])
        images = int(counted.sum())
        errors[view] = ErrorRates(images=images, top1=int((counted & ~right).sum()) / images, top5=None)
    return errors


def _read(file: Path) -> list[list[int]]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        labels = json.loads(file.read_bytes())
        if not isinstance(labels, list) or not all(
            isinstance(of_image, list) and all(type(label) is int and 0 <= label < 1000 for label in of_image)
            for of_image in labels
        ):
            raise ValueError("it is no list of lists of classes")
        if not any(labels):
            raise ValueError("it labels no image")
    except (OSError, ValueError, RecursionError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{file}: cannot be read as ReaL labels ({what}); give the published real.json") from None
    return labels
