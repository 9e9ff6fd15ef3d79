"""The runs of a study, and what has become of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.config.job import Job, ablation_name
from alexnet.errors import UserError
from alexnet.runs.directory import RESULT_FILE
from alexnet.runs.result import Result, finished_result, read_result


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study."""

    overrides: Sequence[str]
    job: Job
    directory: Path
    written_before: int | None
    """When its `result.json` was written, if there was one before the study, in nanoseconds."""

    @classmethod
    def of(cls, overrides: Sequence[str], job: Job) -> "PlannedRun":
        """Plan a checked job."""
        directory = Path(job.config.runs) / job.name
        return cls(overrides=overrides, job=job, directory=directory, written_before=_written(directory))

    def __str__(self) -> str:
        return f"{ablation_name(self.job.tree)} seed {self.job.config.seed}"

    @property
    def finished_before(self) -> Result | None:
        """Its result if there is nothing to do: it was finished before, and is not to be restarted."""
        try:
            return None if self.job.config.restart else finished_result(self.directory)
        except UserError:  # the run itself will say what is wrong with its result file
            return None

    @property
    def outcome(self) -> Result | None:
        """What this study has made of the run so far; None if it has not begun, `interrupted` also while it runs."""
        if _written(self.directory) == self.written_before:
            return None
        try:
            return read_result(self.directory)
        except UserError:
            return None

    @property
    def is_settled(self) -> bool:
        """Whether this study has finished it, or seen it fail."""
        return (outcome := self.outcome) is not None and outcome.status != "interrupted"

    @property
    def objective(self) -> float | None:
        """Its final error, for a sweeper that searches; None if it has none."""
        done = self.outcome or self.finished_before
        return objective(done) if done is not None and done.status == "finished" else None


def objective(result: Result) -> float:
    """Return the top-1 error in percent that a search is to minimize: of validation images, where there are any."""
    rates = result.errors["val" if "val" in result.errors else "test"]
    return 100 * rates["ten_crop"].top1


def _written(directory: Path) -> int | None:
    try:
        return (directory / RESULT_FILE).stat().st_mtime_ns
    except OSError:
        return None
