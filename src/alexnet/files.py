"""Files written whole or not at all, and locks between processes."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

from alexnet.errors import UserError

LOOK_SECONDS = 0.2
"""Time for which a lock is asked for: `is_held` may be looking at it just then."""


def replace_file(path: Path, content: bytes | memoryview, *, former: Path | None = None) -> None:
    """Write a temporary file next to `path` and rename it, so that no reader ever meets half of it.

    Content and name are on the disk when this returns, also after a power cut. The file that was there is kept as
    `former`, if that is given. Neither a link at `path` nor one at the temporary name is followed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if former is not None:
            path.replace(former)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        error.filename = error.filename2 or str(path)  # a full disk does not say where, others name the temporary one
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if os.name == "nt":  # opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlinked(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file as `open` would, but through no symbolic link: for `opener=`."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


class LogFile(logging.FileHandler):
    """A log file that is written through no symbolic link: one in its place is removed.

    A disk that is full or read-only is left to the run, which says it in one line, or shows a finished result.
    """

    def __init__(self, filename: str, encoding: str) -> None:
        link = False
        with suppress(OSError):  # a folder that may not be looked into
            link = Path(filename).is_symlink()
        if link:
            Path(filename).unlink()
        super().__init__(filename, encoding=encoding, delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that the user asked for, and its folder, complete or not at all; UserError if that fails."""
    with _written(path):
        replace_file(path, content.encode() if isinstance(content, str) else content)


def check_writable(path: Path) -> None:
    """Make the folder of a file that is written after long work; UserError if `write_file` could not write it."""
    with _written(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        TemporaryFile(dir=path.parent).close()


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{path}: cannot be written: a file is where its folder should be") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def exclusive(path: Path, what: str, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`, which guards `what`. If another process holds it, call `wait` once, then wait.

    The lock is the operating system's: it ends with the process that holds it. The file stays.

    Raises:
        UserError: another process holds the lock, and there is no `wait`; or the lock file cannot be made.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=LOOK_SECONDS)
        except Timeout:
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
            if wait is None:
                raise UserError(f"{what} is in use by {holder}; wait for it or stop it") from None
            wait(holder)
            lock.acquire()
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be locked: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool | None:
    """Return whether a process holds the lock file `path`; None where the system cannot tell.

    It looks by a shared lock for an instant. Others that look have one too, and `exclusive` waits for longer than that.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in (errno.EACCES, errno.EAGAIN) else None
    finally:
        os.close(descriptor)
    return False


def from_here(path: Path) -> str:
    """Return a path from here if it lies below, for a line that is read on a terminal."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
