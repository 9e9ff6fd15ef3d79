"""Which training images become validation images where a source has no validation split."""

import hashlib
from collections import defaultdict

Item = tuple[str, int]


def hold_out(items: list[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Divide (name, class) pairs into training and validation, class by class.

    Of each class the share `fraction`, rounded, is held out: at least one image, and never the last one, so a class
    with a single image stays in training. The choice depends on `seed` and the names only, and is the same with every
    version of every library. Both lists keep the order of `items`.
    """
    classes: defaultdict[int, list[str]] = defaultdict(list)
    for name, label in items:
        classes[label].append(name)
    held = {name for names in classes.values() for name in _drawn(names, fraction, seed)}
    return [item for item in items if item[0] not in held], [item for item in items if item[0] in held]


def _drawn(names: list[str], fraction: float, seed: int) -> list[str]:
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    return sorted(names, key=lambda name: _lot(seed, name))[:count]


def _lot(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
