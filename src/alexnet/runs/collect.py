"""Finding run directories and reading their results."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alexnet.errors import UserError
from alexnet.runs.directory import RESULT_FILE
from alexnet.runs.result import BASELINE, Result, read_result


@dataclass(frozen=True)
class Run:
    """A run directory and its result."""

    directory: Path
    result: Result
    written: float
    """When `result.json` was written, in seconds since the epoch."""

    @property
    def finished(self) -> bool:
        """Whether the run trained and was evaluated to the end."""
        return self.result.status == "finished"

    @property
    def is_baseline(self) -> bool:
        """Whether the run is without an ablation."""
        return self.result.ablation == BASELINE

    def __str__(self) -> str:
        return f"{self.result.ablation} seed {self.result.seed} ({self.result.run})"


@dataclass(frozen=True)
class Collection:
    """All runs found, and what is wrong with those that cannot be read."""

    runs: tuple[Run, ...]
    unreadable: tuple[str, ...]


def collect(paths: Iterable[Path]) -> Collection:
    """Read every run at or below `paths`, each once.

    UserError if a path does not exist or holds no `result.json` at any depth.
    """
    directories = sorted({directory.resolve() for path in paths for directory in directories_with(path, RESULT_FILE)})
    runs, unreadable = [], []
    for directory in directories:
        try:
            runs.append(Run(directory, read_result(directory), (directory / RESULT_FILE).stat().st_mtime))
        except UserError as error:
            unreadable.append(str(error))
    return Collection(tuple(runs), tuple(unreadable))


def directories_with(path: Path, *names: str) -> list[Path]:
    """Return the folders at or below `path` with a file of one of these names, in order; none lies within another.

    UserError if `path` is no folder or there are none; the error shows the last name.
    """
    if not path.is_dir():
        raise UserError(f"{path}: not a folder; give run directories, or a folder of them")
    found = []
    for folder, subfolders, files in os.walk(path):
        subfolders.sort()
        if not set(names).isdisjoint(files):
            subfolders.clear()  # checkpoints and logs: no run lies within a run
            found.append(Path(folder))
    if not found:
        raise UserError(f"{path}: no {names[-1]} in it or below; give run directories, or a folder of them")
    return found
