"""`regenerate.py` finds what a run that is trained again does otherwise."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.runs.metrics import EpochRecord, write_metrics
from tests.study.made_up import predictions, result, save
from tests.study.regenerate import ROOT, differences, main
from tests.training.conftest import FEW, NARROW


def committed(folder: Path, wrong: int = 300, *, seed: int = 0, loss: float = 2.5, cpu: str = "one") -> Path:
    run = save(folder, replace(result(seed=seed), environment={"cpu": cpu}), predictions(wrong, 100))
    epoch = EpochRecord(
        epoch=0,
        step=10,
        rate=0.01,
        train_loss=loss,
        train_top1_error=80.0,
        train_top5_error=50.0,
        val_loss=None,
        val_top1_error=None,
        val_top5_error=None,
        seconds=1.0,
        images_per_second=100.0,
    )
    write_metrics(run, [epoch])
    return run


def test_on_the_same_machine_every_number_must_be_the_same(tmp_path: Path) -> None:
    one = committed(tmp_path / "one")
    assert differences(one, committed(tmp_path / "two")) == ([], True)
    found, _ = differences(one, committed(tmp_path / "three", 301, loss=2.5000001))
    assert found[0] == "epoch 1, train_loss: 2.5, 2.5000001" and "the errors differ" in found
    assert "predictions, test/ten_crop/top5_classes" in found


def test_on_another_machine_as_two_seeds_may_differ(tmp_path: Path) -> None:
    one = committed(tmp_path / "one")
    for seed, wrong in enumerate((305, 295, 302, 298), 1):
        committed(tmp_path / "one", wrong, seed=seed)
    assert differences(one, committed(tmp_path / "two", 315, loss=2.51, cpu="two")) == ([], False)
    found, _ = differences(one, committed(tmp_path / "three", 400, loss=2.6, cpu="two"))
    assert found == [
        "loss of the first epoch: committed 2.5000, again 2.6000",
        "test ten_crop top1: +10.00 points, more than 4.64",
    ]


def test_other_images_are_told(tmp_path: Path) -> None:
    one, other = committed(tmp_path / "one"), committed(tmp_path / "two")
    changed = json.loads((other / "result.json").read_text())
    changed["data"]["fingerprint"] = "d2"
    (other / "result.json").write_text(json.dumps(changed))
    assert differences(one, other) == (["the images are others: their fingerprints differ"], False)


@pytest.mark.slow  # two short trainings in processes of their own, half a minute
def test_a_run_is_trained_again_by_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*NARROW, *FEW, f"data.packs={tmp_path / 'packs'}", f"runs={tmp_path / 'runs'}"]
    subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, check=True)
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/result.json"))
    assert main(run) == 0
    assert "the same kind of machine: bit for bit: 0 differences" in capsys.readouterr().out
    altered = shutil.copytree(run.parent, tmp_path / "altered") / run.name
    table = (altered / "metrics.csv").read_text().splitlines()
    loss = table[1].split(",")[3]
    (altered / "metrics.csv").write_text("\n".join([table[0], table[1].replace(loss, f"{loss}1"), *table[2:]]))
    assert main(altered) == 1
    assert "epoch 1, train_loss" in capsys.readouterr().out
