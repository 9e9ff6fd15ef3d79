"""A folder or an archive as a list of files; archives are read without unpacking them to disk."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

import zstandard

from alexnet.data.sources import tars
from alexnet.data.sources.catalog import IN_FOLDER, Catalog, File
from alexnet.errors import UserError

ARCHIVES = ".tar, .tar.gz, .tar.xz, .tar.bz2, .tar.zst or .zip"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zstandard.ZstdError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,  # a zip with a password, or a compression that Python lacks
    OSError,
)

Entry: TypeAlias = Path | tars.FileRange | bytes
"""A file on disk, a part of one, or contents that had to be decompressed."""


class FileTree:
    """Files under a folder or in an archive, by their '/'-separated names relative to it. Close it after use."""

    def __init__(self, path: Path) -> None:
        """List a folder or an archive. Raises `UserError` if there is none, or the archive is damaged."""
        self.path, self.files = path, Catalog()
        self.folders: list[str] = []
        """Folders, empty ones included; some that hold files may be missing."""
        self._archives: list[Path] = []
        try:
            self._add(_in_folder(path, "", ()) if path.is_dir() else self._in_archive())
            if self._archives:
                self.files.drop_superseded()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                where = error.filename or path
                raise UserError(f"{where}: the folder cannot be read: {error.strerror}") from None
            raise

    def close(self) -> None:
        """Close the list of files."""
        self.files.close()

    def add_tars(self, names: Iterable[str]) -> None:
        """List what tars in this folder hold, each as a folder of its name."""
        self._add(file for name in names for file in self._in_tar(name))
        self.files.drop_superseded()

    def read(self, files: Iterable[File]) -> Generator[Entry, None, None]:
        """The contents of files, in their listed order; those that are stored as they are, not yet read."""
        for archive, group in groupby(files, attrgetter("archive")):
            path = self._archives[archive] if archive != IN_FOLDER else self.path
            if archive == IN_FOLDER:
                yield from (path / file.name for file in group)
            elif self._is_zip(path):
                with reading(path), zipfile.ZipFile(path) as opened:
                    members = opened.infolist()
                    yield from (opened.read(members[file.place]) for file in group)
            elif tars.is_compressed(path):
                with reading(path):
                    listed = enumerate(tars.streamed_files(path))
                    for file in group:
                        yield next(read() for place, (_, _, read) in listed if place == file.place)
            else:
                yield from (tars.FileRange(path, file.place, file.size) for file in group)

    def _add(self, listed: Iterable[File]) -> None:
        """Add what is listed to the files, or to the folders where the name ends with a '/'."""

        def files() -> Iterator[File]:
            for file in listed:
                if file.name.endswith("/"):
                    self.folders.append(file.name[:-1])
                else:
                    yield file

        self.files.add(files())

    def _in_archive(self) -> Iterator[File]:
        if not self.path.is_file():
            raise UserError(f"{self.path}: there is no such folder or archive")
        with reading(self.path):
            if not self._is_zip(self.path):
                yield from self._in_tar("")
                return
            self._archives.append(self.path)
            with zipfile.ZipFile(self.path) as archive:
                listed = archive.infolist()
            members = {tars.normal(entry.filename) + "/" * entry.is_dir(): place for place, entry in enumerate(listed)}
            yield from (File(name, listed[place].file_size, 0, place) for name, place in members.items())

    def _in_tar(self, tar: str) -> Iterator[File]:
        """The contents of the tar of this name in the folder, or of the archive itself."""
        prefix, path, number = tars.folder_of(tar) if tar else "", self.path / tar, len(self._archives)
        self._archives.append(path)
        if tar:
            yield File(prefix, 0, number, 0)
        with reading(path):
            files = tars.stored_files(path)
            if tars.is_compressed(path):
                files = ((name, place, size) for place, (name, size, _) in enumerate(tars.streamed_files(path)))
            yield from (File(prefix + name, size, number, place) for name, place, size in files)

    @staticmethod
    def _is_zip(path: Path) -> bool:
        return path.is_file() and tars.first_bytes(path).startswith(b"PK\x03\x04")


def _in_folder(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[File]:
    """What lies below `folder`, names of folders with a '/' at the end; symbolic links are followed.

    `above` are the folders on the way, against links that lead back up.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name)
    for entry in entries:  # in the order in which their whole names would be sorted
        if entry.is_dir():
            yield File(f"{prefix}{entry.name}/", 0, IN_FOLDER, 0)
            yield from _in_folder(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
        elif entry.is_file():
            yield File(prefix + entry.name, entry.stat().st_size, IN_FOLDER, 0)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn damage of an archive into a `UserError` that names it."""
    try:
        yield
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise UserError(f"{path} is no readable archive ({ARCHIVES}), or is damaged or incomplete: {what}") from None


def read_named(tree: FileTree, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the few files whose names are wanted."""
    named = [file for file in tree.files.files() if wanted(file.name)]
    return ((file.name, contents(entry)) for file, entry in zip(named, tree.read(named), strict=True))


def contents(entry: Entry) -> bytes:
    """The bytes of a file of a tree."""
    return entry if isinstance(entry, bytes) else entry.read_bytes()


def tar_contents(path: Path, data: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and contents of the wanted files of a small archive in memory, which `path` names in errors."""
    with reading(path), tarfile.open(fileobj=io.BytesIO(data), tarinfo=tars.StrictHeader) as archive:
        for member in archive:
            file = archive.extractfile(member) if wanted(tars.normal(member.name)) else None
            if file is not None:
                yield tars.normal(member.name), file.read()
