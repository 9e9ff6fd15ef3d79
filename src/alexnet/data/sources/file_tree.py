"""A folder or an archive as a list of files; archives are read without unpacking them to disk."""

import errno
import os
import stat
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from alexnet.data.sources import archives, file_names
from alexnet.data.sources.archives import Entry, FileRange, Unreadable, patiently
from alexnet.data.sources.catalog import IN_FOLDER, Catalog, File
from alexnet.errors import UserError

_HEAD = 32  # bytes that tell the format of an image

MOST_BYTES = 2**28
"""The largest file that is read."""
DANGLING = "links that lead nowhere or in a circle"
CIRCLES = "links to a folder that they lie in"
TWICE = "further names of an image in the same class"


class FileTree:
    """Files under a folder or in an archive, by their '/'-separated names relative to it. Close it after use."""

    def __init__(self, path: Path) -> None:
        """List a folder or an archive. Raises `UserError` if there is none, or the archive is damaged."""
        self.path, self.files = path, Catalog()
        self.folders: list[str] = []
        """Folders, empty ones included; some that hold files may be missing."""
        self.several_names = False
        """Whether a file may be there under several names, by links."""
        self.links_outside: list[str] = []
        """Links that lead out of the source; only the first is kept by its name."""
        self.changed = 0.0
        """When a file of this folder was last written, moved or renamed, in seconds since 1970."""
        self.archive_folders: set[str] = set()
        """The folders that archives in this folder are listed as."""
        self._archives: list[tuple[Path, tuple[int, int]]] = []
        """Each with its size and time when it was listed."""
        try:
            self._add(self._in_folder() if path.is_dir() else self._in_archive(""))
            if self._archives:
                self.files.set_aside_superseded()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                where = error.filename or path
                raise UserError(f"{where}: the folder cannot be read: {error.strerror}") from None
            if isinstance(error, RecursionError):
                raise UserError(f"{path}: its folders are nested too deeply; move what you need further up") from None
            raise

    def close(self) -> None:
        """Close the list of files."""
        self.files.close()

    def add_archives(self, archives: Collection[str]) -> None:
        """List what archives in this folder hold, each as a folder of its name."""
        self._add(file for name in archives for file in self._in_archive(name))
        self.files.set_aside(set(archives), file_names.OPENED)
        self.files.set_aside_superseded()

    def recognize_images(self) -> None:
        """Make images of the files whose names say nothing but whose contents begin as an image does."""
        unknown = self.files.files(file_names.UNKNOWN)
        heads = (file_names.looks_like_image(contents(entry)) for entry in self.read(unknown, most=_HEAD))
        self.files.recognize(file_names.UNKNOWN, heads)

    def read(self, files: Iterable[File], *, most: int | None = None) -> Generator[Entry, None, None]:
        """The contents of files, in their listed order; those that are stored as they are, not yet read.

        With `most`, no more than the first so many bytes.
        """
        for archive, group in groupby(files, attrgetter("archive")):
            with self._opened(archive) as read:
                for file in group:
                    if most is None and file.size > MOST_BYTES:
                        yield Unreadable(f"{file.size:,} bytes are more than {MOST_BYTES:,}")
                    else:
                        yield read(file, file.size if most is None else min(file.size, most))

    @contextmanager
    def _opened(self, archive: int) -> Iterator[Callable[[File, int], Entry]]:
        """Open what some files lie in; the value reads the first bytes of each, which come in their listed order."""
        if archive == IN_FOLDER:
            yield lambda file, most: FileRange(self.path / file.name, 0, most, whole=most == file.size)
            return
        with archives.opened(self._archives[archive][0]) as read:
            yield read

    def check_unchanged(self) -> None:
        """Raise `UserError` if an archive is not the one that was listed."""
        for path, state in self._archives:
            if _state(path) != state:
                raise UserError(f"{path} has changed while it was read; repeat the command when it is complete")

    def _add(self, listed: Iterable[File]) -> None:
        """Add what is listed to the files, or to the folders where the name ends with a '/'."""

        def files() -> Iterator[File]:
            for file in listed:
                if f"/{file.name}".endswith("/./"):
                    pass  # the root of an archive, as `tar -C folder .` names it
                elif file.name.endswith("/"):
                    self.folders.append(file.name[:-1])
                else:
                    yield file if file.unused else file._replace(unused=file_names.kind_of(file.name))

        self.files.add(files())

    def _in_archive(self, name: str) -> Iterator[File]:
        """The contents of the archive of this name in the folder, or of the source itself."""
        path, number = self.path / name, len(self._archives)
        prefix = f"{file_names.without_suffix(name)}/" if name else ""
        if not path.is_file():
            raise UserError(f"{path}: there is no such folder or archive")
        self._archives.append((path, _state(path)))
        if name:
            self.archive_folders.add(prefix[:-1])
            yield File(prefix, 0, number, 0)
        repeated = f"{prefix[:-1].rpartition('/')[2]}/"  # as by train.zip with train/ in it
        for member in archives.listed(path):
            if inside := member.name.removeprefix(repeated):
                yield member._replace(name=prefix + inside, archive=number)

    def _in_folder(
        self, prefix: str = "", above: tuple[tuple[int, int], ...] = (), unused: str | None = None
    ) -> Iterator[File]:
        """What lies below a folder, names of folders with a '/' at the end; symbolic links are followed.

        `above` are the folders on the way, against links that lead back up.
        """
        status = patiently((self.path / prefix).stat)
        here = (status.st_dev, status.st_ino)
        if here in above:
            yield File(prefix[:-1], 0, IN_FOLDER, 0, CIRCLES)
            return
        with patiently(lambda: os.scandir(self.path / prefix)) as found:
            # In the order in which their whole names would be sorted.
            entries = sorted((f"{prefix}{entry.name}{'/' * _is_folder(entry)}", entry) for entry in found)
        if prefix and any(entry.name == "pack.json" for _, entry in entries):
            unused = file_names.PACKED
        for name, entry in entries:
            if entry.is_symlink():
                self._note_link(entry, name)
            if name.endswith("/"):
                yield File(name, 0, IN_FOLDER, 0)
                yield from self._in_folder(name, (*above, here), unused)
            elif (target := _status(entry)) is None:
                yield File(name, 0, IN_FOLDER, 0, DANGLING)
            elif stat.S_ISREG(target.st_mode):
                self.several_names |= target.st_nlink > 1
                # A folder's time tells that it has been renamed.
                is_image = file_names.suffix_of(name) in file_names.IMAGE_SUFFIXES
                self.changed = max(self.changed, target.st_ctime, status.st_ctime * is_image)
                yield File(name, target.st_size, IN_FOLDER, _identity(target), unused)
            else:
                yield File(name, 0, IN_FOLDER, 0, archives.SPECIAL)

    def _note_link(self, entry: "os.DirEntry[str]", name: str) -> None:
        self.several_names = True
        if not Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(self.path)):
            self.links_outside.append("" if self.links_outside else name.rstrip("/"))


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """What an entry is or leads to; None for a link that leads nowhere or in a circle."""
    try:
        return entry.stat()
    except OSError as error:
        if entry.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    status = _status(entry)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _identity(status: os.stat_result) -> int:
    """One number for a file, which its other names share."""
    return (status.st_ino ^ (status.st_dev << 40)) & (2**63 - 1)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def read_named(tree: FileTree, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the few files, none of them images, whose names are wanted.

    Raises:
        UserError: one of them cannot be read.
    """
    named = [file for file in tree.files.others() if wanted(file.name)]
    for file, entry in zip(named, tree.read(named), strict=True):
        yield file.name, contents(entry, tree.path / file.name)


def contents(entry: Entry, path: Path | None = None) -> bytes:
    """The bytes of a file of a tree. Raises `UserError` if it cannot be read; with no `path`, it is empty."""
    if isinstance(entry, Unreadable):
        if path is None:
            return b""
        raise UserError(f"{path}: cannot be read: {entry.reason}")
    return entry if isinstance(entry, bytes) else entry.read_bytes()
