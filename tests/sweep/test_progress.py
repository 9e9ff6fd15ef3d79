"""The runs of a sweep and the lines between them, on a clock that the test sets."""

import os
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from alexnet.errors import shown_time
from alexnet.runs.metrics import EpochRecord, write_metrics
from alexnet.sweep.progress import Progress
from alexnet.sweep.study import PlannedRun
from alexnet.terminal import Terminal
from tests.conftest import checked
from tests.study.made_up import predictions, result, save, unfinished


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


job = cache(checked)


def plan(folder: Path, *, restart: bool = False) -> list[PlannedRun]:
    """Plan three seeds of the demo in a folder."""
    runs = []
    for seed in (0, 1, 2):
        one = job(f"seed={seed}")
        settings = replace(one.config, runs=str(folder), restart=restart)
        runs.append(PlannedRun([f"seed={seed}"], replace(one, config=settings)))
    return runs


def leave(run: PlannedRun, status: str, why: str = "why") -> None:
    """What a run leaves in its directory, a second after what stood there before the sweep."""
    made = replace(result(seed=run.job.config.seed), identity=run.job.identity, pairing_key=run.job.pairing_key)
    seen = predictions(300, 100) if status == "finished" else None
    directory = save(run.directory.parent / "made", made if seen else unfinished(made, status, why), seen)
    run.directory.mkdir(exist_ok=True)
    file = (directory / "result.json").rename(run.directory / "result.json")
    written = (run.written_before or 0) + 10**9
    os.utime(file, ns=(written, written))


def progress(runs: list[PlannedRun], clock: Clock) -> tuple[Progress, StringIO]:
    screen = StringIO()
    weights = {run.directory: weight for run, weight in zip(runs, (1.0, 2.0, 3.0), strict=True)}
    console = Terminal(file=screen, width=200)
    return Progress(runs, work=weights, seconds=600.0, console=console, clock=clock), screen


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (59.6, "1 min"), (2460, "41 min"), (3599, "1 h 00 min"), (7810, "2 h 10 min")],
)
def test_times_in_the_units_that_matter(seconds: float, shown: str) -> None:
    assert shown_time(seconds) == shown


def test_progress_reports_what_has_ended(tmp_path: Path) -> None:
    runs, clock = plan(tmp_path), Clock()
    told, screen = progress(runs, clock)
    assert told.seconds_left == 600
    with told.watched():
        leave(runs[1], "interrupted")
        clock.now += 100
        told.look()
        begun = screen.getvalue()
        leave(runs[1], "finished")
        told.look()
        leave(runs[0], "failed")
        clock.now += 20
    assert begun.startswith("1 of 3 under way: baseline seed 1, epoch 1 of ")  # no terminal: lines, one after the other
    assert screen.getvalue().removeprefix(begun).splitlines() == [
        "[1 of 3] baseline seed 1 finished; 2 min elapsed; about 3 min left",  # 4 of 6 parts, at 50 s each
        "[2 of 3] baseline seed 0 failed; 2 min elapsed; about 2 min left",  # a failed run foretells nothing
    ]


def test_runs_under_way_count_by_their_epochs(tmp_path: Path) -> None:
    """Of two runs side by side the second is as good as done when the first ends."""
    runs, clock = plan(tmp_path), Clock()
    told, screen = progress(runs, clock)
    for run in runs[:2]:
        leave(run, "interrupted")
    epochs = runs[1].job.config.schedule.epochs
    record = EpochRecord(
        epoch=0, step=1, rate=0.1, train_loss=1.0, train_top1_error=50.0, train_top5_error=20.0, val_loss=None,
        val_top1_error=None, val_top5_error=None, seconds=1.0, images_per_second=1.0,
    )  # fmt: skip
    write_metrics(runs[1].directory, [replace(record, epoch=epoch) for epoch in range(epochs)])
    leave(runs[0], "finished")
    clock.now += 100
    told.look()
    # In 100 s 1 + 2 of the 6 parts: the other 3 take as long.
    assert screen.getvalue() == "[1 of 3] baseline seed 0 finished; 2 min elapsed; about 2 min left\n"


def test_what_stood_there_before_is_no_outcome_of_this_sweep(tmp_path: Path) -> None:
    for run, status in zip(plan(tmp_path), ("finished", "failed", "interrupted"), strict=True):
        leave(run, status)
    runs = plan(tmp_path)
    assert [run.finished_before is not None for run in runs] == [True, False, False]
    assert [run.outcome for run in runs] == [None] * 3 and not any(run.is_settled for run in runs)
    assert [run.finished_before for run in plan(tmp_path, restart=True)] == [None] * 3
    leave(runs[1], "finished")
    leave(runs[2], "interrupted")
    assert [run.outcome.status if run.outcome else None for run in runs] == [None, "finished", "interrupted"]
    assert [run.is_settled for run in runs] == [False, True, False]


def test_a_damaged_result_is_to_do(tmp_path: Path) -> None:
    first = plan(tmp_path)[0]
    first.directory.mkdir()
    (first.directory / "result.json").write_text("{")
    assert plan(tmp_path)[0].finished_before is None
