"""What becomes of a sweep when a process of its launcher dies."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.types import TaskFunction

from alexnet.sweep.launcher import Launching, start_all
from alexnet.sweep.planned import PlannedRun
from tests.sweep.test_progress import leave, plan


class Pool:
    """Begins two runs at a time; a run of seed 1 takes all that are under way with it, as joblib's pool does."""

    def __init__(self) -> None:
        self.started: list[list[int]] = []

    def start(self, task: TaskFunction, runs: Sequence[PlannedRun]) -> None:
        self.started.append([run.job.config.seed for run in runs])
        for at in range(0, len(runs), 2):
            pair = runs[at : at + 2]
            dies = any(run.job.config.seed == 1 for run in pair)
            for run in pair:
                leave(run, "interrupted" if dies else "finished")
            if dies:
                raise RuntimeError("a worker process was terminated\nby signal 9")


def test_the_others_are_done_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, pool = plan(tmp_path), Pool()
    start_all(Launching(name="joblib", max_parallel_jobs=2, start=pool.start), lambda _: None, runs)
    assert pool.started == [[0, 1, 2], [2], [0], [1]]
    statuses = [run.outcome.status if run.outcome else None for run in runs]
    assert statuses == ["finished", "interrupted", "finished"]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("a worker process was terminated" in line for line in errors)


def test_a_launcher_that_begins_nothing_is_not_tried_again(tmp_path: Path) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("no sbatch here")

    with pytest.raises(RuntimeError, match="no sbatch here"):
        start_all(Launching(name="submitit_slurm", max_parallel_jobs=None, start=start), lambda _: None, plan(tmp_path))
