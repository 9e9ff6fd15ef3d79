"""One process at a time: in a run directory, or at a pack."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from alexnet.errors import UserError

LOCK_FILE = ".lock"
_POLL_SECONDS = 0.2


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep every other process out of an existing run directory.

    Raises:
        UserError: another process is at work there.
    """
    with locked(directory / LOCK_FILE, str(directory)):
        yield


@contextmanager
def locked(path: Path, what: str, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`, which stands for `what`. Where another holds it, wait, and say so once by `wait`.

    The lock is the operating system's, and ends with the process that holds it, however that ends.

    Raises:
        UserError: another holds it, and there is no `wait`.
    """
    with _locked(path, what, wait) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            if sys.platform != "win32":  # where an open file cannot be removed
                path.unlink(missing_ok=True)  # still locked: who has opened this very file will see that it is gone


def _locked(path: Path, what: str, wait: Callable[[str], None] | None) -> TextIO:
    told = False
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            if wait is None:
                raise UserError(f"{what} is in use by {holder}: left to it")
            if not told:
                wait(holder)
                told = True
            time.sleep(_POLL_SECONDS)
            continue
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its last holder removed it between our opening and locking it


if sys.platform == "win32":  # pragma: no cover

    def _lock(_: TextIO) -> bool:
        """No lock on Windows."""
        return True

else:
    import fcntl

    def _lock(file: TextIO) -> bool:
        """Lock the file, if no other process has; True also on file systems that know no locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
