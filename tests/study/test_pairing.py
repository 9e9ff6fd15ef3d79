"""Tables of one experiment, recipe and data set: their titles say what they do not share."""

from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.runs.collect import collect
from alexnet.runs.result import GitState
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.pairing import environment
from alexnet.study.wording import heading, title
from tests.study.made_up import predictions, result, save


def groups(folder: Path, *commands: str) -> list[ComparisonTable]:
    """A table for each command, of two seeds; `,` parts what differs between the seeds."""
    for number, command in enumerate(commands):
        for seed, more in enumerate((command.split(", ") * 2)[:2]):
            words = f"python train.py experiment=demo {more} seed={seed}"
            run = replace(result(seed=seed), pairing_key=f"k{number}", run=f"{number}-{seed}", command=words)
            save(folder, run, predictions(300, 100))
    return compare(collect([folder]).runs, split=None, view="ten_crop")


@pytest.mark.parametrize(
    ("commands", "apart"),
    [
        (["optimizer.lr=0.02"], [""]),
        (["optimizer.lr=0.02", ""], ["optimizer.lr=0.02", ""]),
        (["schedule.epochs=5 +lrn.k=1", "schedule.epochs=5 lrn.k=3"], ["lrn.k=1", "lrn.k=3"]),
        (["lrn.k=1 runs=a hardware.threads=1", "devices=ddp data.packs=b '+ablation=[none]'"], ["lrn.k=1", ""]),
        (["lrn.k=1 data.root=x, lrn.k=1 data.root=y", "data.root=x"], ["lrn.k=1", "data.root=x"]),
        (["", "", "lrn.k=1"], ["pairing key k0, images d1", "pairing key k1, images d1", "lrn.k=1"]),
    ],
)
def test_what_not_all_commands_say_is_in_the_title(tmp_path: Path, commands: list[str], apart: list[str]) -> None:
    found = groups(tmp_path, *commands)
    assert [group.distinguished_by for group in found] == apart
    assert len({heading(group) for group in found}) == len({title(group) for group in found}) == len(commands)


def test_titles_that_differ_anyway_stay_short(tmp_path: Path) -> None:
    save(tmp_path, replace(result(), command="python train.py lrn.k=1"), predictions(300, 100))
    other = replace(result(), recipe="source_2012", run="other", pairing_key="k")
    save(tmp_path, other, predictions(300, 100))
    found = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    assert [heading(group) for group in found] == ["demo on shapes, recipe paper", "demo on shapes, recipe source_2012"]


def test_runs_of_different_numerics_are_not_paired_and_the_note_names_them(tmp_path: Path) -> None:
    save(tmp_path, replace(result(), numerics=1), predictions(300, 100))
    save(tmp_path, replace(result("no_lrn"), numerics=2), predictions(320, 110))
    tables = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    assert [table.distinguished_by for table in tables] == ["NUMERICS 1", "NUMERICS 2"]
    assert not any(one.baseline for table in tables for row in table.rows for one in row.runs)
    assert [len(table.runs) for table in tables] == [1, 1]
    assert "no_lrn seed 0 (shapes-no_lrn-seed0-1a2b)" in tables[0].notes[0].text
    assert "other numbers (NUMERICS 1, here 2)" in tables[1].notes[0].text


def test_mixed_revisions_and_devices_are_said_beside_the_table(tmp_path: Path) -> None:
    one, two = (GitState(revision=name, dirty=False) for name in "ab")
    save(tmp_path, replace(result(), git=one), predictions(300, 100))
    other = replace(result("no_lrn"), git=two, environment={"threads": "2"}, device="gpu")
    save(tmp_path, other, predictions(320, 110))
    (table,) = compare(collect([tmp_path]).runs, split=None, view="ten_crop")
    assert [note.text for note in table.notes if "differ in code, device:" in note.text]


@pytest.mark.parametrize(
    ("device", "fact"),
    [
        ("cpu: Made up, 2 threads", "cpu"),
        ("2 processes, each on cpu: Made up, 2 threads", "2 processes, each on cpu: Made up, 2 threads"),
        ("cuda: Made up", "cuda: Made up"),
    ],
)
def test_a_processor_is_one_fact(device: str, fact: str) -> None:
    made = replace(result(), device=device, environment={"cpu": "Made up", "threads": "2"})
    assert environment(made)["device"] == fact
    assert environment(replace(made, environment={}))["device"] == device
