"""One process at a time in a run directory."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from alexnet.errors import UserError

LOCK_FILE = ".lock"


@contextmanager
def sole_use(directory: Path) -> Iterator[None]:
    """Keep every other process out of an existing run directory.

    The lock is the operating system's, and ends with the process that holds it, however that ends.

    Raises:
        UserError: another process is at work there.
    """
    path = directory / LOCK_FILE
    with _locked(path, directory) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            if sys.platform != "win32":  # where an open file cannot be removed
                path.unlink(missing_ok=True)  # still locked: who has opened this very file will see that it is gone


def _locked(path: Path, directory: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise UserError(f"{directory} is in use by {holder}: left to it")
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
