"""Which classes change most, against the family of one class by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.runs.arrays import write_probabilities
from alexnet.runs.collect import Run
from alexnet.study.classes import MOST, class_changes
from alexnet.study.pairing import Evaluated
from alexnet.study.statistics import Family
from tests.study.made_up import result

CLASSES, IMAGES = 30, 40


def arm(seed: int, shifts: dict[int, float]) -> list[Evaluated]:
    """Three runs with an error of 40 % in every class, but for shifts in some."""
    rng = np.random.default_rng(seed)
    labels = np.arange(CLASSES * IMAGES, dtype=np.int32) % CLASSES
    error = 0.4 + np.array([shifts.get(number, 0.0) for number in labels])
    run = Run(Path("nowhere"), result(), 0.0)
    correct = rng.random((3, len(labels))) >= error
    one = Evaluated(run=run, labels=labels, correct={"top1": correct[0]}, most_guessed=0.1, checksum=b"")
    return [replace(one, correct={"top1": right}) for right in correct]


def test_the_largest_changes_come_first_each_way_with_simultaneous_intervals() -> None:
    baselines, runs = arm(1, {}), arm(2, {3: 0.5, 7: -0.4})
    found = class_changes(runs, baselines)
    assert len(found) == 2 * MOST and (found[0].number, found[MOST].number) == (3, 7)
    deltas = [one.delta for one in found]
    assert deltas[:MOST] == sorted(deltas[:MOST], reverse=True) and deltas[MOST:] == sorted(deltas[MOST:])
    here = baselines[0].labels == 3
    tables = [np.stack([one.correct["top1"][here] for one in side]) for side in (baselines, runs)]
    estimate = Family.of_correct(tables).delta(1)
    assert estimate and found[0].images == IMAGES
    assert found[0].delta == pytest.approx(float(estimate.value))
    assert found[0].interval == estimate.interval(1 - 0.05 / CLASSES)
    resolved = [one.number for one in found if one.interval and not one.interval.low <= 0 <= one.interval.high]
    assert resolved == [3, 7]


def test_one_run_of_each_arm_has_no_interval_and_equal_runs_no_class() -> None:
    baselines = arm(1, {})
    assert {one.interval for one in class_changes(arm(2, {})[:1], baselines[:1])} == {None}
    assert class_changes(baselines, baselines) == []
    # As many wrong answers by other runs: equal, but not to the last bit of the means by image.
    places = np.arange(CLASSES * IMAGES) // CLASSES
    spread, alike = (
        [replace(baselines[0], correct={"top1": places != place}) for place in of_runs]
        for of_runs in ((0, 1, 2), (0, 0, 0))
    )
    assert class_changes(spread, alike) == class_changes(alike, spread) == []


def test_classes_have_the_names_that_the_baseline_has_kept(tmp_path: Path) -> None:
    write_probabilities(
        tmp_path, {"test": {}}, net="", fingerprint="", class_names=[f"c{one}" for one in range(CLASSES)]
    )
    baselines = [replace(one, run=replace(one.run, directory=tmp_path)) for one in arm(1, {})]
    assert class_changes(arm(2, {3: 0.5}), baselines)[0].name == "c3"


def test_classes_of_any_number_are_counted() -> None:
    labels = np.array([5, 5, 2**31 - 1, 2**31 - 1], dtype=np.int32)
    baselines, runs = (
        [replace(arm(0, {})[0], labels=labels, correct={"top1": np.array(right)})]
        for right in ([True] * 4, [True, True, False, True])
    )
    assert [(one.number, one.images, one.delta) for one in class_changes(runs, baselines)] == [(2**31 - 1, 2, 50.0)]
