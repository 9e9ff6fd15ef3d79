"""How far a run is: from the files in its directory and its lock, which looking at does not disturb."""

import time
from dataclasses import dataclass
from math import ceil
from typing import Literal

from alexnet.errors import UserError
from alexnet.files import is_held
from alexnet.runs.collect import Run
from alexnet.runs.directory import LOCK_FILE, METRICS_FILE
from alexnet.runs.metrics import EpochRecord
from alexnet.runs.result import UNFINISHED_MESSAGE, Result

State = Literal["running", "running?", "interrupted", "failed", "finished"]
"""`running?` where the lock cannot be looked at, and the run has not said that it ended."""
VIEW = "ten_crop"


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is. What no file of it tells is None."""

    run: Run
    state: State
    epochs_done: int | None
    steps_done: int | None
    epochs: int | None
    """Of the whole training, at most; as many as were done if the run has finished."""
    steps: int | None
    error: float | None
    """Top-1, percent: in the end that of ten crops, before that of the last epoch."""
    split: str | None
    """Whose images the error is of."""
    images_per_second: float | None
    seconds_left: float | None
    """Of a running one, without the final test."""


def status(run: Run, *, now: float | None = None) -> Status:
    """Look at a run; `now` is the time in seconds since the epoch, by default this machine's."""
    state = _state(run)
    if state == "finished":
        return _finished(run)
    records, result = run.metrics().epochs, run.result
    last = records[-1] if records else None
    epochs = _planned_epochs(run)
    steps = ceil(last.step * epochs / len(records)) if last and epochs else None
    error, split = _error_so_far(last)
    left = None
    if records and epochs and state.startswith("running"):
        left = _seconds_left(run, records, epochs, time.time() if now is None else now)
    begun = 0 if result.training is None else None
    return Status(
        run=run,
        state=state,
        epochs_done=len(records) or begun,
        steps_done=last.step if last else begun,
        epochs=epochs,
        steps=steps,
        error=error,
        split=split,
        images_per_second=last.images_per_second if last else None,
        seconds_left=left,
    )


def _state(run: Run) -> State:
    if run.result.status == "finished":
        return "finished"
    held = is_held(run.directory / LOCK_FILE)
    if held:
        return "running"
    return "running?" if held is None and run.result.message == UNFINISHED_MESSAGE else run.result.status


def _finished(run: Run) -> Status:
    training = run.result.training
    error, split = _final_error(run.result)
    return Status(
        run=run,
        state="finished",
        epochs_done=training.epochs if training else None,
        steps_done=training.steps if training else None,
        epochs=training.epochs if training else None,
        steps=training.steps if training else None,
        error=error,
        split=split,
        images_per_second=training.images_per_second if training else None,
        seconds_left=None,
    )


def _final_error(result: Result) -> tuple[float | None, str | None]:
    for split in ("test", "val"):
        if VIEW in result.errors.get(split, {}):
            return 100 * result.errors[split][VIEW].top1, split
    return None, None


def _error_so_far(last: EpochRecord | None) -> tuple[float | None, str | None]:
    if last is None:
        return None, None
    return (last.train_top1_error, "train") if last.val_top1_error is None else (last.val_top1_error, "val")


def _planned_epochs(run: Run) -> int | None:
    try:
        schedule = run.config()["schedule"]
        epochs = schedule["rescale_to_epochs"] or schedule["epochs"]
    except (UserError, KeyError, TypeError):  # none yet, or another program's
        return None
    return epochs if isinstance(epochs, int) else None


def _seconds_left(run: Run, records: tuple[EpochRecord, ...], epochs: int, now: float) -> float:
    """Estimate the time to the end of training by that of an epoch.

    That is the time between the start of the run and its last epoch's end, with validation. A resumed run has done some
    of its epochs before that start: its training time alone is then the longer, and better, answer.
    """
    written = (run.directory / METRICS_FILE).stat().st_mtime
    each = max(sum(record.seconds for record in records), written - run.written) / len(records)
    return max(0.0, each * (epochs - len(records)) - max(0.0, now - written))
