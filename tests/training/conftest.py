"""What the training tests share: runs of a few seconds, on a drawn set of a hundred images."""

import signal
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.config.job import Job
from alexnet.runs.result import Result
from alexnet.terminal import Terminal
from alexnet.trained.weights import weights_digest
from alexnet.training.run import run
from tests.conftest import checked

NARROW = ("scale=cifar", "scale.channels=[8,8,16,16,8]", "scale.fc_width=32")
FEW = (
    "data.shapes.train_per_class=3",
    "data.shapes.val_per_class=1",
    "data.shapes.test_per_class=2",
    "optimizer.batch_size=16",
    "schedule.epochs=2",
    "schedule.milestones=[1]",
    "logger.wandb.mode=disabled",
    "hardware.accelerator=cpu",
    "hardware.eval_batch_size=256",
)
"""20 classes: 60 images to train on in 4 batches, the last of 12; 20 to validate and 40 to test."""

MakeJob = Callable[..., Job]
Finished = tuple[Path, Result, str]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    """A job of a narrow AlexNet on few images, with further overrides; all share one pack."""
    few = _few_images(tmp_path_factory)
    return lambda *overrides: few(*NARROW, *overrides)


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    """The same with a net to be chosen."""
    return _few_images(tmp_path_factory)


def _few_images(tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    packs = tmp_path_factory.getbasetemp() / "packs"
    return lambda *overrides: checked(*FEW, f"data.packs={packs}", *overrides, weights_digest=weights_digest)


@pytest.fixture(scope="session")
def finished(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One finished run: its directory, its result and what it printed. Not to be changed."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    return directory, *execute(tiny(), directory)


@pytest.fixture(scope="session")
def plain(finished: Finished) -> Path:
    """The directory of a run without any switches of speed. Not to be changed."""
    return finished[0]


@pytest.fixture(autouse=True)
def signals_work() -> Iterator[None]:
    """Under nohup some are ignored, and Lightning ignores further SIGINTs once it has seen one."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def execute(job: Job, directory: Path) -> tuple[Result, str]:
    """Run a job; its result and what it printed."""
    screen = StringIO()
    result = run(job, directory, console=Terminal(file=screen, width=120))
    return result, screen.getvalue()


def checkpoint(directory: Path) -> dict[str, Any]:
    """The last checkpoint, loaded without running code from it."""
    loaded: dict[str, Any] = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    return loaded


def state(directory: Path) -> dict[str, torch.Tensor]:
    """Everything that training has moved: weights, statistics, and the optimiser's velocities."""
    saved = checkpoint(directory)
    velocities = saved["optimizer_states"][0]["state"]
    return saved["state_dict"] | {f"velocity {key}": entry["momentum_buffer"] for key, entry in velocities.items()}


def assert_same_training(one: Path, other: Path) -> None:
    """Two runs ended alike: weights, velocities, epochs and predictions, bit for bit; only times may differ."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys() and any(key.startswith("velocity") for key in first)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    assert epochs(one) == epochs(other)
    with np.load(one / "predictions.npz") as mine, np.load(other / "predictions.npz") as theirs:
        assert mine.files == theirs.files and len(mine.files) > 4
        for name in mine.files:
            np.testing.assert_array_equal(mine[name], theirs[name])


def epochs(directory: Path) -> list[list[str]]:
    """The rows of metrics.csv without the columns of times, which come last."""
    rows = [line.split(",") for line in (directory / "metrics.csv").read_text().splitlines()]
    assert rows[0][-3:] == ["seconds", "images_per_second", "waiting_percent"]
    return [row[:-3] for row in rows]
