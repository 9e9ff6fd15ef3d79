"""The forecast of a sweep's time."""

import time
from pathlib import Path

import pytest
from torch import Tensor

from alexnet.config.job import check
from alexnet.data.pack.prepare import open_data
from alexnet.sweep import cost
from alexnet.training.module import AlexNetModule

SMALL = (
    "scale=cifar", "scale.channels=[8,8,16,16,8]", "scale.fc_width=32", "optimizer.batch_size=16",
    "data.shapes.train_per_class=20", "data.shapes.val_per_class=1", "data.shapes.test_per_class=1",
    "logger=none", "hardware.accelerator=cpu", "hardware.threads=1",
)  # fmt: skip
SECONDS = 0.6
"""Of compiling, in the first step."""


def test_forecast_does_not_count_a_first_step_that_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = check([*SMALL, f"data.packs={tmp_path}"])
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    original, slept = AlexNetModule.training_step, []

    def slow(module: AlexNetModule, batch: object, batch_idx: int) -> Tensor:
        if not slept:
            slept.append(time.sleep(SECONDS))
        return original(module, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(AlexNetModule, "training_step", slow)
    monkeypatch.setattr(cost, "TIMING_SECONDS", SECONDS / 2)  # used up by the first step alone
    assert cost.time_steps(job, pack, 1)[0] < SECONDS / 16 / 2
