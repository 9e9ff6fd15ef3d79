"""`alexnet figure1`: its table, its CSV, its drawing, and its mistakes in one line."""

import csv
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from alexnet.commands.main import main
from alexnet.errors import UserError
from alexnet.runs.collect import load_run
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import read_result
from alexnet.study.charts import LIGHT
from alexnet.study.paper.figure1 import figure1
from tests.study.made_up import epoch_record, fitted, unfinished

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1, 2):
        fitted(tmp_path, "relu", 0.003, seed=seed, errors=[60, 40, 30 - seed, 20])
        fitted(tmp_path, "tanh", 0.01, seed=seed, errors=[80, 70, 60, 50, 40, 35, 30, 24])
    return tmp_path


def shown(folder: Path, width: int = 120, **options: float) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        figure1([folder], target=options.get("target", 25.0), output=None, console=console)
    return capture.get()


def test_the_table(runs: Path) -> None:
    text = shown(runs)
    rows = [
        re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip().startswith(("relu", "tanh"))
    ]
    assert rows[0] == ["relu", "0.003", "0-2", "3.50, 3.44, 3.38", "3.44"]
    assert rows[1][:5] == ["tanh", "0.01", "0-2", "7.83, 7.83, 7.83", "7.83"]
    assert float(rows[1][5]) == pytest.approx(7.8333 / (3.5 * 3.4444 * 3.375) ** (1 / 3), abs=0.005)
    assert "six times" in text and "3.1" in text
    assert all(len(line) <= 80 for line in shown(runs, width=80).splitlines() if line.startswith(" "))


def test_the_csv_has_a_line_for_each_run(runs: Path) -> None:
    shown(runs)
    with (runs / "figure1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["activation"], row["seed"]) for row in rows] == [(a, s) for a in ("relu", "tanh") for s in "012"]
    assert float(rows[0]["epochs"]) == 3.5 and float(rows[0]["steps"]) == 3.5 * 352
    assert rows[0]["ratio"] == "" and float(rows[3]["ratio_low"]) < float(rows[3]["ratio"])
    assert {row["reached"] for row in rows} == {"True"}


def test_figure_shows_the_curves_in_scale(runs: Path) -> None:
    shown(runs)
    drawn = (runs / "figure1.svg").read_text()
    root = ElementTree.fromstring(drawn)

    def points(path: ElementTree.Element) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path.get("d") or "")]

    paths = [(points(path), path.get("style") or "") for path in root.iter(f"{SVG}path")]
    lines = [(line, style) for line, style in paths if len(line) in (4, 8) and "fill: none" in style]
    assert ["stroke-dasharray" in style for _, style in lines] == [False] * 4 + [True] * 4  # solid, dashed
    target = next(line[0][1] for line, style in paths if LIGHT["muted"] in style and len(line) == 2)
    relu, mean, tanh = lines[0][0], lines[3][0], lines[4][0]
    assert len(relu) == 4 and len(tanh) == 8
    assert [x for x, _ in relu] == [x for x, _ in tanh[:4]]
    steps = [after - before for (before, _), (after, _) in pairwise(tanh)]
    assert max(steps) - min(steps) < 0.3  # equal epochs
    # 30 % to 20 % from the third epoch to the fourth: the target lies halfway.
    assert (relu[2][1] + relu[3][1]) / 2 == pytest.approx(target, abs=0.2)
    assert mean[2][1] == pytest.approx(sum(line[2][1] for line, _ in lines[:3]) / 3, abs=0.2)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "relu, lr 0.003" in texts and "tanh, lr 0.01" in texts and "Epochs" in texts


def test_a_run_that_ended_above_the_target_is_said_to_have(runs: Path) -> None:
    text = shown(runs, target=22.0)
    assert "over 8" in text and "is not known" in text
    rows = list(csv.DictReader((runs / "figure1.csv").read_text().splitlines()))
    assert [row["reached"] for row in rows] == ["True"] * 3 + ["False"] * 3
    assert rows[3]["ratio_at_least"] == "True" and rows[3]["ratio_high"] == "inf"


def test_an_epoch_that_was_not_trained_to_its_end_does_not_count(runs: Path) -> None:
    directory = next(runs.glob("*tanh*seed0*"))
    *whole, last = load_run(directory).metrics.epochs
    write_metrics(directory, [*whole, replace(last, step=last.step - 1)])
    assert "over 7, 7.83, 7.83" in shown(runs)


def test_six_times_is_judged_at_the_paper_s_error_with_three_seeds_of_both(runs: Path) -> None:
    said = "Six times, as 5.5 to 6.5, for tanh at lr 0.01: "
    assert f"{said}smaller." in shown(runs)
    assert f"{said}not judged at 22 %." in shown(runs, target=22.0)
    shutil.rmtree(next(runs.glob("*relu*seed2")))
    assert f"{said}too few seeds." in shown(runs)
    fitted(runs, "relu", 0.003, seed=3, errors=[80, 40])
    assert f"{said}not judged, as a run of relu ended above the target." in shown(runs)


def test_runs_that_cannot_count_are_named(runs: Path) -> None:
    directory = fitted(runs, "tanh", 0.1, seed=0, errors=[80])
    unfinished(read_result(directory), "failed", "training diverged in epoch 1").write(directory)
    bare = fitted(runs, "relu", 0.003, seed=9, errors=[80])
    write_metrics(bare, [epoch_record(0, train_set=None)])
    text = shown(runs)
    assert "failed: training diverged in epoch 1" in text and "was not measured" in text
    assert "0.1 " not in text.split("Epochs until")[0]


def test_mistakes_are_one_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="guessing"):
        shown(runs, target=90)
    empty = tmp_path / "other"
    bare = fitted(empty, "relu", 0.003, seed=0, errors=[80])
    (bare / "metrics.csv").unlink()
    (fitted(empty, "relu", 0.003, seed=1, errors=[80]) / "metrics.csv").unlink()
    for arguments, part in (
        ([str(empty)], "experiment=figure1 does; the first of 2 runs: "),
        ([str(tmp_path / "no")], "no"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["figure1", *arguments])
        error = capsys.readouterr().err
        assert caught.value.code == 1 and error.count("\n") == 1 and part in error
