"""Finding run directories and reading their results."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.errors import UserError
from alexnet.results import BASELINE, RESULT_FILE, Result, read_result


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
    damaged: tuple[str, ...]


def collect(paths: Iterable[Path]) -> Collection:
    """Read every run at or below `paths`, each once.

    UserError if a path does not exist or holds no `result.json` at any depth.
    """
    directories = sorted({directory.resolve() for path in paths for directory in _run_directories(path)})
    runs, damaged = [], []
    for directory in directories:
        try:
            runs.append(Run(directory, read_result(directory), (directory / RESULT_FILE).stat().st_mtime))
        except UserError as error:
            damaged.append(str(error))
    return Collection(tuple(runs), tuple(damaged))


def _run_directories(path: Path) -> list[Path]:
    if not path.is_dir():
        raise UserError(f"{path}: not a folder; give run directories, or a folder of them")
    found = list(_walk(path))
    if not found:
        raise UserError(f"{path}: no {RESULT_FILE} in it or below; give run directories, or a folder of them")
    return found


def _walk(path: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(path):
        if RESULT_FILE in files:
            subfolders.clear()  # checkpoints and logs: no run lies within a run
            yield Path(folder)
