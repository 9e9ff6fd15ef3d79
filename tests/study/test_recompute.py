"""Every figure of a report against `recompute.py`, which shares no code with the program."""

import csv
import io
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


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_every_figure_of_a_report_can_be_recomputed(tmp_path: Path, seeds: int) -> None:
    assert main(random_study(tmp_path, seeds), tmp_path) == 0


@pytest.mark.parametrize("file", ["comparison.csv", "comparison_runs.csv", "comparison.html"])
def test_a_changed_figure_is_found(tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = random_study(tmp_path, 3)
    text = (folder / file).read_text()
    before = "<strong>+" if file.endswith("html") else f",{next(csv.DictReader(text.splitlines()))['top1_error']}"
    (folder / file).write_text(text.replace(before, before + "9" if file.endswith("html") else f",9{before[1:]}", 1))
    assert main(folder, folder) == 1
    assert "0 differ" not in capsys.readouterr().out
