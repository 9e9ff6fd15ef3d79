"""Finding run directories and reading their results."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, plural
from alexnet.files import from_here
from alexnet.runs.arrays import FirstLayer, ViewPredictions, read_first_layer, read_predictions
from alexnet.runs.directory import CONFIG_FILE, FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.metrics import Metrics, read_metrics
from alexnet.runs.result import BASELINE, Result, read_checked_result
from alexnet.untrusted import MIB, damage_named, parse_yaml, read_regular, require

DEEPEST = 32
"""Folders within each other that are searched for runs."""
_LEFT_BY_A_RUN = {METRICS_FILE, PREDICTIONS_FILE, FIRST_LAYER_FILE}


@dataclass(frozen=True)
class Run:
    """A run directory and its result."""

    directory: Path
    result: Result
    written: float
    """When `result.json` was written, in seconds since the epoch."""
    intact: bool = True
    """Whether `result.json` is as the run wrote it, as far as that can be known."""

    @property
    def finished(self) -> bool:
        """Whether the run trained and was evaluated to the end."""
        return self.result.status == "finished"

    @property
    def is_baseline(self) -> bool:
        """Whether the run is without an ablation."""
        return self.result.ablation == BASELINE

    def config(self) -> dict[str, Any]:
        """Read its `config.yaml`; a UserError if it is damaged or changed, as of the other readers."""
        path = self.directory / CONFIG_FILE
        with damage_named(path):
            values = parse_yaml(read_regular(path, most=MIB, sha256=self.result.files.get(CONFIG_FILE)))
            require(isinstance(values, dict), "", "no configuration")
            return dict(values)

    @cached_property
    def metrics(self) -> Metrics:
        """Its `metrics.csv`, read once; a problem with it is part of the value."""
        return read_metrics(self.directory, sha256=self.result.files.get(METRICS_FILE))

    def predictions(self, split: str, view: str) -> ViewPredictions:
        """Read one split and view of its `predictions.npz`."""
        return read_predictions(self.directory, split, view, sha256=self.result.files.get(PREDICTIONS_FILE))

    def first_layer(self) -> FirstLayer:
        """Read its `first_layer.npz`."""
        return read_first_layer(self.directory, sha256=self.result.files.get(FIRST_LAYER_FILE))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each split and view that was evaluated, errors in percent: for a pandas.DataFrame, say."""
        run = {name: getattr(self.result, name) for name in ("run", "experiment", "recipe", "ablation", "seed")}
        return [
            {**run, "split": split, "view": view, "images": rates.images}
            | {"top1_error": 100 * rates.top1, "top5_error": None if rates.top5 is None else 100 * rates.top5}
            for split, views in self.result.errors.items()
            for view, rates in views.items()
        ]

    def epochs(self) -> list[dict[str, Any]]:
        """Return a row for each epoch that could be read from `metrics.csv`, which may have grown."""
        return [{"run": self.result.run, **asdict(epoch)} for epoch in replace(self).metrics.epochs]

    def __str__(self) -> str:
        return f"{self.result.ablation} seed {self.result.seed} ({self.result.run})"


@dataclass(frozen=True)
class Collection:
    """All runs found, and what is wrong with those that cannot be read."""

    runs: tuple[Run, ...]
    unreadable: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """The line about runs that could not be read; None if all could."""
        counted = plural(len(self.unreadable), "unreadable run was", "unreadable runs were")
        return f"Warning: {counted} skipped: {'; '.join(self.unreadable)}" if self.unreadable else None

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all runs."""
        return [row for run in self.runs for row in run.rows()]


def load_run(directory: str | Path) -> Run:
    """Read the result of a run; its other files are read when they are asked for.

    Raises:
        UserError: there is no result, or it is damaged.
    """
    result, intact = read_checked_result(folder := Path(directory))
    return Run(folder, result, (folder / RESULT_FILE).stat().st_mtime, intact)


def collect(paths: Iterable[Path]) -> Collection:
    """Read every run at or below `paths`, each once.

    UserError if a path does not exist or holds no `result.json` at any depth.
    """
    runs, unreadable = [], []
    directories = set()
    for path in paths:
        found, problems = _search(path, (RESULT_FILE,))
        directories |= {directory.resolve() for directory in found}
        unreadable += problems
    for directory in sorted(directories):
        try:
            runs.append(load_run(directory))
        except UserError as error:
            unreadable.append(str(error))
    return Collection(tuple(runs), tuple(unreadable))


def common_folder(runs: Iterable[Run], paths: Iterable[Path]) -> Path:
    """Return the deepest folder that holds all of the runs, found at or below `paths`.

    Raises:
        UserError: it holds other runs as well, whose comparison a file about these would replace.
    """
    folder, given = Path(os.path.commonpath([run.directory.parent for run in runs])), [one.resolve() for one in paths]
    for file in folder.glob(f"*/{RESULT_FILE}"):
        if not any(file.resolve().is_relative_to(one) for one in given):
            raise UserError(f"{from_here(folder)} has other runs too: pass it whole, or add -o FOLDER for these alone")
    return folder


def directories_with(path: Path, *names: str) -> list[Path]:
    """Return the folders at or below `path` with a file of one of these names, in order; none lies within another.

    UserError if `path` is no folder or there are none; the error shows the last name.
    """
    return _search(path, names)[0]


def _search(path: Path, names: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Return what `directories_with` does, and what could not be searched; links to folders are not followed."""
    if not path.is_dir():
        raise UserError(f"{path}: not a folder; give run directories, or a folder of them")
    found: list[Path] = []
    problems: list[str] = []
    links: list[Path] = []
    for folder, subfolders, files in os.walk(path, onerror=lambda error: problems.append(_unsearchable(error))):
        subfolders.sort()
        if not set(names).isdisjoint([*files, *subfolders]):
            subfolders.clear()  # checkpoints and logs: no run lies within a run
            found.append(Path(folder))
        elif RESULT_FILE in names and not _LEFT_BY_A_RUN.isdisjoint(files):
            problems.append(f"{Path(folder, RESULT_FILE)}: missing, though other files of a run are there")
        elif subfolders and len(Path(folder).parts) - len(path.parts) >= DEEPEST:
            subfolders.clear()
            problems.append(f"{folder}: {DEEPEST} folders deep; what lies below was not searched")
        links += [Path(folder, name) for name in subfolders if Path(folder, name).is_symlink()]
    known = {directory.resolve() for directory in found}
    problems += [
        f"{link}: a link to a run, which is not followed; pass {link.resolve()} itself"
        for link in links
        if link.resolve() not in known and any(os.path.lexists(link / name) for name in names)
    ]
    if not found:
        nothing = f"{path}: no {names[-1]} in it or below; give run directories, or a folder of them"
        raise UserError("; ".join(problems) or nothing)
    return found, problems


def _unsearchable(error: OSError) -> str:
    return f"{error.filename}: cannot be searched: {error.strerror}"
