"""Claims in words, measured on the curves of the runs: overfitting, the training error, and how fast a net learns.

Each is judged by itself, outside of the family of the table, by Welch's t over runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from alexnet.config.schema import Claim
from alexnet.runs.metrics import EpochRecord
from alexnet.study.pairing import Evaluated
from alexnet.study.statistics import CONFIDENCE, Interval
from alexnet.study.verdict import Direction, epochs_to, ratio

EARLY = 0.9
"""Of the loss of guessing: where the early stages of learning end."""
Curve = tuple[EpochRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an ablation does to a measure of its runs."""

    ablated: float
    """Mean over runs."""
    baseline: float
    value: float
    """Difference in points; of epochs, the ratio to the baseline."""
    interval: Interval | None
    """95 %; None with one run of either arm."""
    runs: int
    """In the smaller of the two arms."""
    level: float | None = None
    """The error in percent, or the loss, to which epochs are counted; None for a difference."""
    at_least: bool = False
    """Whether a run never came to the level."""
    of_crops: bool = False
    """Whether training errors are of the last epoch's crops, not of the whole training set."""

    def direction(self, claimed: str) -> Direction:
        """Judge whether the measure `rises` or `falls` as claimed."""
        if self.runs < 3:
            return Direction.TOO_FEW_SEEDS
        neutral = 0.0 if self.level is None else 1.0
        if self.interval is None or self.interval.low <= neutral <= self.interval.high:
            return Direction.NOT_RESOLVED
        return Direction.AS_CLAIMED if (self.value > neutral) == (claimed == "rises") else Direction.OPPOSITE


def worded_changes(claim: Claim | None, runs: Sequence[Evaluated], baselines: Sequence[Evaluated]) -> dict[str, Change]:
    """Return what the runs say of the measures that a claim in words names, of those that their curves hold."""
    if claim is None or not claim.measures or not runs or not baselines:
        return {}
    read = [[one.run.metrics for one in arm] for arm in (runs, baselines)]
    if any(metrics.problem for arm in read for metrics in arm):  # a curve that breaks off has another end
        return {}
    curves = [[metrics.epochs for metrics in arm] for arm in read]
    of_crops = any(curve[-1].train_set_top1_error is None for arm in curves for curve in arm)
    error = "train_top1_error" if of_crops else "train_set_top1_error"
    ends: list[list[float]] = [[getattr(curve[-1], error) for curve in arm] for arm in curves]
    reported = [[one.errors["top1"] for one in arm] for arm in (runs, baselines)]
    gaps = [list(np.subtract(*both)) for both in zip(reported, ends, strict=True)]
    classes = runs[0].run.result.data.classes
    found: dict[str, Change | None] = {}
    for measure in claim.measures:
        match measure:
            case "gap":
                found[measure] = _difference(*gaps, of_crops=of_crops)
            case "training_error":
                found[measure] = _difference(*ends, of_crops=of_crops)
            case "epochs_to_error":
                found[measure] = _epochs_to_error(curves, 100 * (1 - 1 / classes))
            case "epochs_to_loss":
                losses = [[[epoch.train_loss for epoch in curve] for curve in arm] for arm in curves]
                found[measure] = _epochs(losses, EARLY * math.log(classes), math.log(classes))
    return {measure: change for measure, change in found.items() if change is not None}


def _difference(ablated: Sequence[float], baseline: Sequence[float], *, of_crops: bool) -> Change:
    interval, runs = None, min(len(ablated), len(baseline))
    if runs > 1:
        found = stats.ttest_ind(ablated, baseline, equal_var=False).confidence_interval(CONFIDENCE)
        interval = Interval(float(found.low), float(found.high))
    own, usual = float(np.mean(ablated)), float(np.mean(baseline))
    return Change(ablated=own, baseline=usual, value=own - usual, interval=interval, runs=runs, of_crops=of_crops)


def _epochs_to_error(curves: Sequence[Sequence[Curve]], chance: float) -> Change | None:
    """Count the epochs to the lowest validation error that every run reaches: without dropout in both arms."""
    errors = [[[e.val_top1_error for e in curve if e.val_top1_error is not None] for curve in arm] for arm in curves]
    if not all(curve for arm in errors for curve in arm):
        return None
    return _epochs(errors, max(min(curve) for arm in errors for curve in arm), chance)


def _epochs(curves: Sequence[Sequence[Sequence[float]]], level: float, start: float) -> Change | None:
    """Compare the epochs until curves that begin at `start` come down to a level; None if a baseline never does."""
    if level >= start:
        return None
    times = [[epochs_to(curve, level, start) for curve in arm] for arm in curves]
    ablated = [time or len(curve) for time, curve in zip(times[0], curves[0], strict=True)]
    baseline = [time for time in times[1] if time is not None]
    if len(baseline) < len(times[1]):
        return None
    found = ratio(ablated, baseline, censored=times[0].count(None))
    return Change(
        ablated=float(np.mean(ablated)),
        baseline=float(np.mean(baseline)),
        value=found.times,
        interval=found.interval,
        runs=min(map(len, curves)),
        level=level,
        at_least=found.at_least,
    )
