"""A folder or an archive, seen as a list of files; archives are read without unpacking them to disk."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import Protocol, TypeAlias

import zstandard

from alexnet.data.tars import (
    Stored,
    StrictHeader,
    first_bytes,
    folder_of,
    is_compressed,
    normal,
    stored_files,
    streamed_files,
)
from alexnet.errors import UserError

ARCHIVES = ".tar, .tar.gz, .tar.xz, .tar.bz2, .tar.zst or .zip"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zstandard.ZstdError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a zip compression that Python lacks
    RuntimeError,  # a zip with a password
    OSError,
)


Entry: TypeAlias = Path | Stored | bytes
"""A file on disk, a part of one, or contents that had to be decompressed."""


class Tree(Protocol):
    """Files under a root, by their '/'-separated names relative to it."""

    path: Path

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of every plain file."""
        ...

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, Entry]]:
        """Each wanted file once, in the order that is quickest; those that are stored as they are, not yet read."""
        ...


def open_tree(path: Path) -> Tree:
    """List a folder or an archive; a `UserError` where there is none or an archive is damaged."""
    if path.is_dir():
        return FolderTree(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such folder or archive")
    with reading(path):
        return ZipTree(path) if first_bytes(path).startswith(b"PK\x03\x04") else TarTree(path)


class FolderTree:
    """A directory and everything below it; symbolic links are followed, once round a loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.sizes = dict(sorted(_walk(path, "", ())))
        except OSError as error:
            raise UserError(f"{error.filename or path}: the folder cannot be read: {error.strerror}") from None

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, Entry]]:
        return ((name, self.path / name) for name in self.sizes if name in wanted)


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, int]]:
    """Names and sizes below `folder`; `above` are the directories on the way, against links that lead back up."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
            elif entry.is_file():
                yield prefix + entry.name, entry.stat().st_size


class ZipTree:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self._members = {normal(member.filename): member for member in archive.infolist() if not member.is_dir()}
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, Entry]]:
        with reading(self.path), zipfile.ZipFile(self.path) as archive:
            for name, member in self._members.items():
                if name in wanted:
                    yield name, archive.read(member)


class TarTree:
    """One or several tar archives, compressed or not, read from front to back; a tar in a tar is a folder."""

    def __init__(self, path: Path, tars: Iterable[str] = ("",)) -> None:
        """List the archive at `path`, or those of these names in the folder at `path`, each as a folder."""
        self.path = path
        self.sizes: dict[str, int] = {}
        self._tars = list(tars)
        # Of every name in `sizes`: the archive, and the offset of the contents, if compressed the number of the file.
        self._archives, self._places = array("i"), array("q")
        for archive, tar in enumerate(self._tars):
            with reading(path / tar):
                for name, place, size in _listed(path / tar):
                    self._add(folder_of(tar) + name if tar else name, archive, place, size)

    def _add(self, name: str, archive: int, place: int, size: int) -> None:
        """Tar keeps replaced files; the last of a name counts."""
        if name in self.sizes:
            index = list(self.sizes).index(name)
            del self.sizes[name], self._archives[index], self._places[index]
        self.sizes[name] = size
        self._archives.append(archive)
        self._places.append(place)

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, Entry]]:
        entries = zip(self._archives, self._places, self.sizes.items(), strict=True)
        found = ((archive, place, *item) for archive, place, item in entries if item[0] in wanted)
        for archive, group in groupby(found, lambda entry: entry[0]):
            path = self.path / self._tars[archive]
            if is_compressed(path):
                yield from _unpacked(path, {number: name for _, number, name, _ in group})
            else:
                yield from ((name, Stored(path, offset, size)) for _, offset, name, size in group)


def _listed(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of the files of a tar."""
    if not is_compressed(tar):
        return stored_files(tar)
    return ((name, number, size) for number, (name, size, _) in enumerate(streamed_files(tar)))


def _unpacked(tar: Path, left: dict[int, str]) -> Iterator[tuple[str, bytes]]:
    """The files of these numbers in a compressed tar, under these names."""
    with reading(tar):
        for number, (_, _, contents) in enumerate(streamed_files(tar)):
            if number in left:
                yield left.pop(number), contents()
            if not left:
                return


class WithTars:
    """A folder in which some tars are folders too."""

    def __init__(self, folder: "FolderTree", tars: Iterable[str]) -> None:
        self.path = folder.path
        self._folder, self._tars = folder, TarTree(folder.path, tars)
        self.sizes = _Both(folder.sizes, self._tars.sizes)

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, Entry]]:
        return chain(self._folder.read(wanted), self._tars.read(wanted))


class _Both(Mapping[str, int]):
    """Two mappings without a copy, which `ChainMap` makes when it is walked through."""

    def __init__(self, first: Mapping[str, int], second: Mapping[str, int]) -> None:
        self._first, self._second = first, second

    def __getitem__(self, name: str) -> int:
        return self._first[name] if name in self._first else self._second[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, self._second)

    def __len__(self) -> int:
        return len(self._first) + len(self._second)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise UserError(f"{path} is no readable archive ({ARCHIVES}), or is damaged or incomplete: {what}") from None


def contents(entry: Entry) -> bytes:
    """The bytes of a file of a tree."""
    return entry if isinstance(entry, bytes) else entry.read_bytes()


def tar_contents(path: Path, data: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and contents of the wanted files of a small archive in memory, which `path` names in errors."""
    with reading(path), tarfile.open(fileobj=io.BytesIO(data), tarinfo=StrictHeader) as archive:
        for member in archive:
            file = archive.extractfile(member) if wanted(normal(member.name)) else None
            if file is not None:
                yield normal(member.name), file.read()
