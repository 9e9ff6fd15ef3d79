"""Runs side by side: processes of their own, counted by the machine."""

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from alexnet.config.schema import Config
from alexnet.processes import Preempted, signals_unwind, starting
from alexnet.sweep import cost, workers
from alexnet.sweep.workers import run_side_by_side
from tests.conftest import checked
from tests.sweep import bodies


def test_run_side_by_side_keeps_the_others_when_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PRELOADED", [])  # these bodies need no torch
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    work: list[Callable[[], object]] = [
        partial(bodies.meet, one, two),
        partial(bodies.meet, two, one),
        partial(bodies.die, signal.SIGKILL),
        partial(bodies.die, signal.SIGHUP),  # of a terminal that closes, which the parent alone obeys
        partial(bodies.die, signal.SIGTERM),
    ]
    looks: list[int] = []
    codes = run_side_by_side([*work, three.touch], 2, look=lambda: looks.append(0))
    assert codes == [0, 0, -signal.SIGKILL, 0, 128 + signal.SIGTERM, 0] and three.exists() and looks


def test_a_signal_waits_until_a_process_has_started() -> None:
    started = False
    with signals_unwind(), pytest.raises(Preempted):
        with starting():
            signal.raise_signal(signal.SIGTERM)
            started = True
        raise AssertionError("it waits for more")
    assert started


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "available_cpus", lambda: 4)


def on_cpu(*overrides: str) -> Config:
    return checked("hardware.accelerator=cpu", *overrides).config


@pytest.mark.parametrize(
    ("overrides", "runs", "expected"),
    [
        ([], 18, 4),
        ([], 3, 3),
        ([], 1, 1),
        (["hardware.threads=2"], 18, 2),
        (["hardware.threads=8"], 18, 1),
        (["devices=ddp"], 18, 1),
        (["study.runs_at_once=7"], 18, 7),
        (["study.runs_at_once=7"], 2, 2),
    ],
)
@pytest.mark.usefixtures("four_processors")
def test_runs_at_once_have_a_processor_for_each_thread(overrides: list[str], runs: int, expected: int) -> None:
    assert cost.runs_at_once([on_cpu(*overrides)] * runs) == expected


@pytest.mark.usefixtures("four_processors")
def test_a_run_on_a_gpu_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = on_cpu()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert cost.runs_at_once([config] * 18) == 4
    auto = replace(config, hardware=replace(config.hardware, accelerator="auto"))
    assert cost.runs_at_once([auto] * 18) == 1
