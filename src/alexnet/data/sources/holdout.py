"""Which training images become validation images where a source has no validation split."""

import hashlib

import numpy as np

from alexnet.data.sources.listing import Items
from alexnet.data.sources.scratch import full


def stratified_holdout(items: Items, fraction: float, seed: int) -> tuple[Items, Items]:
    """Divide images into training and validation, class by class.

    Of each class the share `fraction`, rounded, is held out: at least one image, and never the last one, so a class
    with a single image stays in training. The choice depends on `seed` and the names only, and is the same with every
    version of every library. Both keep the order of `items`.
    """
    held = full(len(items), np.False_)
    for places in items.by_class():
        count = min(max(1, round(fraction * len(places))), len(places) - 1)
        held[sorted(places, key=lambda place: _lot(seed, items.name(place)))[:count]] = True
    return items.divided(held)


def _lot(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
