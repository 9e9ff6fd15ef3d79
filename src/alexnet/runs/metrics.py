"""`metrics.csv`: one line per finished epoch, the only reader and writer."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path

from alexnet.config.fields import ADDED_LATER
from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.directory import METRICS_FILE
from alexnet.untrusted import MIB, damage_named, decode, read_regular, require

LARGEST = 16 * MIB
"""Bytes; a hundred thousand epochs."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One finished epoch; errors in percent, of augmented training crops and of validation images' center crops."""

    epoch: int
    """Counted from 0."""
    step: int
    """Updates since the start of training."""
    rate: float
    """The scheduled learning rate, before the multipliers of layers and biases."""
    train_loss: float
    train_top1_error: float
    train_top5_error: float | None
    """None among fewer than five classes."""
    val_loss: float | None
    """None if there are no validation images."""
    val_top1_error: float | None
    val_top5_error: float | None
    train_set_top1_error: float | None = field(default=None, metadata=ADDED_LATER)
    """Over all training images, not augmented, in evaluation mode; None unless the schedule stops by it."""
    seconds: float
    """Training time of this epoch, without validation."""
    images_per_second: float
    waiting_percent: float = field(default=0.0, metadata=ADDED_LATER)
    """Share of `seconds` in which the network waited for its images."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """All epochs that could be read, in order, and what is wrong with the file, if anything."""

    epochs: tuple[EpochRecord, ...]
    problem: str | None
    damaged: bool = False
    """Whether the problem is a file that cannot be read to its end, not one that is missing or empty."""

    @property
    def is_cut(self) -> bool:
        """Whether training ended within the last epoch, as by `trainer.max_time`; of a first one that is not known."""
        return bool(self.epochs) and self.epochs[-1].step < len(self.epochs) * self.epochs[0].step


def lr_drops(epochs: Sequence[EpochRecord]) -> list[EpochRecord]:
    """Return the epochs at whose start the learning rate changed."""
    return [after for before, after in pairwise(epochs) if after.rate != before.rate]


def write_metrics(directory: Path, records: Sequence[EpochRecord]) -> None:
    """Rewrite `metrics.csv` whole: after a resume it must not hold epochs that were lost and trained again."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    replace_file(directory / METRICS_FILE, text.getvalue().encode())


def read_metrics(directory: Path, *, sha256: str | None = None) -> Metrics:
    """Read `metrics.csv` up to the first damaged line; never raises for what the file holds or lacks."""
    epochs: list[EpochRecord] = []
    path = directory / METRICS_FILE
    try:
        with damage_named(path):
            text = read_regular(path, most=LARGEST, sha256=sha256).decode()
            for row in csv.DictReader(io.StringIO(text, newline="")):
                record = _record(row)
                if epochs and record.epoch <= epochs[-1].epoch:
                    raise ValueError(f"epoch {record.epoch} follows epoch {epochs[-1].epoch}")
                epochs.append(record)
    except UserError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if reason == "missing":
            return Metrics(epochs=(), problem=f"{METRICS_FILE}: missing")
        problem = f"{METRICS_FILE}: damaged after epoch {len(epochs)}: {reason.removeprefix('damaged: ')}"
        return Metrics(epochs=tuple(epochs), problem=problem, damaged=True)
    return Metrics(epochs=tuple(epochs), problem=None if epochs else f"{METRICS_FILE}: no epoch in it")


def _record(row: dict[str, str | None]) -> EpochRecord:
    """Parse one line. Columns that older files lack take their default, unknown ones are ignored."""
    columns = {column.name for column in fields(EpochRecord)}
    record: EpochRecord = decode(EpochRecord, {name: _number(row[name]) for name in columns & row.keys()})
    for name, value in asdict(record).items():
        most = 100 if name.endswith("_error") else 1e15 if type(value) is int else math.inf
        require(value is None or 0 <= value <= most, name, f"{value} is out of range")
    return record


def _number(text: str | None) -> float | None:
    """Parse a cell: None if it is empty, or if the line ends before it."""
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)
