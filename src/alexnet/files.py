"""Files written whole or not at all, and locks between processes."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from alexnet.errors import UserError


def replace_file(path: Path, content: bytes) -> None:
    """Write a temporary file next to `path` and rename it, so that no reader ever meets half of it.

    Neither a link at `path` nor one at the temporary name is followed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that the user asked for, and its folder, complete or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.encode() if isinstance(content, str) else content)
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
            lock.acquire(timeout=0)
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
