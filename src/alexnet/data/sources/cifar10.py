"""CIFAR-10 as its authors publish it: `cifar-10-batches-bin/`, files of 3,073-byte records.

A record is one byte of label and 1,024 bytes each of red, green and blue, row by row
(https://www.cs.toronto.edu/~kriz/cifar.html). Pixels are taken as they are. The published Python form is pickled and
therefore not read.
"""

from collections.abc import Generator, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from alexnet.data.sources.catalog import IN_FOLDER, Catalog, File
from alexnet.data.sources.file_tree import FileTree, read_named
from alexnet.errors import UserError

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE
_META = "batches.meta.txt"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = "test_batch.bin"
_CLASSES = 10


def is_binary(names: Iterable[str]) -> bool:
    """Whether files of these names are the published binary form."""
    return any(_file(name) == _TRAIN[0] for name in names)


def is_pickled(names: Iterable[str]) -> bool:
    """Whether files of these names are the published Python form."""
    return any(_file(name) == "data_batch_1" for name in names)


def list_images(tree: FileTree, catalog: Catalog) -> list[str]:
    """Fill a catalog with the images of train and test, named `<file>#<number in the file>`; return the class names.

    Raises:
        UserError: something is missing or damaged.
    """
    places: dict[str, tuple[str, int]] = {}
    for file, records in _batches(tree):
        split = "test" if file == _TEST else "train"
        places |= {f"{file}#{number:05d}": (split, label) for number, label in enumerate(records[:, 0].tolist())}
    catalog.add(File(name, _RECORD, IN_FOLDER, 0) for name in places)
    catalog.assign(places.get)
    ((name, contents),) = read_named(tree, lambda name: _file(name) == _META)
    names = contents.decode(errors="replace").split()
    if len(names) != _CLASSES:
        raise UserError(f"{tree.path}: {name} names {len(names)} classes instead of {_CLASSES}; download it again")
    return names


def images(tree: FileTree) -> Generator[npt.NDArray[np.uint8], None, None]:
    """Every image in the order of its number, uint8 [32, 32, 3]."""
    for _, records in _batches(tree):
        planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
        yield from np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _batches(tree: FileTree) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Name and records, uint8 [n, 3073], of each of the six files."""
    members = {_file(name): name for name in tree.files.names()}
    missing = [file for file in (*_TRAIN, _TEST, _META) if file not in members]
    if missing:
        raise UserError(f"{tree.path} is CIFAR-10's binary form without {', '.join(missing)}; download it again")
    wanted = {members[file] for file in (*_TRAIN, _TEST)}
    for name, contents in read_named(tree, wanted.__contains__):
        data = np.frombuffer(contents, np.uint8)
        if len(data) == 0 or len(data) % _RECORD or (data[::_RECORD] >= _CLASSES).any():
            raise UserError(f"{tree.path}: {name} is damaged or cut short; download it again")
        yield _file(name), data.reshape(-1, _RECORD)


def _file(name: str) -> str:
    return name.rsplit("/", 1)[-1]
