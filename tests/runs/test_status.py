"""How far runs are, by their files and locks."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
import yaml

from alexnet.files import exclusive, is_held
from alexnet.runs.collect import load_run
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import UNFINISHED_MESSAGE, TrainingFacts
from alexnet.runs.summary import status
from tests.study.made_up import epoch_record, predictions, result, save, unfinished

BEGUN = 1_000_000.0


def underway(folder: Path, message: str = UNFINISHED_MESSAGE) -> Path:
    """A run of 10 epochs that has done 4 of 300 s each, and its validation, in 1,600 s; then 100 s have passed."""
    directory = save(folder, unfinished(result(), "interrupted", message))
    write_metrics(
        directory, [replace(epoch_record(n, train_set=None), val_top1_error=25.0, seconds=300.0) for n in range(4)]
    )
    schedule = {"epochs": 90, "rescale_to_epochs": 10}
    (directory / "config.yaml").write_text(yaml.safe_dump({"schedule": schedule, "study": {"plan": None}}))
    os.utime(directory / "result.json", (BEGUN, BEGUN))
    os.utime(directory / "metrics.csv", (BEGUN + 1600, BEGUN + 1600))
    return directory


def test_a_running_one_tells_how_far_it_is_and_how_long_it_takes(tmp_path: Path) -> None:
    directory = underway(tmp_path)
    with exclusive(directory / ".lock", "it"):
        seen = status(load_run(directory), now=BEGUN + 1700)
    assert (seen.state, seen.epochs_done, seen.epochs, seen.error, seen.split) == ("running", 4, 10, 25.0, "val")
    assert seen.seconds_left == pytest.approx(6 * 400 - 100)
    assert seen.steps_done is not None and seen.steps == seen.steps_done * 10 / 4
    left = status(load_run(directory), now=BEGUN + 1700)
    assert (left.state, left.seconds_left) == ("interrupted", None)


def test_a_lock_that_cannot_be_looked_at_leaves_it_open(tmp_path: Path) -> None:
    stopped, open_one = underway(tmp_path / "a", "interrupted by Ctrl-C"), underway(tmp_path / "b")
    for directory in (stopped, open_one):
        (directory / ".lock").symlink_to("elsewhere")
    assert [status(load_run(one)).state for one in (stopped, open_one)] == ["interrupted", "running?"]


def test_a_finished_one_has_its_final_error(tmp_path: Path) -> None:
    facts = TrainingFacts(epochs=20, steps=400, seconds=60.0, images_per_second=123.0, rate_drops=())
    directory = save(tmp_path, replace(result(), training=facts), predictions(300, 100))
    seen = status(load_run(directory))
    assert (seen.state, seen.epochs, seen.steps, seen.error, seen.split) == ("finished", 20, 400, 30.0, "test")


def test_looking_at_a_lock_neither_takes_nor_changes_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert is_held(lock) is False
    with exclusive(lock, "it"):
        said = lock.read_text()
        assert is_held(lock) and is_held(lock) and lock.read_text() == said
    assert is_held(lock) is False


def test_a_lock_that_is_looked_at_can_be_taken(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with exclusive(lock, "it"):
            assert is_held(lock)
