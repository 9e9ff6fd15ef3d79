"""Whether a pack is as it was written: checked on demand, or beside training where it is too large for the start."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.data.pack.pack import Pack, checked_in_full, file_damage, open_pack, read_header, total_bytes
from alexnet.data.progress import progress
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check has found."""

    files: int
    bytes: int
    damage: dict[str, str]
    """By file, what is wrong with it."""


def verify(path: Path, *, show_progress: bool = True) -> Checked:
    """Compare every file of a pack with its checksum, on all cores.

    Raises:
        UserError: there is no pack, its `pack.json` cannot be read, or its parts do not fit each other.
    """
    files: dict[str, dict[str, Any]] = read_header(path)["files"]
    with progress(f"verifying {path.name}", total_bytes(files), show=show_progress, in_bytes=True) as advance:
        damage = _damage(path, files, available_cpus(), lambda name: advance(files[name]["bytes"]))
    if not damage:
        open_pack(path)
    return Checked(files=len(files), bytes=total_bytes(files), damage=damage)


def _damage(path: Path, files: dict[str, dict[str, Any]], threads: int, done: Callable[[str], None]) -> dict[str, str]:
    def check(name: str) -> tuple[str, str | None]:
        return name, file_damage(path, name, files[name], contents=True)

    damage = {}
    for name, what in ParallelMap(check, iter(files), threads):
        done(name)
        if what:
            damage[name] = what
    return damage


class Watch:
    """Checks a large pack file by file on a thread of its own while it is used; small ones are checked when opened.

    It reads every shard once from front to back, which also brings them into the page cache, where random reads of a
    cold disk would take hours. The thread ends with the process.
    """

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._damage: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if there is anything that has not been checked when the pack was opened, and it has not begun."""
        if self._thread is None and not checked_in_full(self._pack.files):
            self._thread = threading.Thread(target=self._run, name="pack check", daemon=True)
            self._thread.start()

    def raise_if_damaged(self, *, wait: bool = False) -> None:
        """Raise if damage has been found; with `wait`, not before everything has been looked at.

        Raises:
            UserError: a file differs from what was written.
        """
        if wait and self._thread is not None:
            self._thread.join()
        if self._damage:
            raise UserError(f"{self._damage}; stop using {self._pack.path}, and prepare it again or copy it anew")

    def _run(self) -> None:
        for name, entry in self._pack.files.items():
            damage = file_damage(self._pack.path, name, entry, contents=True)
            if damage:
                self._damage = f"{self._pack.path / name}: {damage}"
                return
