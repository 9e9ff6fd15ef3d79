"""Tables of labels, for images without class folders, and parquet files, whose rows are images.

A table of labels is one of these:

* a table with a header: CSV, or with tabs or semicolons; columns name the images, the classes and perhaps the splits;
* a table without: image, then class, separated by a tab, a comma or a space; what follows is not used (Tiny-ImageNet's
  `val_annotations.txt` goes on with a bounding box);
* one class a line, for the images in the order of their names.

An image is named by its path below the table's folder or the split's, or by its file name, with or without suffix.

Parquet is what the Hugging Face hub publishes: a column of encoded images, one of labels. The file's metadata may name
the classes. A few rows are in memory at a time. It needs pyarrow.
"""

import codecs
import csv
import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

from alexnet.data.sources import file_names
from alexnet.data.sources.catalog import IN_FOLDER, File, Place, number_classes
from alexnet.data.sources.file_names import IMAGE_SUFFIXES, split_of, suffix_of
from alexnet.data.sources.file_tree import Entry, FileTree
from alexnet.data.sources.tars import Unreadable
from alexnet.errors import UserError, how_to_install

SUFFIXES = (".csv", ".tsv", ".txt")
_IMAGE_WORDS = """
    image images image_id imageid image_name imagename image_path imagepath img id file files filename file_name
    filepath filepaths file_path path name"""
_LABEL_WORDS = """
    label labels class classes class_name classname class_id category target breed species wnid synset label_name
    dx y"""
_IMAGE_COLUMNS, _LABEL_COLUMNS = frozenset(_IMAGE_WORDS.split()), frozenset(_LABEL_WORDS.split())
_SPLIT_COLUMNS = frozenset(("split", "set", "subset", "dataset", "data_set", "partition", "fold"))


@dataclass
class Table:
    """The classes of images by their names without suffix, or of all images of a split in their order."""

    name: str
    classes: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    other_splits: set[str] = field(default_factory=set)
    """Words of the column of splits that name none."""
    lines: list[str] = field(default_factory=list)
    """One class a line, where the table does not name the images."""

    def label(self, images: list[str]) -> None:
        """Take the lines for the classes of images in this order."""
        self.classes = dict(zip(map(_stem, images), self.lines, strict=True))

    def key_of(self, image: str) -> str | None:
        """Return the name by which the table has an image, of those that it may have; None if it has none of them."""
        return next((key for key in _keys(image) if key in self.classes), None)

    def find(self, image: str) -> str | None:
        """Return the class of an image; None if the table does not have it."""
        key = self.key_of(image)
        return None if key is None else self.classes[key]

    def split_of(self, image: str) -> str | None:
        """Return the split of an image, if the table tells it."""
        return next((self.splits[key] for key in _keys(image) if key in self.splits), None)


def read_table(name: str, data: bytes) -> Table | None:
    """Read a table of classes; None for any other text.

    Raises:
        UserError: it gives an image two classes, or several columns could name the class.
    """
    lines = [line for line in _lines(data) if line.strip()]
    if not lines:
        return None
    separator = next((mark for mark in "\t,;" if mark in lines[0]), " ")
    try:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a field of more than 128 KiB
        return None
    if all(len(row) == 1 for row in rows):
        return Table(name, lines=[row[0].strip() for row in rows])
    header = [cell.strip().lower().replace(" ", "_") for cell in rows[0]]
    columns = _columns(name, header)
    if columns is None and _is_of_other_things(header, rows):
        return None
    image, label, split = columns or (0, 1, None)
    table = Table(name)
    for row in rows[1:] if columns else rows:
        if len(row) <= max(image, label, split or 0) or not (of_class := row[label].strip()):
            continue
        key = _stem(row[image].strip())
        if table.classes.setdefault(key, of_class) != of_class:
            raise UserError(f"{name} gives {key} the classes {table.classes[key]} and {of_class}; leave one of the two")
        if split is not None and (word := row[split].strip()):
            if of_split := split_of(word):
                table.splits[key] = of_split
            else:
                table.other_splits.add(word)
    return table if table.classes else None


def _lines(data: bytes) -> list[str]:
    """Decode a table: UTF-8, or UTF-16 as spreadsheets save it; other lines byte by byte, to keep names different."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace").splitlines()
    return [_text(line) for line in data.removeprefix(codecs.BOM_UTF8).splitlines()]


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _is_of_other_things(header: list[str], rows: list[list[str]]) -> bool:
    """Whether a first line that does not call the second column a class is a header nevertheless.

    The second of several columns may then be a width, or one class of many with 0 or 1.
    """
    if len(header) < 3 or header[0].startswith("#") or suffix_of(header[0]) in IMAGE_SUFFIXES:
        return False
    if header[1] in _label_words(header):
        return False
    known = not (_IMAGE_COLUMNS | _LABEL_COLUMNS).isdisjoint(header)
    return known or any(suffix_of(row[0].strip()) in IMAGE_SUFFIXES for row in rows[1:2])


def _columns(name: str, header: list[str]) -> tuple[int, int, int | None] | None:
    """Return the places of the columns of images, classes and splits; None if the first line is no header."""
    images = [place for place, word in enumerate(header) if word in _IMAGE_COLUMNS]
    words = _label_words(header)
    labels = [place for place, word in enumerate(header) if word in words and place not in images[:1]]
    if len(header) == 2 and len(images) == 1 and not labels:
        labels = [1 - images[0]]
    if not images or not labels:
        return None
    named = [place for place in labels if not header[place].endswith("id")] or labels
    if len(named) > 1:
        found = ", ".join(header[place] for place in named)
        raise UserError(f"{name} has several columns that could be the class: {found}; leave one of them")
    paths = [place for place in images if "path" in header[place] or "file" in header[place]]
    splits = [place for place, word in enumerate(header) if word in _SPLIT_COLUMNS]
    return (paths or images)[0], named[0], next(iter(splits), None)


def _label_words(header: list[str]) -> frozenset[str]:
    return _LABEL_COLUMNS - {"y"} if "x" in header else _LABEL_COLUMNS  # a point is no class


def _keys(image: str) -> Iterator[str]:
    """An image's path without suffix, then without its upper folders, one after the other."""
    key = _stem(image)
    yield key
    while "/" in key:
        key = key.partition("/")[2]
        yield key


def _stem(name: str) -> str:
    suffix = suffix_of(name)
    stem = name[: len(name) - len(suffix)] if suffix[1:2].isalpha() else name
    return str(PurePosixPath(stem.replace("\\", "/"))).lstrip("/")


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
                    if label is None or label in (-1, ""):
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
