"""The line that a run shows while it trains."""

import io
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from alexnet.training.display import RunDisplay
from alexnet.training.module import AlexNetModule


def test_the_time_left_is_judged_by_this_attempt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that starts in the middle of an epoch has not trained the first half of it."""
    trainer: Any = SimpleNamespace(current_epoch=3, max_epochs=5, num_training_batches=10)
    module = Mock(spec=AlexNetModule, train_errors=SimpleNamespace(images=0))
    history: Any = SimpleNamespace(records=[], images_per_second=50.0)
    display = RunDisplay(Console(file=(screen := io.StringIO()), width=80), history, live=False)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    display.on_train_start(trainer, module)
    display.on_train_batch_start(trainer, module, None, 5)
    monkeypatch.setattr("time.monotonic", lambda: 130.0)
    display.on_train_batch_end(trainer, module, None, None, 6)
    # 0.2 epochs took 30 s, 1.3 are to come.
    assert "epoch 4 of 5, 70 %, 50 images/s, 3 min left" in screen.getvalue()
