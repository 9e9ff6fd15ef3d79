"""Which classes an ablation changes most, with intervals that hold for all classes of a test set together."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from alexnet.errors import UserError
from alexnet.runs.arrays import read_header
from alexnet.study.pairing import Evaluated
from alexnet.study.statistics import CONFIDENCE, Family, Interval

MOST = 10
"""Classes shown each way."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """The rise of the top-1 error of one class, in points."""

    number: int
    """Of the class, in the order of the pack, from 0."""
    name: str
    """Empty if the baseline's run has not kept it."""
    images: int
    delta: float
    interval: Interval | None
    """95 % for all classes together, by Bonferroni; None if the spread between runs is unknown."""


def class_changes(runs: Sequence[Evaluated], baselines: Sequence[Evaluated]) -> list[ClassChange]:
    """Return the classes whose top-1 error rises most, then those in which it falls most, the largest changes first.

    They are chosen by these very runs: the intervals allow for that, as they are for any of the classes.
    """
    numbers, labels, counts = np.unique(baselines[0].labels, return_inverse=True, return_counts=True)
    tables = [np.stack([one.correct["top1"] for one in arm]) for arm in (baselines, runs)]
    # Rounded: means of different numbers of runs differ in their last bits where they are equal.
    rise = np.round(np.bincount(labels, weights=tables[0].mean(0) - tables[1].mean(0)) / counts, 12)
    order = np.argsort(-rise, kind="stable")
    up, down = order[rise[order] > 0][:MOST], order[rise[order] < 0][::-1][:MOST]
    confidence = 1 - (1 - CONFIDENCE) / len(counts)
    names: list[str] = []
    with suppress(UserError):  # probabilities are kept of few classes, and names with them
        names = read_header(baselines[0].run.directory).class_names
    found = []
    for place in [*up, *down]:
        estimate = Family.of_correct([table[:, labels == place] for table in tables]).delta(1)
        found.append(
            ClassChange(
                number=int(numbers[place]),
                name="".join(names[numbers[place] :][:1]),
                images=int(counts[place]),
                delta=100 * float(rise[place]),
                interval=estimate.interval(confidence) if estimate else None,
            )
        )
    return found
