"""The files of tar archives, listed quickly and in constant memory; a tar in a tar is a folder of its name.

A tar inside an uncompressed tar is a slice of one file, so its files are read in place, in any order. Headers of plain
files are parsed here, four times faster than by `tarfile`, all others (long names, pax) by `tarfile`.
"""

import bz2
import errno
import gzip
import lzma
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from zstandard import ZstdDecompressor

from alexnet.errors import UserError

_BLOCK = tarfile.BLOCKSIZE
_CHECKSUM = slice(148, 156)
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
_RATIO, _FREE_BYTES = 200, 2**30
"""A compressed tar of photographs grows by a few percent. One that claims to grow more than 200-fold, the first GiB
aside, is refused."""

_T = TypeVar("_T")


class Member(NamedTuple):
    """A file of a tar; a folder's name ends with '/'."""

    name: str
    size: int
    offset: int
    """Of the contents; of no meaning in a compressed tar."""
    unused: str | None = None
    """What it is if it has no contents of its own."""


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


def is_tar(name: str) -> bool:
    """Whether a file of this name is looked into as a tar in a tar, where compressed ones are not."""
    return name.lower().endswith(".tar")


def folder_of(tar: str) -> str:
    """Return the folder that a tar in a tar is listed as: `train/n01440764/` for `train/n01440764.tar`."""
    return f"{tar[:-4]}/"


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, by its first bytes rather than its name."""
    return first_bytes(path).startswith(tuple(_OPENERS))


def stored_files(path: Path) -> Iterator[Member]:
    """List every member of an uncompressed tar and of the tars in it, in their order.

    Folders that the tar names, and tars in it, are listed with a '/' at the end of their names.

    Raises:
        tarfile.TarError: the tar is damaged or truncated.
    """
    with FileIO(path) as file:
        yield from _slice(file, 0, path.stat().st_size, "", nested=False)


def _slice(file: FileIO, at: int, end: int, prefix: str, *, nested: bool) -> Iterator[Member]:
    """List the tar in bytes [at, end); one in another tar may lack the zeros at its end, as for GNU tar."""
    while not (nested and at == end):
        file.seek(at)
        header = file.read(_BLOCK)
        if len(header) == _BLOCK and not any(header):
            return
        (name, size, offset, unused), after = _plain(header, at) or _special(file, at)
        if max(offset + size, at + _BLOCK) > end:
            raise tarfile.ReadError(f"unexpected end of data in {name or prefix}")
        at = after
        if is_tar(name) and not unused:
            yield Member(folder_of(prefix + name), 0, offset)
            with _inside(prefix + name):
                yield from _slice(file, offset, offset + size, folder_of(prefix + name), nested=True)
        else:
            yield Member(prefix + name, size, offset, unused)


def _plain(header: bytes, at: int) -> tuple[Member, int] | None:
    """Parse the header of a plain file, and the offset of the next header; None for any other header."""
    if len(header) < _BLOCK or header[156] not in b"0\0" or header[124] > 127:
        return None
    try:
        size, checksum = (int(field.rstrip(b" \0"), 8) for field in (header[124:136], header[_CHECKSUM]))
    except ValueError:
        return None
    name, above = (field.split(b"\0", 1)[0] for field in (header[:100], header[345:500]))
    if checksum != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ") or name.endswith(b"/"):
        return None
    full = (above + b"/" + name if above else name).decode(errors="surrogateescape")
    return Member(normal(full), size, at + _BLOCK), at + _BLOCK + -(-size // _BLOCK) * _BLOCK


def _special(file: FileIO, at: int) -> tuple[Member, int]:
    """Parse any other header by `tarfile`."""
    file.seek(at)
    archive = tarfile.TarFile(fileobj=file, tarinfo=StrictHeader)
    member = archive.firstmember  # type: ignore[attr-defined]
    if member is None:
        raise tarfile.ReadError("unexpected end of data")
    if member.issparse():
        raise tarfile.ReadError(f"{member.name} is a sparse file, which is not supported")
    return _member(member), archive.offset


def _member(member: tarfile.TarInfo, prefix: str = "") -> Member:
    name = prefix + normal(member.name)
    if member.isdir():
        return Member(f"{name}/", 0, member.offset_data)
    if member.isfile():
        return Member(name, member.size, member.offset_data)
    return Member(name, 0, member.offset_data, LINKS if member.issym() or member.islnk() else SPECIAL)


def streamed_files(path: Path) -> Iterator[tuple[Member, Callable[[int], bytes]]]:
    """List every member of a compressed tar and of the tars in it, in their order, each with its reader.

    Folders as in `stored_files`. A reader takes the largest number of bytes, and works until the next member is listed.
    Raises as `stored_files`, or what the decompressor raises.
    """
    first = first_bytes(path)
    opener = next(opener for magic, opener in _OPENERS.items() if first.startswith(magic))
    with opener(path) as stream:
        yield from _stream(stream, "", _RATIO * path.stat().st_size + _FREE_BYTES)
        while stream.read(2**20):  # to the end, where the checksum is
            pass


def _stream(stream: Any, prefix: str, most: int) -> Iterator[tuple[Member, Callable[[int], bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every header
            if member.offset_data + member.size > most:
                raise tarfile.ReadError(f"{member.name} would unpack to more than {_RATIO} times the archive's size")
            name = prefix + normal(member.name)
            if member.isfile() and is_tar(name):
                yield Member(folder_of(name), 0, 0), lambda _: b""
                inner = archive.extractfile(member)
                assert inner is not None  # a plain file
                with _inside(name):
                    yield from _stream(inner, folder_of(name), most)
            else:
                yield _member(member, prefix), partial(_contents, archive, member)


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
            if len(buf) == _BLOCK and not any(buf):
                raise  # a block of zeros is the proper end
            raise tarfile.ReadError(f"unexpected end or damage ({error})") from None
        if member.type in _NAMES and member.size > _LONGEST_NAME:  # tarfile reads all of it
            raise tarfile.ReadError(f"a name of {member.size:,} bytes, and at most {_LONGEST_NAME:,} are read")
        return member


@contextmanager
def _inside(tar: str) -> Iterator[None]:
    """Name the inner tar that is damaged."""
    try:
        yield
    except tarfile.TarError as error:
        raise tarfile.ReadError(f"{tar}: {error}") from None


def normal(name: str) -> str:
    """Normalize `./a//b` and `/a/b` to `a/b`; nothing is ever written under these names."""
    if not name.startswith(("/", "./")) and "//" not in name and "/./" not in name:
        return name.rstrip("/")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def first_bytes(path: Path) -> bytes:
    """Read enough of a file to recognize its format."""
    with path.open("rb") as file:
        return file.read(6)
