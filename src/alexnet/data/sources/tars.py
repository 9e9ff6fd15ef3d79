"""The files of tar archives, listed quickly and without memory of their own; a tar in a tar is a folder of its name.

A tar inside an uncompressed tar is a slice of one file, so its files are read in place, in any order, by whoever needs
them. Headers of plain files are parsed here, four times faster than by `tarfile`; all others (long names, pax) there.
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO, Self, TypeAlias

import zstandard

from alexnet.errors import UserError

_BLOCK = tarfile.BLOCKSIZE
_CHECKSUM = slice(148, 156)
_MAGIC = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ", b"BZh")  # zstandard, gzip, xz, bzip2
_Bytes: TypeAlias = IO[bytes] | gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes that lie in a file, not yet read."""

    file: Path
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """The bytes; a `UserError` where the file cannot be read or has become shorter."""
        try:
            with self.file.open("rb", buffering=0) as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise UserError(f"{self.file}: cannot be read: {error.strerror or error}") from None
        if len(data) != self.size:
            raise UserError(f"{self.file} has become shorter since it was listed; has it been replaced meanwhile?")
        return data


def is_tar(name: str) -> bool:
    """Whether a file of this name is looked into as a tar; compressed tars inside others are not."""
    return name.lower().endswith(".tar")


def folder_of(tar: str) -> str:
    """Under which name the files of a tar are listed: `train/n01440764.tar` is `train/n01440764/`."""
    return f"{tar[:-4]}/"


def is_compressed(path: Path) -> bool:
    """Told by the first bytes of a file rather than by its name."""
    return first_bytes(path).startswith(_MAGIC)


def stored_files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every plain file of an uncompressed tar and of the tars in it, in their order.

    Folders are among them where the tar names them, and tars in it, with a '/' at the end of their names.
    Raises `tarfile.TarError` for damage, or an end that comes too early.
    """
    with FileIO(path) as file:
        yield from _slice(file, 0, path.stat().st_size, "", nested=False)


def _slice(file: FileIO, at: int, end: int, prefix: str, *, nested: bool) -> Iterator[tuple[str, int, int]]:
    """The files of the tar in bytes [at, end); one in another tar may lack the zeros at its end, as for GNU tar."""
    while not (nested and at == end):
        file.seek(at)
        header = file.read(_BLOCK)
        if len(header) == _BLOCK and not any(header):
            return
        name, offset, size, after = _plain(header, at) or _special(file, at)
        if max(offset + size, at + _BLOCK) > end:
            raise tarfile.ReadError(f"unexpected end of data in {name or prefix}")
        at = after
        if name and is_tar(name):
            yield folder_of(prefix + name), offset, 0
            with _inside(prefix + name):
                yield from _slice(file, offset, offset + size, folder_of(prefix + name), nested=True)
        elif name:
            yield prefix + name, offset, size


def _plain(header: bytes, at: int) -> tuple[str, int, int, int] | None:
    """Name, offset and size of a plain file, and where the next header is; None for any other header."""
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
    return normal(full), at + _BLOCK, size, at + _BLOCK + _whole_blocks(size)


def _special(file: FileIO, at: int) -> tuple[str, int, int, int]:
    """The same of any header, by `tarfile`; no name if it is neither a plain file nor a folder."""
    file.seek(at)
    archive = tarfile.TarFile(fileobj=file, tarinfo=StrictHeader)
    member = archive.firstmember  # type: ignore[attr-defined]
    if member is None:
        raise tarfile.ReadError("unexpected end of data")
    if member.issparse():
        raise tarfile.ReadError(f"{member.name} is a sparse file, which is not supported")
    name = f"{normal(member.name)}/" if member.isdir() else normal(member.name) if member.isfile() else ""
    return name, member.offset_data, member.size if member.isfile() else 0, archive.offset


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def streamed_files(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Name and size of every plain file of a compressed tar and of the tars in it, in their order, and how to read it.

    Folders as in `stored_files`. A file can be read until the next is asked for. Raises as `stored_files`, or what the
    decompressor raises.
    """
    with ExitStack() as stack:
        stream = _decompressed(path, stack)
        yield from _stream(stream, "")


def _stream(stream: _Bytes, prefix: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every header
            name = prefix + normal(member.name)
            if member.isdir():
                yield f"{name}/", 0, bytes
            elif member.isfile() and is_tar(name):
                yield folder_of(name), 0, bytes
                with _inside(name):
                    yield from _stream(_opened(archive, member), folder_of(name))
            elif member.isfile():
                yield name, member.size, partial(_contents, archive, member)


def _decompressed(path: Path, stack: ExitStack) -> _Bytes:
    first = first_bytes(path)
    if first.startswith(_MAGIC[0]):
        file = stack.enter_context(path.open("rb"))
        reader: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return stack.enter_context(reader)
    if first.startswith(_MAGIC[1]):
        return stack.enter_context(gzip.open(path))
    return stack.enter_context(lzma.open(path)) if first.startswith(_MAGIC[2]) else stack.enter_context(bz2.open(path))


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # only plain files are opened
    return file


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    data = _opened(archive, member).read()
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return data


class StrictHeader(tarfile.TarInfo):
    """A header that must be sound: tarfile by itself takes a damaged or missing one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == _BLOCK and not any(buf):
                raise  # a block of zeros is the proper end
            raise tarfile.ReadError(f"unexpected end or damage ({error})") from None


@contextmanager
def _inside(tar: str) -> Iterator[None]:
    """Says in which inner tar the damage is."""
    try:
        yield
    except tarfile.TarError as error:
        raise tarfile.ReadError(f"{tar}: {error}") from None


def normal(name: str) -> str:
    """`./a//b` and `/a/b` are `a/b`; nothing is ever written under these names."""
    if not name.startswith(("/", "./")) and "//" not in name and "/./" not in name:
        return name.rstrip("/")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def first_bytes(path: Path) -> bytes:
    """Enough of a file to tell what it is."""
    with path.open("rb") as file:
        return file.read(6)
