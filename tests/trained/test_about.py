"""What is said before predictions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from alexnet.runs.arrays import ViewPredictions
from alexnet.runs.result import TrainingFacts
from alexnet.trained.evaluate import about
from tests.study.made_up import result, save

FACTS = TrainingFacts(epochs=30, steps=1, seconds=1.0, images_per_second=1.0, rate_drops=())


def trained(folder: Path, file: str = "last.ckpt", limit: float | None = None) -> Any:
    """Stands for a network that was loaded from a run directory."""
    trainer, optimizer = SimpleNamespace(limit_train_batches=limit), SimpleNamespace(batch_size=32)
    config = SimpleNamespace(data=SimpleNamespace(name="shapes"), trainer=trainer, optimizer=optimizer)
    path = folder / "checkpoints" / file
    return SimpleNamespace(class_names=["c"] * 20, config=config, name=folder.name, directory=folder, path=path)


def seen(sure: int) -> ViewPredictions:
    """100 images, of which 30 are wrong, and the first are sure."""
    labels = np.zeros(100, int)
    classes = np.tile(np.arange(5), (100, 1))
    classes[::4], classes[1:21:4] = (1, 0, 2, 3, 4), (1, 0, 2, 3, 4)
    top = np.where(np.arange(100)[:, None] < sure, [0.95, 0.01, 0.01, 0.01, 0.01], [0.5, 0.2, 0.1, 0.1, 0.1])
    return ViewPredictions.from_top(labels, classes, top)


def test_it_tells_data_error_and_what_a_high_probability_was_worth(tmp_path: Path) -> None:
    directory = save(tmp_path, replace(result(), training=FACTS), seen(40))
    assert about(trained(directory), "ten_crop") == (
        f"{directory.name} was trained on 3,000 images of shapes, 20 classes, in 30 epochs; of 100 test images it gets"
        " 30.0 % wrong (ten crops); of the 40 with more than 90 % for one class, 62 % were right; on pictures unlike"
        " those its percentages say little, since it gives all of them to the classes it knows"
    )
    assert "was trained on 3,000 images of shapes, 64 in each epoch, 20" in about(
        trained(directory, limit=2), "ten_crop"
    )
    save(tmp_path, replace(result(), training=FACTS), seen(3))
    assert "(ten crops), and is seldom surer than 90 %; on" in about(trained(directory), "ten_crop")
    other = about(trained(directory, "best.ckpt"), "ten_crop")
    assert "knows 20 classes of shapes; this file does not say how often it is right (alexnet evaluate)" in other
