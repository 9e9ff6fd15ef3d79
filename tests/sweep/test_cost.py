"""The forecast of a sweep's time."""

import time
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor

from alexnet.data.pack.prepare import open_data
from alexnet.sweep import cost
from alexnet.sweep.study import PlannedRun
from alexnet.training.module import AlexNetModule
from tests.conftest import checked

SMALL = (
    "scale=cifar", "scale.channels=[8,8,16,16,8]", "scale.fc_width=32", "optimizer.batch_size=16",
    "data.shapes.train_per_class=20", "data.shapes.val_per_class=1", "data.shapes.test_per_class=1",
    "logger=none", "hardware.accelerator=cpu", "hardware.threads=1",
)  # fmt: skip
SECONDS = 0.6
"""Of compiling, in the first step."""


def test_forecast_does_not_count_a_first_step_that_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = checked(*SMALL, f"data.packs={tmp_path}")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    original, slept = AlexNetModule.training_step, []

    def slow(module: AlexNetModule, batch: object, batch_idx: int) -> Tensor:
        if not slept:
            slept.append(time.sleep(SECONDS))
        return original(module, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(AlexNetModule, "training_step", slow)
    monkeypatch.setattr(cost, "TIMING_SECONDS", SECONDS / 2)  # used up by the first step alone
    assert cost.time_steps(job, pack, 1)[0] < SECONDS / 16 / 2


def test_work_counts_every_crop_that_is_evaluated(tmp_path: Path) -> None:
    words = [*SMALL, f"data.packs={tmp_path}", f"runs={tmp_path}", "schedule.epochs=30"]
    plain, fitted = (PlannedRun(words, checked(*words, *more)) for more in ([], ["schedule.stop_at_train_error=10"]))
    work, _ = cost.forecast([plain, fitted], "joblib", None, Console(quiet=True))
    # In images trained on, of 400 for training, 20 for validation and 20 for testing: a crop evaluated is a third.
    images = 30 * 400 + (30 * 20 + 10 * 40) / 3
    assert work[fitted.directory] / work[plain.directory] == pytest.approx((images + 30 * 400 / 3) / images)
