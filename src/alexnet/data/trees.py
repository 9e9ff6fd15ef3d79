"""A folder or an archive, seen as a list of files; archives are read without unpacking them to disk."""

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, Self

import zstandard

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


class Tree(Protocol):
    """Files under a root, by their '/'-separated names relative to it."""

    path: Path
    sizes: dict[str, int]
    """Bytes of every plain file."""

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Path | bytes]]:
        """The named files, each once, in the order that is quickest: a path to read, or the contents."""
        ...


def open_tree(path: Path) -> Tree:
    """List a folder or an archive; a `UserError` where there is none or an archive is damaged."""
    if path.is_dir():
        return FolderTree(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such folder or archive")
    with _reading(path):
        return ZipTree(path) if _first_bytes(path)[:4] == b"PK\x03\x04" else TarTree(path)


class FolderTree:
    """A directory and everything below it; symbolic links are followed, once round a loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.sizes = dict(sorted(_walk(path, "", ())))
        except OSError as error:
            raise UserError(f"{error.filename or path}: the folder cannot be read: {error.strerror}") from None

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Path | bytes]]:
        return ((name, self.path / name) for name in self.sizes if name in names)


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
            self._members = {_normal(member.filename): member for member in archive.infolist() if not member.is_dir()}
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Path | bytes]]:
        with _reading(self.path), zipfile.ZipFile(self.path) as archive:
            for name, member in self._members.items():
                if name in names:
                    yield name, archive.read(member)


class TarTree:
    """A tar archive, compressed or not, read from front to back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self._last: dict[str, int] = {}  # tar keeps replaced files; the last of a name counts
        with _open_tar(path) as archive:
            for number, member in enumerate(archive):
                if member.isfile():
                    self.sizes[_normal(member.name)] = member.size
                    self._last[_normal(member.name)] = number

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Path | bytes]]:
        wanted = {self._last[name]: name for name in names if name in self._last}
        with _reading(self.path), _open_tar(self.path) as archive:
            for number, member in enumerate(archive):
                if number in wanted:
                    yield wanted.pop(number), _contents(archive, member)
                if not wanted:
                    return


class _StrictHeader(tarfile.TarInfo):
    """A header that must be sound: tarfile by itself takes a damaged or missing one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # a block of zeros is the proper end
            raise tarfile.ReadError(f"unexpected end or damage ({error})") from None


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with ExitStack() as stack:
        stream = _decompressed(path, stack)
        if stream is None:
            yield stack.enter_context(tarfile.open(path, "r:", tarinfo=_StrictHeader))
        else:
            yield stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader))


def _decompressed(path: Path, stack: ExitStack) -> IO[bytes] | gzip.GzipFile | None:
    """The decompressed bytes of a file, told by its first bytes rather than by its name; None if not compressed."""
    first = _first_bytes(path)
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        file = stack.enter_context(path.open("rb"))
        reader: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return stack.enter_context(reader)
    if first.startswith(b"\x1f\x8b"):
        return stack.enter_context(gzip.open(path))
    if first.startswith(b"\xfd7zXZ"):
        return stack.enter_context(lzma.open(path))
    if first.startswith(b"BZh"):
        return stack.enter_context(bz2.open(path))
    return None


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # only plain files are listed
    data = file.read()
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return data


def _normal(name: str) -> str:
    """`./a//b` and `/a/b` are `a/b`; nothing is ever written under these names."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise UserError(f"{path} is no readable archive ({ARCHIVES}), or is damaged or incomplete: {what}") from None
