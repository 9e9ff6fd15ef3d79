"""A run in short: how far it is, and its errors by split and view.

The former is told by the files in its directory and its lock, which looking at does not disturb.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from alexnet.errors import UserError
from alexnet.files import is_held
from alexnet.runs.collect import Run
from alexnet.runs.directory import LOCK_FILE, METRICS_FILE
from alexnet.runs.metrics import EpochRecord
from alexnet.runs.result import BASELINE, UNFINISHED_MESSAGE, ErrorRates, Result
from alexnet.terminal import fitted

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
    records, epochs = run.metrics.epochs, _planned_epochs(run)
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


VIEW_NAMES = {"center": "center crop", "ten_crop": "ten crops"}


def errors_table(errors: Mapping[str, Mapping[str, ErrorRates]], *, title: str | None = None) -> Table:
    """Make a table with one row per split and view."""
    several = any(rates.top5 is not None for views in errors.values() for rates in views.values())
    columns = ("top-1 error", *(["top-5 error"] if several else []))
    caption = None if several else "fewer than five classes: no top-5 errors"
    table = Table("images", "view", *columns, title=title, title_justify="left", caption=caption)
    for column in table.columns[2:]:
        column.justify = "right"
    for split, views in errors.items():
        for view, rates in views.items():
            label = f"{split} ({rates.images:,})"
            shown = [f"{100 * rate:.2f} %" for rate in (rates.top1, rates.top5) if rate is not None]
            table.add_row(label, VIEW_NAMES[view], *shown)
    return table


def result_table(result: Result) -> Table:
    """Return the errors of a finished run by split and view, with the paper's if the experiment is the paper's."""
    target = result.target.paper
    table = errors_table(result.errors, title=f"{result.ablation}, seed {result.seed}")
    if result.ablation == BASELINE and target.top1 is not None and target.top5 is not None:
        table.add_row("the paper", VIEW_NAMES["ten_crop"], f"{target.top1:.1f} %", f"{target.top5:.1f} %")
    return table


def show_again(result: Result, directory: Path, *, precision: str, console: Console) -> Result:
    """Print the errors of a run that was finished before, and its precision if the command asks for another."""
    other = f" at precision {result.precision}, not {precision}" if result.has_other_precision(precision) else ""
    console.print(f"already finished in {directory}{other} (restart=true runs it again)")
    console.print(fitted(result_table(result), console))
    return result
