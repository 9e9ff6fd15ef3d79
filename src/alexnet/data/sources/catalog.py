"""The files of a source: names, sizes, places, and which of them are images of which split and class.

One SQLite table in an unnamed temporary file. As Python objects the entry of one image would take some 400 bytes, which
is gigabytes for fifteen million; SQLite keeps 2 MB in memory and sorts on disk (`$TMPDIR`, else /var/tmp).
"""

import hashlib
import sqlite3
from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet.data.sources.file_names import in_order
from alexnet.errors import UserError

IN_FOLDER = -1  # archive number of files that lie in a folder as they are
SPLITS = ("train", "val", "test")
LEFT_OUT = "none"  # takes the place of a split's name for folders that the user leaves out
SUPERSEDED = "earlier versions of a file in an archive"
Place = tuple[str, str] | str
"""Split and class of an image, or the kind of "not used"."""


class File(NamedTuple):
    """A file of a source."""

    name: str  # '/'-separated, relative to the source
    size: int  # bytes
    archive: int  # which of the source's archives holds it; `IN_FOLDER` if none does
    place: int  # what the archive finds it by: the offset of its contents, or its number; in a folder, its identity
    unused: str | None = None  # the kind of "not used"; None for an image


class Unused(NamedTuple):
    """Files of one kind that are not used."""

    kind: str
    files: int
    example: str


class Catalog:
    """Files in the order in which they are listed, then images by class and name.

    Every file is an image with a split and a class, or has a kind of "not used"; so the sums come out even.

    Every method raises `UserError` if the disk has no room for temporary files. Close the catalog after use.
    """

    def __init__(self) -> None:
        self._table = sqlite3.connect("")  # a temporary file; nothing is ever committed
        self._table.text_factory = lambda data: data.decode(errors="surrogatepass")
        self._prefix = ""
        self._table.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
            "CREATE TABLE file (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, archive INTEGER, place INTEGER,"
            " unused TEXT, split TEXT, label INTEGER)"
        )

    def close(self) -> None:
        """Delete the temporary file."""
        self._table.close()

    def add(self, files: Iterable[File]) -> None:
        """Append files."""
        # Bytes that sort as Python sorts the names; sqlite3 takes no text with bytes that are no UTF-8.
        rows = ((name.encode(errors="surrogatepass"), *rest) for name, *rest in files)
        columns = "name, size, archive, place, unused"
        self._change(f"INSERT INTO file ({columns}) VALUES (CAST(? AS TEXT), ?, ?, ?, ?)", rows)

    def set_aside_superseded(self) -> None:
        """Keep the last file of each name: tar appends a new version of a file and leaves the old one."""
        twice = "SELECT name, max(id) AS last FROM file GROUP BY name HAVING count(*) > 1"
        superseded = f"SELECT id FROM file JOIN ({twice}) USING (name) WHERE id < last"
        self._change(f"UPDATE file SET unused = ? WHERE id IN ({superseded})", [(SUPERSEDED,)])

    def set_aside(self, names: Container[str], kind: str, *, images: bool = False) -> None:
        """Give files that are no images another kind of "not used", or images their first."""
        which = "NULL" if images else "NOT NULL"
        rows = self._rows(f"SELECT id, name, unused FROM file WHERE unused IS {which} ORDER BY id")
        chosen = (number for number, name, unused in rows if name in names and unused != SUPERSEDED)
        self._change("UPDATE file SET unused = ? WHERE id = ?", ((kind, number) for number in chosen))

    def recognize(self, kind: str, are_images: Iterable[bool]) -> None:
        """Make images of files of one kind: `are_images` has a value for each of them, in their order."""
        rows = self._rows("SELECT id FROM file WHERE unused = ? ORDER BY id", kind)
        found = (number for (number,), is_image in zip(rows, are_images, strict=True) if is_image)
        self._change("UPDATE file SET unused = NULL WHERE id = ?", ((number,) for number in found))

    def names(self) -> Iterator[str]:
        """The names of all images, in the order of the files."""
        return (name for (name,) in self._rows("SELECT name FROM file WHERE unused IS NULL ORDER BY id"))

    def files(self, *kinds: str) -> Iterator[File]:
        """All files, in their order, or those of some kinds of "not used"."""
        chosen = f"WHERE unused IN ({', '.join('?' * len(kinds))})" if kinds else ""
        query = f"SELECT name, size, archive, place, unused FROM file {chosen} ORDER BY id"
        return (File(*row) for row in self._rows(query, *kinds))

    def others(self) -> Iterator[File]:
        """The files that are no images, in their order."""
        query = "SELECT name, size, archive, place, unused FROM file WHERE unused IS NOT NULL ORDER BY id"
        return (File(*row) for row in self._rows(query) if row[-1] != SUPERSEDED)

    def unused(self) -> list[Unused]:
        """Count what is not used, the most frequent kind first."""
        query = "SELECT unused, count(*), min(name) FROM file WHERE unused IS NOT NULL GROUP BY unused"
        return [Unused(*row) for row in self._rows(f"{query} ORDER BY count(*) DESC, unused")]

    def total(self) -> int:
        """Count all files."""
        return int(next(self._rows("SELECT count(*) FROM file"))[0])

    def assign(self, place: Callable[[str], tuple[str, int] | str], prefix: str = "") -> None:
        """Give images their split and label: `place` returns them for a name, or the kind of "not used".

        It is called once for each image, in the order of the files. `prefix`, which the names of all images begin with,
        is no longer part of them.
        """
        self._prefix = prefix

        def values() -> Iterator[tuple[str | None, str | None, int | None, int]]:
            for number, name in self._rows("SELECT id, name FROM file WHERE unused IS NULL ORDER BY id"):
                at = place(name)
                yield (at, None, None, number) if isinstance(at, str) else (None, *at, number)

        # SQLite allows changing the current row of a query that follows the primary key.
        self._change("UPDATE file SET unused = ?, split = ?, label = ? WHERE id = ?", values())

    def relabel(self, labels: list[int]) -> None:
        """Replace each label by the one at its place in `labels`."""
        if labels != sorted(labels):
            self._table.create_function("relabeled", 1, labels.__getitem__, deterministic=True)
            self._change("UPDATE file SET label = relabeled(label) WHERE split IS NOT NULL", [()])

    def set_aside_same(self, kind: str) -> tuple[str, str] | None:
        """Keep the first of images that are one file in a folder, with one split and class, under several names.

        Returns two names of a file that has several splits or classes, if there is one.
        """
        there = f"archive = {IN_FOLDER} AND split IS NOT NULL AND place != 0"
        several = f"SELECT place, min(id) AS first FROM file WHERE {there} GROUP BY place HAVING count(*) > 1"
        differ = "one.split != two.split OR one.label != two.label"
        pairs = (
            f"FROM ({several}) AS same JOIN file AS one ON one.id = first JOIN file AS two ON two.place = same.place"
        )
        query = f"SELECT one.name, two.name {pairs} WHERE two.split IS NOT NULL AND ({differ}) LIMIT 1"
        for one, two in self._rows(query):
            return one, two
        others = f"SELECT file.id FROM file JOIN ({several}) AS same USING (place) WHERE {there} AND file.id > first"
        self._change(f"UPDATE file SET unused = ?, split = NULL, label = NULL WHERE id IN ({others})", [(kind,)])
        return None

    def hold_out(self, split: str, fraction: float, seed: int) -> None:
        """Move a share of the training images of each class to another split.

        The share, rounded, is at least one image, and never the last one: a class of one image stays in training. The
        choice depends on `seed` and the names only, and is the same with every version of every library.
        """
        held = array("q")
        rows = self._rows("SELECT label, name, id FROM file WHERE split = 'train' ORDER BY label")
        for _, of_class in groupby(rows, itemgetter(0)):
            ranked = sorted((self._hash_rank(name, seed), number) for _, name, number in of_class)
            count = min(max(1, round(fraction * len(ranked))), len(ranked) - 1)
            held.extend(number for _, number in ranked[:count])
        self._change("UPDATE file SET split = ? WHERE id = ?", ((split, number) for number in held))

    def counts(self) -> dict[str, int]:
        """Images by split, training first; without empty splits."""
        counts = dict(self._rows("SELECT split, count(*) FROM file WHERE split IS NOT NULL GROUP BY split"))
        return {split: counts[split] for split in SPLITS if split in counts}

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """int64 [n]: classes of the images of a split, ascending."""
        counts = "SELECT label, count(*) FROM file WHERE split = ? GROUP BY label ORDER BY label"
        labels, times = np.array(list(self._rows(counts, split)), np.int64).reshape(-1, 2).T
        return np.repeat(labels, times)

    def images(self, split: str) -> Iterator[str]:
        """The names of the images of a split, sorted by class, then name."""
        rows = self._rows("SELECT name FROM file WHERE split = ? ORDER BY label, name", split)
        return (name.removeprefix(self._prefix) for (name,) in rows)

    def located(self) -> Iterator[tuple[str, int, str, File]]:
        """Split, number among the split's sorted images, name and file of every image, in the order of the files."""
        number = "row_number() OVER (PARTITION BY split ORDER BY label, name) - 1"
        columns = f"split, {number}, name, size, archive, place"
        rows = self._rows(f"SELECT {columns} FROM file WHERE split IS NOT NULL ORDER BY id")
        return ((split, number, file[0].removeprefix(self._prefix), File(*file)) for split, number, *file in rows)

    def _hash_rank(self, name: str, seed: int) -> bytes:
        return hashlib.sha256(f"{seed}/{name.removeprefix(self._prefix)}".encode(errors="surrogateescape")).digest()

    def _rows(self, query: str, *values: Any) -> Iterator[Any]:
        with _temporary_file():
            cursor = self._table.execute(query, values)
            while rows := cursor.fetchmany(1000):
                yield from rows

    def _change(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with _temporary_file():
            self._table.executemany(statement, rows)


@contextmanager
def _temporary_file() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        what = f"temporary files cannot be written ({error})"
        raise UserError(f"{what}; set TMPDIR to a folder on a disk with room") from None


def number_classes(
    path: Path, catalog: Catalog, place: Callable[[str], Place], *, prefix: str = "", order: list[str] | None = None
) -> list[str]:
    """Give the images of a catalog their splits and labels by `place`, and return the classes by their numbers.

    Classes are numbered by name, or as `order` has them.

    Raises:
        UserError: a class has no training images.
    """
    numbers: dict[str, int] = {}
    pairs: set[tuple[str, str]] = set()

    def split_and_number(name: str) -> tuple[str, int] | str:
        at = place(name)
        if isinstance(at, str):
            return at
        pairs.add(at)
        return at[0], numbers.setdefault(at[1], len(numbers))

    catalog.assign(split_and_number, prefix)
    trained = {of_class for split, of_class in pairs if split == "train"}
    unknown = sorted((split, of_class) for split, of_class in pairs if of_class not in trained)
    if unknown and trained:
        split, of_class = unknown[0]
        count = sum(of == split for of, _ in unknown)
        close = next((name for name in trained if name.casefold() == of_class.casefold()), None)
        remedy = f"rename it to {close!r}" if close else "give both splits the same class folders"
        what = f"{split} has {count} class(es) without training images, such as {of_class!r}"
        raise UserError(f"{path}: {what}; {remedy}")
    if not trained and pairs:
        there = ", ".join(sorted({split for split, _ in pairs}))
        raise UserError(f"{path}: there are no training images, only {there}; add them")
    classes = [name for name in order if name in trained] if order else in_order(trained)
    ranks = {of_class: rank for rank, of_class in enumerate(classes)}
    catalog.relabel([ranks[of_class] for of_class in numbers])
    return classes
