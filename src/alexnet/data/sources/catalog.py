"""The files of a source: names, sizes, places, and which of them are images of which split and class.

One SQLite table in an unnamed temporary file. As Python objects the entry of one image would take some 400 bytes, which
is gigabytes for fifteen million; SQLite keeps 2 MB in memory and sorts on disk (`$TMPDIR`, else /var/tmp).
"""

import hashlib
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet.errors import UserError

IN_FOLDER = -1  # archive number of files that lie in a folder as they are
SPLITS = ("train", "val", "test")


class File(NamedTuple):
    """A file of a source."""

    name: str  # '/'-separated, relative to the source
    size: int  # bytes
    archive: int  # which of the source's archives holds it; `IN_FOLDER` if none does
    place: int  # what the archive finds it by: the offset of its contents, or its number


class Catalog:
    """Files in the order in which they are listed, then images by class and name.

    Every method raises `UserError` if the disk has no room for temporary files. Close the catalog after use.
    """

    def __init__(self) -> None:
        self._table = sqlite3.connect("")  # a temporary file; nothing is ever committed
        self._table.text_factory = lambda data: data.decode(errors="surrogatepass")
        self._prefix = ""
        self._table.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
            "CREATE TABLE file (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, archive INTEGER, place INTEGER,"
            " split TEXT, label INTEGER)"
        )

    def close(self) -> None:
        """Delete the temporary file."""
        self._table.close()

    def add(self, files: Iterable[File]) -> None:
        """Append files."""
        # Bytes that sort as Python sorts the names; sqlite3 takes no text with bytes that are no UTF-8.
        rows = ((name.encode(errors="surrogatepass"), *rest) for name, *rest in files)
        self._change("INSERT INTO file (name, size, archive, place) VALUES (CAST(? AS TEXT), ?, ?, ?)", rows)

    def drop_superseded(self) -> None:
        """Keep the last file of each name: tar appends a new version of a file and leaves the old one."""
        twice = "SELECT name, max(id) AS last FROM file GROUP BY name HAVING count(*) > 1"
        superseded = f"SELECT id FROM file JOIN ({twice}) USING (name) WHERE id < last"
        self._change(f"DELETE FROM file WHERE id IN ({superseded})", [()])

    def names(self) -> Iterator[str]:
        """All names, in the order of the files."""
        return (name for (name,) in self._rows("SELECT name FROM file ORDER BY id"))

    def files(self) -> Iterator[File]:
        """All files, in their order."""
        return (File(*row) for row in self._rows("SELECT name, size, archive, place FROM file ORDER BY id"))

    def assign(self, place: Callable[[str], tuple[str, int] | None], prefix: str = "") -> None:
        """Make images of files: `place` gives a name's split and label, or None.

        `prefix`, which the names of all images begin with, is no longer part of them.
        """
        self._prefix = prefix
        names = self._rows("SELECT id, name FROM file ORDER BY id")
        found = ((place(name), number) for number, name in names)
        # SQLite allows changing the current row of a query that follows the primary key.
        self._change("UPDATE file SET split = ?, label = ? WHERE id = ?", ((*at, number) for at, number in found if at))

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
