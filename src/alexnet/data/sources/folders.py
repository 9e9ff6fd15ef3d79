"""A folder or an archive, seen as a list of files; archives are read without unpacking them to disk."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Protocol, TypeAlias

import zstandard

from alexnet.data.sources.listing import Chained, Listing, Names
from alexnet.data.sources.scratch import Column
from alexnet.data.sources.tars import (
    FileRange,
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


Entry: TypeAlias = Path | FileRange | bytes
"""A file on disk, a part of one, or contents that had to be decompressed."""


class FileTree(Protocol):
    """Files under a root, by their '/'-separated names relative to it."""

    path: Path

    @property
    def files(self) -> Names:
        """The name of every plain file, by number."""
        ...

    @property
    def folders(self) -> list[str]:
        """Names of folders, those of empty ones among them; some that hold files may be missing."""
        ...

    def read(self, numbers: Iterable[int]) -> Iterator[Entry]:
        """The files of these numbers, ascending; those that are stored as they are, not yet read."""
        ...


def open_tree(path: Path) -> FileTree:
    """List a folder or an archive; a `UserError` where there is none or an archive is damaged."""
    if path.is_dir():
        return FolderTree(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such folder or archive")
    with reading(path):
        return ZipTree(path) if first_bytes(path).startswith(b"PK\x03\x04") else TarTree(path)


class FolderTree:
    """A directory and everything below it, sorted; symbolic links are followed, once round a loop."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, Listing()
        self.folders: list[str] = []
        try:
            for name, size in _walk(path, "", ()):
                if name.endswith("/"):
                    self.folders.append(name[:-1])
                else:
                    self.files.add(name, size)
        except OSError as error:
            raise UserError(f"{error.filename or path}: the folder cannot be read: {error.strerror}") from None

    def read(self, numbers: Iterable[int]) -> Iterator[Entry]:
        return (self.path / self.files[number] for number in numbers)


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, int]]:
    """Names and sizes below `folder`, those of folders with a '/' at the end.

    `above` are the directories on the way, against links that lead back up.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name)
    for entry in entries:  # in the order in which their whole names would be sorted
        if entry.is_dir():
            yield f"{prefix}{entry.name}/", 0
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
        elif entry.is_file():
            yield prefix + entry.name, entry.stat().st_size


class ZipTree:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, Listing()
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
        self.folders = [normal(member.filename) for member in listed if member.is_dir()]
        members = {normal(member.filename): member for member in listed if not member.is_dir()}
        self._members = list(members.values())
        for name, member in members.items():
            self.files.add(name, member.file_size)

    def read(self, numbers: Iterable[int]) -> Iterator[Entry]:
        with reading(self.path), zipfile.ZipFile(self.path) as archive:
            for number in numbers:
                yield archive.read(self._members[number])


_Member: TypeAlias = tuple[str, int, int, int]
"""Name, size, archive and place of a file in a tar: the offset of its contents, or its number in a compressed one."""


class TarTree:
    """One or several tar archives, compressed or not, read from front to back; a tar in a tar is a folder."""

    def __init__(self, path: Path, tars: Iterable[str] = ("",)) -> None:
        """List the archive at `path`, or those of these names in the folder at `path`, each as a folder."""
        self.path, self._tars = path, list(tars)
        self.folders = [folder_of(tar)[:-1] for tar in self._tars if tar]
        self._take(self._all_members())
        gone = set(self.files.superseded())  # tar keeps replaced files; the last of a name counts
        if gone:
            self._take(member for number, member in enumerate(self._members()) if number not in gone)

    def _all_members(self) -> Iterator[_Member]:
        for archive, tar in enumerate(self._tars):
            with reading(self.path / tar):
                for inside, place, size in _listed(self.path / tar):
                    name = folder_of(tar) + inside if tar else inside
                    if name.endswith("/"):
                        self.folders.append(name[:-1])
                    else:
                        yield name, size, archive, place

    def _take(self, members: Iterable[_Member]) -> None:
        files, archives, places = Listing(), Column("i"), Column("q")
        for name, size, archive, place in members:
            files.add(name, size)
            archives.append(archive)
            places.append(place)
        self.files, self._archives, self._places = files, archives.array().data, places.array().data

    def _members(self) -> Iterator[_Member]:
        return zip(self.files, self.files.sizes, self._archives, self._places, strict=True)

    def read(self, numbers: Iterable[int]) -> Iterator[Entry]:
        for archive, group in groupby(numbers, self._archives.__getitem__):
            path = self.path / self._tars[archive]
            if is_compressed(path):
                yield from _unpacked(path, (self._places[number] for number in group))
            else:
                yield from (FileRange(path, self._places[number], self.files.sizes[number]) for number in group)


def _listed(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of the files of a tar."""
    if not is_compressed(tar):
        return stored_files(tar)
    return ((name, number, size) for number, (name, size, _) in enumerate(streamed_files(tar)))


def _unpacked(tar: Path, wanted: Iterator[int]) -> Iterator[bytes]:
    """The files of these numbers, ascending, in a compressed tar."""
    with reading(tar):
        next_one = next(wanted, None)
        for number, (_, _, contents) in enumerate(streamed_files(tar)):
            if number == next_one:
                yield contents()
                next_one = next(wanted, None)
            if next_one is None:
                return


class FolderWithTars:
    """A folder in which some tars are folders too."""

    def __init__(self, folder: FolderTree, tars: Iterable[str]) -> None:
        self.path = folder.path
        self._folder, self._tars = folder, TarTree(folder.path, tars)
        self.files: Names = Chained(folder.files, self._tars.files)
        self.folders = folder.folders + self._tars.folders

    def read(self, numbers: Iterable[int]) -> Iterator[Entry]:
        border = len(self._folder.files)
        for in_tars, group in groupby(numbers, lambda number: number >= border):
            if in_tars:
                yield from self._tars.read(number - border for number in group)
            else:
                yield from self._folder.read(group)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise UserError(f"{path} is no readable archive ({ARCHIVES}), or is damaged or incomplete: {what}") from None


def read_named(tree: FileTree, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the few files whose names are wanted."""
    named = {number: name for number, name in enumerate(tree.files) if wanted(name)}
    return ((name, contents(entry)) for name, entry in zip(named.values(), tree.read(named), strict=True))


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
