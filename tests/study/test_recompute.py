"""Every figure of a report against `recompute.py`, which shares no code with the program."""

import csv
import io
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from alexnet.runs.study_plan import Look, Plan, RateSearch
from alexnet.study.report.report import report
from tests.study.made_up import predictions, result, save, searched
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


def planned_study(folder: Path, search_seeds: tuple[int, ...]) -> Path:
    """A plan with a search, after which two ablations run at other rates too, and one is judged there."""
    ablations = ("no_lrn", "one_column", "no_dropout")
    plan = Plan(
        name="p",
        overrides=(),
        ablations=ablations,
        baseline_seeds=5,
        looks=(Look(seeds=3, level=0.05),),
        search=RateSearch(grid=(0.0025, 0.005, 0.01), seeds=search_seeds),
    )
    rng = np.random.default_rng(len(search_seeds))
    best = {"baseline": 0.005, "no_lrn": 0.0025, "one_column": 0.01, "no_dropout": 0.005}
    for seed in search_seeds:
        for arm, chosen in best.items():
            for rate in (0.00125, 0.0025, 0.005, 0.01, 0.02):
                wrong = 300 + (0 if rate == chosen else 60) + int(rng.integers(9))
                save(folder, searched(plan, arm, rate, seed), predictions(wrong, 100), split="val")
    for seed in range(5):
        save(folder, searched(plan, "baseline", 0.005, seed), predictions(300 + int(rng.integers(9)), 100))
    for seed, arm in itertools.product(range(3), ablations):
        for rate in {0.005, best[arm]}:
            one = searched(plan, arm, rate, seed)
            claims = {arm: replace(one.claims[arm], rate="own" if arm == "one_column" else "shared")}
            wrong = 320 + int(rng.integers(12)) + int(2000 * rate)
            save(folder, replace(one, claims=claims), predictions(wrong, 120, first=int(rng.integers(30))))
    report([folder], output=None, split=None, view="ten_crop", console=Console(file=io.StringIO()))
    return folder


@pytest.mark.parametrize("search_seeds", [(7,), (7, 8)])
def test_a_planned_study_can_be_recomputed_with_its_rates(
    tmp_path: Path, search_seeds: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    planned_study(tmp_path, search_seeds)
    assert main(tmp_path, tmp_path) == 0
    notes = (tmp_path / "comparison.md").read_text()
    assert "no_lrn, top-1, at the rate 0.0025" in notes and "one_column, top-1, at the rate 0.005" in notes
    (tmp_path / "comparison.md").write_text(notes.replace("; chosen 0.0025", "; chosen 0.005"))
    assert main(tmp_path, tmp_path) == 1
    assert "no_lrn search" in capsys.readouterr().out


def test_a_changed_figure_is_found(studied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(studied, studied) == 0
    names = ("comparison.csv", "comparison_runs.csv", "comparison.html")
    copied = (*names, "comparison.md")
    for changed in names:
        for name in copied:
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
