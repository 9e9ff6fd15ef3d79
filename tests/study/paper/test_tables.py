"""The paper's tables: its numbers, ours beside them, and nothing where there is no run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions, write_probabilities
from alexnet.runs.result import DataFacts, ErrorRates, Result
from alexnet.runs.study_plan import Plan, RateSearch
from alexnet.study.paper.tables import report_tables
from tests.study.made_up import predictions, result, save, unfinished


def imagenet(seed: int, *, experiment: str = "ilsvrc2012", name: str = "ilsvrc2012", classes: int = 6) -> Result:
    data = DataFacts(name=name, fingerprint=name, classes=classes, images={"train": 10, "val": 50, "test": 50})
    return replace(result(seed=seed), run=f"{experiment}-{seed}", experiment=experiment, data=data,
                   pairing_key=experiment)  # fmt: skip


def write(folder: Path, run: Result, *, probabilities: bool = True) -> None:
    """A run that is wrong on image `seed` by one class, and sure of the label elsewhere."""
    directory = save(folder, run)
    classes = run.data.classes
    rates = ErrorRates(images=50, top1=(1 + run.seed) / 50, top5=run.seed / 50 if classes >= 5 else None)
    replace(run, errors={split: {"ten_crop": rates} for split in ("val", "test")}).write(directory)
    labels = np.arange(50, dtype=np.int32) % classes
    said = np.full((50, classes), 0.1 / (classes - 1), np.float32)
    said[np.arange(50), labels] = 0.9
    said[run.seed] = np.roll(said[run.seed], 1)
    if probabilities:
        seen = ViewPredictions.from_top(labels, labels[:, None], said[:, :1], said)
        answers = {split: {"ten_crop": seen} for split in ("val", "test")}
        write_probabilities(
            directory, answers, net=run.run, fingerprint=run.data.fingerprint, class_names=list("abcdef")[:classes]
        )


def tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, list[str]]]:
    """By title: the cells of every line, by model."""
    from rich.console import Console

    report_tables([folder], output=folder, console=Console())
    text = (folder / "tables.md").read_text()
    assert text.strip().replace("\\*", "*") in capsys.readouterr().out
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
            found[title] = {}
        elif line.startswith("| "):
            model, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[title][model] = cells
    return found


def test_the_paper_s_numbers_stand_and_ours_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        write(tmp_path, imagenet(seed))
    write(tmp_path, imagenet(5, experiment="fine_tune_ilsvrc2012"))
    found = tables(tmp_path, capsys)
    first, second = found["Table 1: ILSVRC-2010, test images"], found["Table 2: ILSVRC-2012"]
    assert first["CNN"] == ["37.5", "17.0", "", "", ""]
    assert first["*Sparse coding [2]*"][:2] == ["47.1", "28.2"] and first["*SIFT + FVs [24]*"][:2] == ["45.7", "25.7"]
    assert second["*SIFT + FVs [7]*"] == ["", "", "26.2", "", "", "", ""]
    assert second["1 CNN"] == ["40.7", "18.2", "", "6.00", "4.00", "4.00", "seeds 0-4"]
    # Each net is wrong on an image of its own, so that the mean of five is right on all.
    assert second["5 CNNs"] == ["38.1", "16.4", "16.4", "0.00", "0.00", "0.00", "seeds 0-4"]
    assert second["1 CNN\\*"] == ["39.0", "16.6", "", "12.00", "10.00", "10.00", "seed 5"]
    assert second["7 CNNs\\*"] == ["36.7", "15.4", "15.3", "", "", "", ""]


def test_nets_that_were_fine_tuned_otherwise_are_not_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of several pre-trained nets are, as the paper's two are."""
    commands = ("pretrained.checkpoint=one", "pretrained.checkpoint=two", "optimizer.lr=0.1 pretrained.checkpoint=one")
    other = imagenet(9)
    for run in (other, replace(other, run="again", data=replace(other.data, fingerprint="other"))):
        write(tmp_path, run)  # nor are those of other images, whose table took the place of the first
    for seed, words in enumerate(commands):
        run = imagenet(seed, experiment="fine_tune_ilsvrc2012")
        write(tmp_path, replace(run, command=f"train.py {words}", pairing_key=words))
    tables(tmp_path, capsys)
    rows = [line for line in (tmp_path / "tables.md").read_text().splitlines() if line.startswith("| 1 CNN\\*")]
    assert [(row.split("|")[5].strip(), row.split("|")[8].strip()) for row in rows] == [
        ("3.00", "seeds 0, 1"),
        ("6.00", "seed 2"),
    ] * 2


def test_an_average_without_probabilities_is_not_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        write(tmp_path, imagenet(seed), probabilities=seed < 4)
    cells = tables(tmp_path, capsys)["Table 2: ILSVRC-2012"]["5 CNNs"]
    assert cells[3:6] == ["needs probabilities.npz"] * 3


def test_other_data_have_a_table_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write(tmp_path, imagenet(seed, experiment="demo", name="shapes"))
    found = tables(tmp_path, capsys)
    own = found["shapes, 6 classes: experiment demo, recipe paper, NUMERICS 0"]
    assert own["1 CNN"] == ["3.00", "1.00", "3.00", "1.00", "seeds 0, 1"]
    # Two nets that disagree on an image: of equal classes the first counts, right for image 0 and wrong for image 1.
    assert own["2 CNNs"][4] == "seeds 0, 1"
    assert all(cell == "" for cell in found["Table 2: ILSVRC-2012"]["1 CNN"][3:])


def test_few_classes_have_no_top5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        write(tmp_path, imagenet(seed, classes=3))
        write(tmp_path, imagenet(seed, experiment="demo", name="shapes", classes=3))
    slow = replace(imagenet(9, experiment="demo", name="shapes", classes=3), command="train.py optimizer.lr=0.1")
    write(tmp_path, replace(slow, pairing_key="slow"))
    found = tables(tmp_path, capsys)
    assert found["Table 2: ILSVRC-2012"]["5 CNNs"][3:6] == ["0.00", "", ""]
    demo = found["shapes, 3 classes: experiment demo, recipe paper, NUMERICS 0"]
    assert demo["1 CNN"] == ["6.00", "6.00", "seeds 0-4"]
    other = found["shapes, 3 classes: experiment demo, recipe paper, NUMERICS 0, optimizer.lr=0.1"]
    assert other["1 CNN"][2] == "seed 9"
    assert "Fewer than five classes" in (tmp_path / "tables.md").read_text()


def test_no_usable_run_is_a_line(tmp_path: Path) -> None:
    from rich.console import Console

    save(tmp_path, unfinished(result(), "failed", "diverged"))
    with pytest.raises(UserError, match="no finished run without an ablation"):
        report_tables([tmp_path], output=None, console=Console())


def test_runs_of_a_search_for_rates_are_no_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = RateSearch(grid=(0.1, 0.2, 0.4), seeds=(1000,))
    plan = Plan(name="p", overrides=(), ablations=("no_lrn",), search=search)
    for seed, rate in ((0, 0.2), (1, 0.2), (1000, 0.1), (1000, 0.2), (1000, 0.4)):
        one = imagenet(seed, experiment="demo", name="shapes")
        wrong = 500 if seed == 1000 else 300
        save(tmp_path, replace(one, run=f"{seed}-{rate}", lr=rate, plan=plan), predictions(wrong, 100, first=seed % 7))
    ((_, rows),) = list(tables(tmp_path, capsys).items())[2:]
    assert rows["1 CNN"] == ["30.00", "10.00", "seeds 0, 1"] and "2 CNNs" in rows
