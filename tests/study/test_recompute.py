"""Every figure of a report against `recompute.py`, which shares no code with the program."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from alexnet.study.report.report import report
from tests.study.made_up import predictions, result, save
from tests.study.recompute import main


def random_study(folder: Path, seeds: int) -> Path:
    rng = np.random.default_rng(seeds)
    for seed in range(seeds):
        save(folder, result(seed=seed), predictions(300 + int(rng.integers(9)), 100))
        for ablation, shift in (("no_lrn", 14), ("one_column", 25), ("no_color", 0)):
            wrong, first = 300 + shift + int(rng.integers(12)), int(rng.integers(30))
            save(folder, result(ablation, seed), predictions(wrong, 110 + shift, first=first))
    report([folder], output=None, split=None, view="ten_crop", console=Console(file=io.StringIO()))
    return folder


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_study(tmp_path_factory.mktemp("study"), 3)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_every_figure_of_a_report_can_be_recomputed(tmp_path: Path, seeds: int) -> None:
    assert main(random_study(tmp_path, seeds), tmp_path) == 0


def test_a_changed_figure_is_found(studied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(studied, studied) == 0
    names = ("comparison.csv", "comparison_runs.csv", "comparison.html")
    for changed in names:
        for name in names:
            shutil.copyfile(studied / name, tmp_path / name)
        text = (tmp_path / changed).read_text()
        if changed.endswith("html"):
            before, after = "<strong>+", "<strong>+9"
        else:
            before = f",{next(csv.DictReader(text.splitlines()))['top1_error']}"
            after = f",9{before[1:]}"
        (tmp_path / changed).write_text(text.replace(before, after, 1))
        assert main(studied, tmp_path) == 1
        assert "0 differ" not in capsys.readouterr().out.splitlines()[-1]
