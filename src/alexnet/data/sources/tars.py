"""The files of tar archives, listed quickly and in constant memory; a tar in a tar is a folder of its name.

A tar inside an uncompressed tar is a slice of one file, so its files are read in place, in any order. Headers of plain
files are parsed here, four times faster than by `tarfile`, all others (long names, pax) by `tarfile`.
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Self

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


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes that lie in a file, not yet read."""

    file: Path
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """Read the bytes. Raises `UserError` if the file cannot be read or has become shorter."""
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
    """Return the folder that a tar is listed as: `train/n01440764/` for `train/n01440764.tar`."""
    return f"{tar[:-4]}/"


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, by its first bytes rather than its name."""
    return first_bytes(path).startswith(tuple(_OPENERS))


def stored_files(path: Path) -> Iterator[tuple[str, int, int]]:
    """List name, offset and size of every plain file of an uncompressed tar and of the tars in it, in their order.

    Folders that the tar names, and tars in it, are listed with a '/' at the end of their names.

    Raises:
        tarfile.TarError: the tar is damaged or truncated.
    """
    with FileIO(path) as file:
        yield from _slice(file, 0, path.stat().st_size, "", nested=False)


def _slice(file: FileIO, at: int, end: int, prefix: str, *, nested: bool) -> Iterator[tuple[str, int, int]]:
    """List the tar in bytes [at, end); one in another tar may lack the zeros at its end, as for GNU tar."""
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
    """Parse name, offset and size of a plain file, and the offset of the next header; None for any other header."""
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
    return normal(full), at + _BLOCK, size, at + _BLOCK + -(-size // _BLOCK) * _BLOCK


def _special(file: FileIO, at: int) -> tuple[str, int, int, int]:
    """Parse any other header by `tarfile`; no name if it is neither a plain file nor a folder."""
    file.seek(at)
    archive = tarfile.TarFile(fileobj=file, tarinfo=StrictHeader)
    member = archive.firstmember  # type: ignore[attr-defined]
    if member is None:
        raise tarfile.ReadError("unexpected end of data")
    if member.issparse():
        raise tarfile.ReadError(f"{member.name} is a sparse file, which is not supported")
    name = f"{normal(member.name)}/" if member.isdir() else normal(member.name) if member.isfile() else ""
    return name, member.offset_data, member.size if member.isfile() else 0, archive.offset


def streamed_files(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """List name, size and reader of every plain file of a compressed tar and of the tars in it, in their order.

    Folders as in `stored_files`. A file can be read until the next one is listed. Raises as `stored_files`, or what the
    decompressor raises.
    """
    first = first_bytes(path)
    opener = next(opener for magic, opener in _OPENERS.items() if first.startswith(magic))
    with opener(path) as stream:
        yield from _stream(stream, "")


def _stream(stream: Any, prefix: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every header
            name = prefix + normal(member.name)
            if member.isdir():
                yield f"{name}/", 0, bytes
            elif member.isfile() and is_tar(name):
                yield folder_of(name), 0, bytes
                inner = archive.extractfile(member)
                assert inner is not None  # a plain file
                with _inside(name):
                    yield from _stream(inner, folder_of(name))
            elif member.isfile():
                yield name, member.size, partial(_contents, archive, member)


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # a plain file
    data = file.read()
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return data


class StrictHeader(tarfile.TarInfo):
    """A header that must be sound: tarfile takes a damaged or missing one for the end of the archive."""

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
