"""Files that say which image is of which class, for images without class folders.

* a table with a header: CSV, with tabs or semicolons, or JSON lines; columns name the images, the classes and perhaps
  the splits;
* a table without: image, then class, separated by a tab, a comma or a space; what follows is not used (Tiny-ImageNet's
  `val_annotations.txt` goes on with a bounding box);
* one class a line, for the images in the order of their names.

An image is named by its path below the table's folder or the split's, or by its file name, with or without suffix.
"""

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from alexnet.data.sources.file_names import IMAGE_SUFFIXES, split_of, stem_of, suffix_of
from alexnet.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
_IMAGE_WORDS = """
    image images image_id imageid image_name imagename image_path imagepath img id file files filename file_name
    filepath filepaths file_path path name"""
_LABEL_WORDS = """
    label labels class classes class_name classname class_id classid category category_id target breed species wnid
    synset label_name dx y"""
_IMAGE_COLUMNS, _LABEL_COLUMNS = frozenset(_IMAGE_WORDS.split()), frozenset(_LABEL_WORDS.split())
_SPLIT_WORDS = "split set subset dataset data_set partition fold phase is_train is_val is_valid is_test"
_SPLIT_COLUMNS = frozenset(_SPLIT_WORDS.split())
_NO_LABEL = ("", "nan", "NaN")  # the latter two as programs write a missing value


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
    lines = [line for line in text_lines(data) if line.strip()]
    if not lines:
        return None
    separator = next((mark for mark in "\t,;" if mark in lines[0]), " ")
    try:
        is_json = name.lower().endswith(".jsonl")
        rows = _of_json(lines) if is_json else list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except (csv.Error, ValueError, AttributeError, RecursionError):  # a field of more than 128 KiB, or no objects
        return None
    if all(len(row) == 1 for row in rows):
        found = [row[0].strip() for row in rows]
        titled = found[0].lower() in _LABEL_COLUMNS and found.count(found[0]) == 1
        return Table(name, lines=found[titled:])
    header = [cell.strip().lower().replace(" ", "_") for cell in rows[0]]
    columns = _columns(name, header, rows[1:2])
    if columns is None and _is_of_other_things(header, rows):
        return None
    image, label, split = columns or (0, 1, None)
    table = Table(name)
    for row in rows[1:] if columns else rows:
        if len(row) <= max(image, label, split or 0) or (of_class := row[label].strip()) in _NO_LABEL:
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


def _of_json(lines: list[str]) -> list[list[str]]:
    """Return the rows of objects, one a line, under the keys of the first."""
    objects = [json.loads(line) for line in lines]
    keys = list(objects[0].keys())
    cells = ([one.get(key) for key in keys] for one in objects)
    return [keys, *(["" if cell is None else str(cell) for cell in row] for row in cells)]


def text_lines(data: bytes) -> list[str]:
    """Decode a text: UTF-8, or UTF-16 as spreadsheets save it; other lines byte by byte, to keep names different."""
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

    The second of several columns may then be a width, or one class of many with 0 or 1. So may a column of numbers
    among others without a header; and where a third has words that differ, either may be the class.
    """
    numbers = sum(len(row) > 2 and _is_number(row[1]) for row in rows)
    words = {cell.strip() for row in rows for cell in row[2:] if not _is_number(cell)} - {""}
    if 2 * numbers > len(rows) or len(words) > 1:
        return True
    if len(header) < 3 or header[0].startswith("#") or suffix_of(header[0]) in IMAGE_SUFFIXES:
        return False
    known = not (_IMAGE_COLUMNS | _LABEL_COLUMNS).isdisjoint(header)
    return known or any(suffix_of(row[0].strip()) in IMAGE_SUFFIXES for row in rows[1:2])


def _is_number(cell: str) -> bool:
    return cell.strip(" +-").replace(".", "", 1).isdecimal()


def _columns(name: str, header: list[str], first: list[list[str]]) -> tuple[int, int, int | None] | None:
    """Return the places of the columns of images, classes and splits; None if the first line is no header."""
    images = [place for place, word in enumerate(header) if word in _IMAGE_COLUMNS]
    words = _label_words(header)
    if not images and words.issuperset(header[1:2]) and suffix_of(header[0]) not in IMAGE_SUFFIXES:
        images = [0]
    labels = [place for place, word in enumerate(header) if word in words]
    if len(header) == 2 and len(images) == 1 and not labels:
        labels = [1 - images[0]]
    if not images or not labels:
        return None
    named = [place for place in labels if not header[place].endswith("id")] or labels
    if len(named) > 1:
        found = ", ".join(header[place] for place in named)
        raise UserError(f"{name} has several columns that could be the class: {found}; leave one of them")
    named_as_image = [suffix_of(cell.strip()) in IMAGE_SUFFIXES for row in first for cell in row]
    paths = [place for place in images if place < len(named_as_image) and named_as_image[place]]
    paths = paths or [place for place in images if "path" in header[place] or "file" in header[place]]
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
    stem = stem_of(name) if suffix_of(name) in IMAGE_SUFFIXES else name
    return str(PurePosixPath(stem.replace("\\", "/"))).lstrip("/")
