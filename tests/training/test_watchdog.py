"""A run that stands still says where; one that loses a loader thread ends."""

import time
from concurrent.futures import Future
from pathlib import Path

import lightning as L
import pytest

from alexnet.data import threads
from alexnet.data.threads import ParallelMap
from alexnet.errors import UserError
from alexnet.training.watchdog import AT_LEAST_SECONDS, Watchdog
from tests.training.conftest import MakeJob, execute


def test_patience_follows_the_slowest_step_but_not_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watchdog = Watchdog(tmp_path)
    assert watchdog.patience == 600
    for moment, patience in ((500.0, 600), (501.0, AT_LEAST_SECONDS), (531.0, 300), (532.0, 300)):
        now = moment
        watchdog.step()
        assert watchdog.patience == patience


def test_silence_prints_and_stores_the_stacks_once_and_waits_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watchdog, trainer, module = Watchdog(tmp_path, at_least=0.1), L.Trainer(logger=False), L.LightningModule()
    watchdog.setup(trainer, module, "fit")
    watchdog.step()
    watchdog.step()
    deadline = time.monotonic() + 20
    while not (tmp_path / "stacks.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.2)
    watchdog.teardown(trainer, module, "fit")
    shown = capsys.readouterr().err
    assert shown.count("still waiting") == 1 and "test_silence_prints" in shown
    assert "test_silence_prints" in (tmp_path / "stacks.txt").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["stacks.txt"]


def test_a_dead_thread_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(Future, "set_result", dies)
    with pytest.raises(UserError, match="thread that prepares data has died"):
        next(ParallelMap(lambda x: x, range(9), 2))


def test_a_batch_that_cannot_be_loaded_ends_the_run_in_one_line(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("alexnet.data.loading.AugmentedBatches.__call__", fails)
    with pytest.raises(UserError, match=r"^batch 1 of an epoch cannot be loaded: OSError: .*Input/output error$"):
        execute(tiny(), tmp_path)
