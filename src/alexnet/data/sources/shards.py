"""Sharded data sets as they are published: WebDataset, and parquet files of the Hugging Face hub.

A WebDataset sample is an image and its class, `000000.jpg` and `000000.cls`. A parquet file has a column of encoded
images and one of labels, and its metadata may name the classes; a few rows are in memory at a time. It needs pyarrow.
"""

import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, tee
from operator import attrgetter
from typing import Any

from alexnet.data.sources import file_names
from alexnet.data.sources.archives import Entry, Unreadable
from alexnet.data.sources.catalog import IN_FOLDER, File, Place, number_classes
from alexnet.data.sources.file_tree import FileTree, contents
from alexnet.errors import UserError, how_to_install

PARQUET = ".parquet files"
_READ = "parquet files, whose rows are images"
_IMAGES, _LABELS = ("image", "img", "jpg", "jpeg", "png", "webp"), ("label", "labels", "fine_label", "class", "cls")
_ROWS = 64  # in memory at a time


class ParquetFiles:
    """The parquet files of a source."""

    def __init__(self, tree: FileTree) -> None:
        """Find them. Raises `UserError` if they cannot be read, or only some of them name a split."""
        self._tree = tree
        self._files = list(tree.files.files(PARQUET))
        if any(file.archive != IN_FOLDER for file in self._files):
            raise UserError(f"{tree.path}: parquet files in an archive are not read; unpack it")
        self._splits = [_split_of(file.name) for file in self._files]
        if any(self._splits) and None in self._splits:
            name = self._files[self._splits.index(None)].name
            what = "does not name a split, as train-00000.parquet does; rename or move it"
            raise UserError(f"{tree.path}: {name} {what}")

    def notes(self) -> Iterator[str]:
        """What should be said: files that are missing by the names of the others, `train-00000-of-00002.parquet`."""
        numbered = (re.fullmatch(r"(.*)-\d+-of-(\d+).*", file.name) for file in self._files)
        for (name, total), count in Counter(found.groups() for found in numbered if found).items():
            if count < int(total):
                yield f"{count} of the {int(total)} files {name}-*.parquet are there"

    def list_images(self) -> list[str]:
        """Make the rows files of the catalog, `<file>#<row>`, and return the class names."""
        classes: list[str] = []
        for number, file in enumerate(self._files):
            with self._open(file) as table:
                found = _class_names(table, _column(table, _LABELS))
                if classes and found and found != classes:
                    what = f"{self._files[0].name} and {file.name} name their classes differently"
                    raise UserError(f"{self._tree.path}: {what}; keep the files of one set")
                classes = classes or found
                rows = range(table.metadata.num_rows)
                self._tree.files.add(File(f"{file.name}#{row:07d}", 0, number, row) for row in rows)
        self._tree.files.set_aside({file.name for file in self._files}, _READ)
        places = self._places(classes)

        def place(name: str) -> Place:
            return next(places) if f"{PARQUET.split()[0]}#" in name else "images beside parquet files"

        return number_classes(self._tree.path, self._tree.files, place, order=classes)

    def read(self, files: Iterable[File]) -> Generator[Entry, None, None]:
        """The images of rows, in their listed order."""
        for number, rows in groupby(files, attrgetter("archive")):
            with self._open(self._files[number]) as table:
                cells = enumerate(_cells(table, _column(table, _IMAGES)))
                for row in rows:
                    cell = next(cell for place, cell in cells if place == row.place)
                    data = cell.get("bytes") if isinstance(cell, dict) else cell
                    yield data if isinstance(data, bytes) else Unreadable("the row has no encoded image")

    def _places(self, classes: list[str]) -> Iterator[Place]:
        """Split and class of every row."""
        for file, split in zip(self._files, self._splits, strict=True):
            with self._open(file) as table:
                for cell in _cells(table, _column(table, _LABELS)):
                    label = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
                    if label is None or label != label or label in (-1, ""):  # the second is NaN
                        yield "images without labels"
                    elif isinstance(label, list | dict):
                        what = f"has several labels for an image: {label!r:.80}"
                        raise UserError(f"{self._tree.path / file.name} {what}; one class is needed")
                    elif not (classes and isinstance(label, int)):
                        yield split or "train", str(label)
                    elif 0 <= label < len(classes):
                        yield split or "train", classes[label]
                    else:
                        what = f"has the label {label}, and its metadata name {len(classes)} classes"
                        raise UserError(f"{self._tree.path / file.name} {what}; download it again")

    @contextmanager
    def _open(self, file: File) -> Iterator[Any]:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            what = f"parquet files need pyarrow: {how_to_install('parquet')}"
            raise UserError(f"{self._tree.path / file.name}: {what}") from None
        try:
            with ParquetFile(self._tree.path / file.name) as table:
                yield table
        except (ArrowException, OSError) as error:
            what = " ".join(str(error).split())
            raise UserError(f"{self._tree.path / file.name} is no readable parquet file: {what}") from None


def _split_of(name: str) -> str | None:
    """Return the split in a file's name, else in that of its folder, as in the hub's `default/train/0000.parquet`."""
    return next(filter(None, map(file_names.split_of_shard, reversed(name.split("/")))), None)


def _cells(table: Any, column: str) -> Iterator[Any]:
    for batch in table.iter_batches(batch_size=_ROWS, columns=[column]):
        yield from batch.column(0).to_pylist()


def _column(table: Any, names: tuple[str, ...]) -> str:
    """Return the column that has one of some names."""
    there = table.schema_arrow.names
    for name in names:
        if name in there:
            return name
    raise OSError(f"it has no column {' or '.join(names[:3])}, but {', '.join(there)}")


def _class_names(table: Any, label: str) -> list[str]:
    """Return the names that the hub's metadata gives the labels, all different; none if there is no such metadata."""
    try:
        features = json.loads(table.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        found = [str(name) for name in features[label]["names"]]
    except (TypeError, KeyError, ValueError):
        return []
    return file_names.told_apart(found, range(len(found)))


CLASS_FILES = ".cls files"
"""The kind of files that hold the class of a sample."""


class Samples:
    """The classes of WebDataset samples: `000000.cls` beside `000000.jpg`. Read along with the images, not kept."""

    def __init__(self, tree: FileTree) -> None:
        files, again = tee(tree.files.files(CLASS_FILES))
        self._read = zip(files, tree.read(again), strict=True)
        self._waiting: dict[str, str] = {}
        self._plain = any(map(_is_plain, tree.files.names()))
        """Whether there are images such as `000000.jpg`; then `000000.depth.png` is none of the set's."""

    def of(self, image: str) -> str | None:
        """The class of the next image; None if its sample has none."""
        if self._plain and not _is_plain(image):
            return None
        key = _sample(image)
        while key not in self._waiting and (read := next(self._read, None)):
            self._waiting[_sample(read[0].name)] = contents(read[1]).decode(errors="replace").strip()
        return self._waiting.pop(key, None) or None


def _is_plain(image: str) -> bool:
    return _sample(image) + image[len(image) - len(file_names.suffix_of(image)) :] == image


def _sample(name: str) -> str:
    """A name up to its first suffix: `000000` of `000000.seg.png`, and `2020.01` of `2020.01.jpg`."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + re.split(r"\.(?!\d)", file, maxsplit=1)[0]
