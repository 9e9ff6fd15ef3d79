"""The errors of a run's epochs, from `metrics.csv`: for curves, so whatever can be read of it is."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from alexnet.runs.result import METRICS_FILE


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One finished epoch; top-1 errors in percent."""

    epoch: int
    """Counted from 0."""
    rate: float
    train_error: float
    val_error: float | None
    """None where there are no validation images."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """All epochs that could be read, in order, and what is wrong with the file, if anything."""

    epochs: tuple[Epoch, ...]
    problem: str | None

    @property
    def rate_drops(self) -> list[int]:
        """Epochs at whose start the rate changed."""
        return [
            after.epoch
            for before, after in zip(self.epochs, self.epochs[1:], strict=False)
            if after.rate != before.rate
        ]


def read_metrics(directory: Path) -> Metrics:
    """Read `metrics.csv` up to the first line that is damaged; never raises for what the file holds or lacks."""
    path = directory / METRICS_FILE
    epochs: list[Epoch] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                epochs.append(_epoch(row, after=epochs[-1].epoch if epochs else -1))
    except FileNotFoundError:
        return Metrics(epochs=(), problem=f"{METRICS_FILE}: missing")
    except OSError as error:
        return Metrics(epochs=tuple(epochs), problem=f"{METRICS_FILE}: cannot be read: {error.strerror}")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        return Metrics(epochs=tuple(epochs), problem=f"{METRICS_FILE}: damaged after epoch {len(epochs)}: {error}")
    return Metrics(epochs=tuple(epochs), problem=None if epochs else f"{METRICS_FILE}: no epoch in it")


def _epoch(row: dict[str, str], *, after: int) -> Epoch:
    epoch = int(row["epoch"])
    if epoch <= after:
        raise ValueError(f"epoch {epoch} follows epoch {after}")
    val = row["val_top1_error"]
    return Epoch(
        epoch=epoch,
        rate=_finite(row["rate"]),
        train_error=_finite(row["train_top1_error"]),
        val_error=_finite(val) if val != "" else None,
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value
