"""The files of tar and zip archives, listed in constant memory; a tar in a tar is a folder of its name.

A tar inside an uncompressed tar is a slice of one file, so its files are read in place, in any order.
"""

import bz2
import errno
import gzip
import io
import lzma
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

from zstandard import ZstdDecompressor

from alexnet.data.sources import file_names
from alexnet.data.sources.catalog import IN_FOLDER, File
from alexnet.errors import UserError

FORMATS = ".tar, .tar.gz, .tar.xz, .tar.bz2, .tar.zst or .zip"
_USUAL = (0, stat.S_IFREG, stat.S_IFDIR)  # what archives say of files and folders
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x28\xb5\x2f\xfd": lambda path: ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True),
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ": lzma.open,
    b"BZh": bz2.open,
}
"""How compressed files are read, by their first bytes."""
_PAUSES = (0.2, 1.0, 5.0)  # seconds between attempts
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.ENOTCONN, errno.EHOSTDOWN}
LINKS = "links in an archive"
SPECIAL = "pipes, sockets and devices"
_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
"""Headers that give the next member its name."""
_LONGEST_NAME = 2**16
_PADDING = 2**24
"""Bytes after the end of a tar in which another one is looked for: a sparse file has terabytes of zeros."""
_RATIO, _FREE_BYTES = 200, 2**30
"""A compressed tar of photographs grows by a few percent. One that claims to grow more than 200-fold, the first GiB
aside, is refused."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes that lie in a file, not yet read."""

    file: Path
    offset: int
    size: int
    whole: bool = False
    """Whether they should be the whole file."""

    def read_bytes(self) -> bytes:
        """Read the bytes. Raises `UserError` if the file cannot be read or has changed since it was listed."""
        try:
            data = patiently(self._read)
        except OSError as error:
            raise UserError(f"{self.file}: cannot be read: {error.strerror or error}") from None
        if len(data) < self.size:
            raise UserError(f"{self.file} has become shorter since it was listed; has it been replaced meanwhile?")
        if len(data) > self.size:
            raise UserError(f"{self.file} has grown since it was listed; has it been replaced meanwhile?")
        return data

    def _read(self) -> bytes:
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.size + self.whole)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be read, with the reason."""

    reason: str


Entry: TypeAlias = FileRange | bytes | Unreadable
"""A file on disk or a part of one, contents that had to be decompressed, or neither."""


def patiently(attempt: Callable[[], _T]) -> _T:
    """Try again, a few times, what fails as network drives do."""
    for seconds in _PAUSES:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(seconds)
    return attempt()


def listed(path: Path) -> Iterator[File]:
    """List the members of an archive, which has any name. Raises `UserError` if it is none, or damaged."""
    with _reading(path):
        yield from _zip_members(path) if _is_zip(path) else (member for member, _ in members(path))


@contextmanager
def opened(path: Path) -> Iterator[Callable[[File, int], Entry]]:
    """Open an archive; the value reads the first bytes of each member, which come in their listed order.

    Raises:
        UserError: it is damaged.
    """
    with _reading(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
                yield lambda file, most: _from_zip(archive, entries[file.place], most)
        elif _opener_of(path):
            found = members(path)
            yield lambda file, most: next(read for member, read in found if member.place == file.place)(most)
        else:
            yield lambda file, most: FileRange(path, file.place, most)


def _opener_of(path: Path) -> Callable[[Path], Any] | None:
    """Return what reads a compressed file, by its first bytes rather than its name; None if it is not compressed."""
    first = first_bytes(path)
    return next((opener for magic, opener in _OPENERS.items() if first.startswith(magic)), None)


def members(path: Path) -> Iterator[tuple[File, Callable[[int], bytes]]]:
    """List every member of a tar and of the tars in it, in their order, each with its reader.

    Folders that the tar names, and tars in it, are listed with a '/' at the end of their names. A reader takes the
    largest number of bytes, and works until the next member is listed. The place of a member is the offset of its
    contents, or its number in a compressed tar.

    Raises:
        tarfile.TarError, or what the decompressor raises: the tar is damaged or truncated.
    """
    opener, size = _opener_of(path), path.stat().st_size
    if opener is None:
        with path.open("rb") as stream:
            yield from _walk(stream, "r:", "", size)
        return
    with opener(path) as stream:
        for number, (member, read) in enumerate(_walk(stream, "r|", "", None)):
            if member.place + member.size > _RATIO * size + _FREE_BYTES:
                raise tarfile.ReadError(f"{member.name} would unpack to more than {_RATIO} times the archive's size")
            yield member._replace(place=number), read
        while stream.read(2**20):  # to the end, where the checksum is
            pass


def _walk(
    stream: Any, mode: Literal["r:", "r|"], prefix: str, end: int | None, start: int = 0
) -> Iterator[tuple[File, Callable[[int], bytes]]]:
    """List a tar that begins at byte `start` of the file and has `end` bytes; None: as many as come."""
    with tarfile.open(fileobj=stream, mode=mode, tarinfo=StrictHeader) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every header
            listed = _as_file(member, prefix, start)
            if member.size < 0 or (end is not None and listed.place + listed.size > start + end):
                raise tarfile.ReadError(f"unexpected end of data in {listed.name}")
            if member.issparse() and mode == "r:":
                raise tarfile.ReadError(f"{member.name} is a sparse file, which is not supported")
            if not (member.isfile() and listed.name.lower().endswith(".tar")):  # compressed ones are not looked into
                yield listed, partial(_contents, archive, member)
            else:
                folder = f"{listed.name[:-4]}/"
                yield listed._replace(name=folder), lambda _: b""
                inner = archive.extractfile(member)
                assert inner is not None  # a plain file
                if member.size:
                    try:
                        yield from _walk(inner, mode, folder, member.size, listed.place)
                    except tarfile.TarError as error:
                        raise tarfile.ReadError(f"{listed.name}: {error}") from None
            if prefix and archive.offset == end:
                return  # one in another tar may lack the zeros at its end, as for GNU tar
        rest, left = archive.fileobj, _PADDING
        while rest is not None and left > 0 and (data := rest.read(2**16)):
            left -= len(data)
            if (data := data.lstrip(b"\0")) and data[257:262] == b"ustar":
                raise tarfile.ReadError("another archive follows in the same file; unpack both (tar -i), or split it")
            if data:
                break


def _as_file(member: tarfile.TarInfo, prefix: str, start: int) -> File:
    name, place = prefix + normal(member.name), start + member.offset_data
    if member.isdir():
        return File(f"{name}/", 0, IN_FOLDER, place)
    if member.isfile():
        return File(name, member.size, IN_FOLDER, place)
    return File(name, 0, IN_FOLDER, place, LINKS if member.issym() or member.islnk() else SPECIAL)


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # a plain file
    data = file.read(most)
    if len(data) != min(member.size, most):
        raise tarfile.ReadError(f"{member.name} is cut short")
    return data


class StrictHeader(tarfile.TarInfo):
    """A header that must be sound: tarfile takes a damaged or missing one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # a block of zeros is the proper end
            raise tarfile.ReadError(f"unexpected end or damage ({error})") from None
        if member.size < 0:  # which leads back: older versions of tarfile never end
            raise tarfile.ReadError(f"{member.name} has {member.size:,} bytes")
        if member.type in _NAMES and member.size > _LONGEST_NAME:  # tarfile reads all of it
            raise tarfile.ReadError(f"a name of {member.size:,} bytes, and at most {_LONGEST_NAME:,} are read")
        return member


def normal(name: str) -> str:
    """Normalize `./a//b` and `/a/b` to `a/b`; nothing is ever written under these names."""
    if not name.startswith(("/", "./")) and "//" not in name and "/./" not in name:
        return name.rstrip("/")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def first_bytes(path: Path) -> bytes:
    """Read enough of a file to recognize its format."""
    with path.open("rb") as file:
        return file.read(6)


def _is_zip(path: Path) -> bool:
    """Whether a file is a zip archive by its contents; an empty one is."""
    return path.is_file() and first_bytes(path).startswith((b"PK\x03\x04", b"PK\x05\x06"))


def _zip_members(path: Path) -> Iterator[File]:
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
    for place, entry in enumerate(listed):
        if entry.flag_bits & 1:
            raise RuntimeError(f"{entry.filename} is encrypted; unpack it with its password")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        unused = LINKS if kind == stat.S_IFLNK else SPECIAL if kind not in _USUAL else None
        name = _zip_name(entry)
        yield File(normal(name) + "/" * name.endswith("/"), entry.file_size, IN_FOLDER, place, unused)


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name as it is meant: some programs of Windows write a backslash between folders, and macOS
    writes UTF-8 without saying so."""
    name = entry.filename.replace("\\", "/") if entry.create_system == 0 else entry.filename
    if not entry.flag_bits & 0x800:
        with suppress(UnicodeError):
            return name.encode("cp437").decode()
    return name


def _from_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes | Unreadable:
    try:
        with archive.open(member) as file:
            return file.read(most)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        return Unreadable(" ".join(str(error).split()) or type(error).__name__)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn damage of an archive into a `UserError` that names it."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # tarfile, zipfile and the decompressors raise a dozen kinds
        what = " ".join(str(error).split()) or type(error).__name__
        if file_names.kind_of(path.name) != file_names.ARCHIVES:
            raise UserError(f"{path} is a file; pass a folder of images, or an archive ({FORMATS})") from None
        hint = "; join its parts, or unpack it, first" if file_names.is_part(path.name) else ""
        form = f"no readable archive ({FORMATS}), or is damaged or incomplete"
        raise UserError(f"{path} is {form}: {what}{hint}") from None


def tar_contents(path: Path, data: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and contents of the wanted files of a small archive in memory, which `path` names in errors."""
    with _reading(path), tarfile.open(fileobj=io.BytesIO(data), tarinfo=StrictHeader) as archive:
        for member in archive:
            file = archive.extractfile(member) if wanted(normal(member.name)) else None
            if file is not None:
                yield normal(member.name), file.read()
