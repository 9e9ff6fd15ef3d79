"""CIFAR-10 as its authors publish it, in either form (https://www.cs.toronto.edu/~kriz/cifar.html).

`cifar-10-batches-bin/` has files of 3,073-byte records: one byte of label and 1,024 bytes each of red, green and blue,
row by row. `cifar-10-batches-py/` has the same numbers pickled; of a pickle only arrays, lists and texts are made, and
anything else is refused, so that nothing in it is executed. Pixels are taken as they are.
"""

import io
import pickle
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.data.sources.catalog import IN_FOLDER, File, number_classes
from alexnet.data.sources.file_tree import FileTree, read_named
from alexnet.data.sources.tables import text_lines
from alexnet.errors import UserError

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE
_CLASSES = 10
_BINARY = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin", "batches.meta.txt")
_PICKLED = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_READ = "files of records, which are images"


def form_of(names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the files of the published form that files of these names are: five of training, test and class names."""
    first = {_file(name) for name in names} & {_BINARY[0], _PICKLED[0]}
    return None if not first else _BINARY if _BINARY[0] in first else _PICKLED


def list_images(tree: FileTree, form: tuple[str, ...]) -> list[str]:
    """Fill the catalog with the images of train and test, `<file>#<number in the file>`; return the class names.

    Raises:
        UserError: something is missing or damaged.
    """
    places: dict[str, tuple[str, str]] = {}
    for file, labels, _ in _batches(tree, form):
        split = "test" if file == _BINARY[5] else "train"
        places |= {f"{file}#{number:05d}": (split, str(label)) for number, label in enumerate(labels.tolist())}
    members = _members(tree, form)
    tree.files.set_aside(set(members.values()), _READ)
    tree.files.add(File(name, _RECORD, IN_FOLDER, 0) for name in places)
    numbers = number_classes(tree.path, tree.files, lambda name: places.get(name, "other images"))
    ((name, contents),) = read_named(tree, lambda name: name == members[form[6]])
    if form is _BINARY:
        names = " ".join(text_lines(contents)).split()
    else:
        names = [_text(word) for word in _unpickled(tree, name, contents).get(b"label_names", [])]
    if len(names) != _CLASSES:
        raise UserError(f"{tree.path}: {name} names {len(names)} classes instead of {_CLASSES}; download it again")
    return [names[int(number)] for number in numbers]


def images(tree: FileTree, form: tuple[str, ...]) -> Generator[npt.NDArray[np.uint8], None, None]:
    """Every image in the order of its number, uint8 [32, 32, 3]."""
    for _, _, pixels in _batches(tree, form):
        yield from np.ascontiguousarray(pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _batches(
    tree: FileTree, form: tuple[str, ...]
) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.uint8]]]:
    """Name, labels [n] and pixels, uint8 [n, 3072], of each of the six files."""
    members = _members(tree, form)
    for name, contents in read_named(tree, {members[file] for file in form[:6]}.__contains__):
        what = "damaged or cut short" if form is _BINARY else "no pickle of images"
        damaged = UserError(f"{tree.path}: {name} is {what}; download it again")
        if form is _BINARY:
            data = np.frombuffer(contents, np.uint8)
            if len(data) == 0 or len(data) % _RECORD:
                raise damaged
            labels, pixels = data[::_RECORD].astype(np.int64), data.reshape(-1, _RECORD)[:, 1:]
        else:
            batch = _unpickled(tree, name, contents)
            try:
                labels, pixels = np.array(batch[b"labels"], np.int64), batch[b"data"].array()
            except (KeyError, AttributeError, TypeError, ValueError):
                raise damaged from None
            if labels.ndim != 1 or pixels.shape != (len(labels), _RECORD - 1):
                raise damaged
        if ((labels < 0) | (labels >= _CLASSES)).any():
            raise damaged
        yield f"{_file(name).removesuffix('.bin')}.bin", labels, pixels  # one name in both forms


def _members(tree: FileTree, form: tuple[str, ...]) -> dict[str, str]:
    """Find the files of a form: their paths by name."""
    members: dict[str, str] = {}
    for name in (file.name for file in tree.files.others() if _file(file.name) in form):
        if (other := members.setdefault(_file(name), name)) != name:
            raise UserError(f"{tree.path} has {other} and {name}; keep one of the two")
    if missing := [file for file in form if file not in members]:
        which = "binary" if form is _BINARY else "pickled"
        raise UserError(f"{tree.path} is CIFAR-10's {which} form without {', '.join(missing)}; download it again")
    return members


class _Array:
    """What an array in a pickle becomes: its parts, as they are."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> npt.NDArray[np.uint8]:
        """The array. Raises `ValueError` if it is not of bytes, or not of two dimensions."""
        _, shape, kind, by_column, data = self.state
        if not isinstance(kind, _Array) or not isinstance(data, bytes | bytearray) or len(shape) != 2:
            raise ValueError
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_column else "C")


class _Unpickler(pickle.Unpickler):
    """Makes no objects but `_Array`, whatever a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return lambda *_: _Array()
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickled(tree: FileTree, name: str, contents: bytes) -> dict[bytes, Any]:
    try:
        loaded = _Unpickler(io.BytesIO(contents), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"it holds a {type(loaded).__name__}")
        return {key if isinstance(key, bytes) else str(key).encode(): value for key, value in loaded.items()}
    except Exception as error:  # a damaged pickle can raise nearly anything
        what = f"is no pickle of CIFAR-10 ({' '.join(str(error).split())})"
        raise UserError(f"{tree.path}: {name} {what}; use cifar-10-binary.tar.gz instead") from None


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


def _file(name: str) -> str:
    return name.rsplit("/", 1)[-1]
