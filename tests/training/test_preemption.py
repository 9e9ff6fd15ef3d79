"""A signal ends a run at the step it is at; repeated, it ends bit for bit where an undisturbed one does."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from alexnet.processes import Preempted
from alexnet.runs.result import read_result
from alexnet.training.module import AlexNetModule
from alexnet.training.preemption import Preemption
from tests.training.conftest import MakeJob, assert_same_training, checkpoint, execute

NOISY = (
    "schedule.epochs=3",
    "schedule.milestones=[1,2]",
    "recipe=source_2012",
    "late_changes.layers=[]",
    "late_changes.color_off_epoch=null",
    "late_changes.bias_milestones=null",
    "schedule.stop_at_train_error=0",
)
"""With everything that a step could depend on besides its number: two schedules of rates, noise, a measured fit."""


def signal_in(hook: str, epoch: int, batch: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a signal arrive once, in a step of the module."""
    original = getattr(AlexNetModule, hook)

    def told(module: AlexNetModule, *arguments: object) -> object:
        if module.current_epoch == epoch and arguments[1] == batch:
            monkeypatch.setattr(AlexNetModule, hook, original)
            os.kill(os.getpid(), number)
        return original(module, *arguments)

    monkeypatch.setattr(AlexNetModule, hook, told)


@pytest.fixture(scope="module")
def undisturbed(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    execute(tiny(*NOISY), directory)
    return directory


@pytest.mark.parametrize(
    ("hook", "epoch", "batch", "number", "steps"),
    [
        ("training_step", 0, 1, signal.SIGINT, 2),
        ("validation_step", 1, 0, signal.SIGUSR1, 8),
        ("test_step", 2, 0, signal.SIGHUP, 12),
    ],
)
def test_a_signal_and_again(
    tiny: MakeJob,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    epoch: int,
    batch: int,
    number: int,
    steps: int,
) -> None:
    epoch += hook == "test_step"  # counted on when training is over
    signal_in(hook, epoch, batch, number, monkeypatch)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Preempted) as stop:
        execute(tiny(*NOISY), tmp_path)
    assert number == signal.SIGINT or stop.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert read_result(tmp_path).status == "interrupted"
    assert checkpoint(tmp_path)["global_step"] == steps
    execute(tiny(*NOISY), tmp_path)
    assert_same_training(tmp_path, undisturbed)


@pytest.mark.parametrize(
    "steps",
    [(0, 5, 7, 11), pytest.param(range(12), marks=pytest.mark.slow)],  # 20 s
    ids=["first, within and last of epochs", "every single one"],
)
def test_stopped_at_step_after_step(
    tiny: MakeJob, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Sequence[int]
) -> None:
    """After the last step of an epoch, validation comes first."""
    for step in steps:
        signal_in("training_step", step // 4, step % 4, signal.SIGTERM, monkeypatch)
        if step < 11:
            with pytest.raises(Preempted):
                execute(tiny(*NOISY), tmp_path)
            assert checkpoint(tmp_path)["global_step"] == step + 1
    with pytest.raises(Preempted):
        execute(tiny(*NOISY), tmp_path)  # in the test that follows the last epoch
    execute(tiny(*NOISY), tmp_path)
    assert_same_training(tmp_path, undisturbed)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As SIGHUP under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listened_for = Preemption(tmp_path)._previous_handlers
    assert signal.SIGHUP not in listened_for and signal.SIGTERM in listened_for


def test_who_listened_before_is_told_when_the_checkpoint_is_there(
    tiny: MakeJob, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit lets a SIGTERM pass, and puts the job back into the queue at a SIGUSR2."""
    steps = []

    def listener(number: int, _: object) -> None:
        steps.append(checkpoint(tmp_path)["global_step"])
        if number == signal.SIGUSR2:
            raise SystemExit(-1)

    former = {number: signal.signal(number, listener) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        signal_in("training_step", 1, 1, signal.SIGUSR2, monkeypatch)
        signal_in("training_step", 0, 2, signal.SIGTERM, monkeypatch)
        with pytest.raises(SystemExit):
            execute(tiny(*NOISY), tmp_path)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    assert steps == [3, 6]
    execute(tiny(*NOISY), tmp_path)
    assert_same_training(tmp_path, undisturbed)
