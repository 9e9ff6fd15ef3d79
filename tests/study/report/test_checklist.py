"""The reproducibility checklist: known figures are filled in, and what nobody wrote down is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from alexnet.commands.main import main
from alexnet.runs.result import TrainingFacts
from tests.study.made_up import predictions, result, save

FACTS = TrainingFacts(
    epochs=1, steps=1, seconds=90.0, images_per_second=1.0, rate_drops=(), device_hours=0.025, energy=None
)
SETTINGS = {"optimizer": {"lr": 0.01, "momentum": 0.9}, "crops": {"random": True}, "data": {"name": "shapes"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        for arm, wrong in (("baseline", 300), ("no_lrn", 320)):
            run = replace(result(arm, seed), training=FACTS, lr=0.01)
            save(tmp_path / "runs", run, predictions(wrong + seed, 100, first=seed))
    (tmp_path / "runs" / result().run / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


def test_it_has_the_figures_of_the_study_and_asks_for_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["checklist", str(folder / "runs"), "-o", str(folder / "checklist.md")])
    text = (folder / "checklist.md").read_text()
    questions = text.count("**To answer")
    assert f": {questions} questions are left for the authors" in capsys.readouterr().out
    assert 20 < questions < 40 and "\n\n\n" not in text and "{" not in text
    for said in (
        "shapes: 20 classes; train 3,000 images, val 400 images, test 1,000 images; fingerprint of images and",
        "1,000 test images, ten crops",
        "- [x] shapes is drawn by the program",
        "no\\_lrn changes `lrn.layers` from `[1, 2]` to `[]`",
        "- optimizer: lr=0.01, momentum=0.9",
        "- crops: random=True",
        "No search is recorded: one learning rate, 0.01, in all arms",
        "6 training runs, of which 6 finished",
        "| baseline | top-1 | 3 | 30.10 ± 0.10 |  |  |  |",
        "1.5 minutes of training a run, on average. Training took 0.15 device-hours (known for 6 of 6 runs)",
        "| 7. Experiment statistical significance | Yes",
    ):
        assert said.replace("\\_", "_") in text.replace("\\_", "_"), said
    main(["checklist", str(folder / "runs")])
    assert capsys.readouterr().out == text


def test_what_holds_for_several_tables_is_one_item(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ("baseline", "no_lrn"):
        run = replace(result(arm), pairing_key="11aa", run=f"{arm}-on-others", training=FACTS, lr=0.01)
        save(folder / "runs", run, predictions(300, 100))
    main(["checklist", str(folder / "runs")])
    text = capsys.readouterr().out
    assert text.count("shapes is drawn by the program") == text.count(" changes `lrn.layers`") == 1
    assert text.count("| baseline | top-1 |") == 2
    save(folder / "runs", replace(result("no_color"), lr=0.02), predictions(300, 100))
    main(["checklist", str(folder / "runs")])
    assert "No search is recorded: the settings of the configuration." in capsys.readouterr().out  # not of one rate
