"""How far a run is: from the files in its directory and its lock, which looking at does not disturb."""

import time
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from alexnet.errors import UserError
from alexnet.files import is_held
from alexnet.runs.collect import Run
from alexnet.runs.directory import LOCK_FILE, METRICS_FILE
from alexnet.runs.metrics import EpochRecord
from alexnet.runs.result import UNFINISHED_MESSAGE

State = Literal["running", "running?", "interrupted", "failed", "finished"]
"""`running?` where the lock cannot be looked at, and the run has not said that it ended."""
VIEW = "ten_crop"


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is. What no file of it tells is None."""

    run: Run
    state: State
    epochs_done: int | None = None
    steps_done: int | None = None
    epochs: int | None = None
    """Of the whole training, at most; as many as were done if the run has finished."""
    steps: int | None = None
    error: float | None = None
    """Top-1, percent: in the end that of ten crops, before that of the last epoch."""
    split: str | None = None
    """Whose images the error is of."""
    images_per_second: float | None = None
    seconds_left: float | None = None
    """Of a running one, without the final test."""


def status(run: Run, *, now: float | None = None) -> Status:
    """Look at a run; `now` is the time in seconds since the epoch, by default this machine's."""
    if run.finished:
        return _finished(run)
    held = is_held(run.directory / LOCK_FILE)
    state: State = "running" if held else run.result.status
    if held is None and run.result.message == UNFINISHED_MESSAGE:
        state = "running?"
    records, epochs = run.metrics().epochs, _planned_epochs(run)
    if not records:
        begun = 0 if run.result.training is None else None
        return Status(run=run, state=state, epochs_done=begun, steps_done=begun, epochs=epochs)
    last, left = records[-1], None
    if epochs and state.startswith("running"):
        left = _seconds_left(run, records, epochs, time.time() if now is None else now)
    is_validated = last.val_top1_error is not None
    return Status(
        run=run,
        state=state,
        epochs_done=len(records),
        steps_done=last.step,
        epochs=epochs,
        steps=ceil(last.step * epochs / len(records)) if epochs else None,
        error=last.val_top1_error if is_validated else last.train_top1_error,
        split="val" if is_validated else "train",
        images_per_second=last.images_per_second,
        seconds_left=left,
    )


def _finished(run: Run) -> Status:
    training, errors = run.result.training, run.result.errors
    split = next((name for name in ("test", "val") if VIEW in errors.get(name, {})), None)
    error = 100 * errors[split][VIEW].top1 if split else None
    found = Status(run=run, state="finished", error=error, split=split)
    if training is None:
        return found
    found = replace(found, epochs_done=training.epochs, epochs=training.epochs, steps_done=training.steps)
    return replace(found, steps=training.steps, images_per_second=training.images_per_second)


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
