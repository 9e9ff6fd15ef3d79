"""The runs of a sweep, and what has become of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.config.job import Job, ablation_name, run_name
from alexnet.errors import UserError
from alexnet.runs.directory import RESULT_FILE
from alexnet.runs.result import Result, finished_result, read_result


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep."""

    overrides: Sequence[str]
    job: Job
    directory: Path
    written_before: int | None
    """When its `result.json` was written that stood there before the sweep, in nanoseconds; None without one."""

    def __str__(self) -> str:
        return f"{ablation_name(self.job.tree)} seed {self.job.config.seed}"

    @property
    def finished_before(self) -> Result | None:
        """Its result where there is nothing to do: it was finished before, and is not to be done afresh."""
        try:
            return None if self.job.config.restart else finished_result(self.directory)
        except UserError:  # the run itself will say what is wrong with its result file
            return None

    @property
    def outcome(self) -> Result | None:
        """What this sweep has made of the run so far; None if it has not begun, `interrupted` also while it runs."""
        if _written(self.directory) == self.written_before:
            return None
        try:
            return read_result(self.directory)
        except UserError:
            return None

    @property
    def is_settled(self) -> bool:
        """Whether this sweep has finished it, or seen it fail."""
        outcome = self.outcome
        return outcome is not None and outcome.status != "interrupted"


def planned_runs(jobs: Sequence[tuple[Sequence[str], Job]]) -> list[PlannedRun]:
    """The distinct runs of a sweep's jobs (overrides and checked job), in their order."""
    runs: dict[Path, PlannedRun] = {}
    for overrides, job in jobs:
        directory = Path(job.config.runs) / run_name(job.tree)
        run = PlannedRun(overrides=overrides, job=job, directory=directory, written_before=_written(directory))
        runs.setdefault(directory, run)
    return list(runs.values())


def _written(directory: Path) -> int | None:
    try:
        return (directory / RESULT_FILE).stat().st_mtime_ns
    except OSError:
        return None
