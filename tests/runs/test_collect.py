"""Which run directories are found, and what happens to those that cannot be read."""

from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.runs.collect import collect
from alexnet.runs.directory import RESULT_FILE
from tests.study.made_up import predictions, result, save, unfinished


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    first = save(tmp_path, result(), predictions(300, 100))
    save(tmp_path / "multirun" / "day", result("no_lrn"), predictions(310, 100))
    assert [run.result.ablation for run in collect([tmp_path, first, tmp_path / "multirun"]).runs] == [
        "no_lrn",
        "baseline",
    ]
    assert [run.directory for run in collect([first]).runs] == [first.resolve()]


def test_nothing_is_looked_for_within_a_run(tmp_path: Path) -> None:
    first = save(tmp_path, result(), predictions(300, 100))
    save(first / "checkpoints", result("no_lrn"), predictions(310, 100))
    assert len(collect([tmp_path]).runs) == 1


def test_unfinished_runs_are_kept(tmp_path: Path) -> None:
    save(tmp_path, unfinished(result(), "interrupted", "Ctrl-C in epoch 2"))
    (run,) = collect([tmp_path]).runs
    assert not run.finished
    assert str(run) == "baseline seed 0 (shapes-baseline-seed0-1a2b)"


def test_damaged_runs_are_named(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    broken = save(tmp_path, result("no_lrn"), predictions(310, 100))
    (broken / RESULT_FILE).write_text("{")
    found = collect([tmp_path])
    assert len(found.runs) == 1
    assert len(found.unreadable) == 1
    assert str(broken / RESULT_FILE) in found.unreadable[0]


def test_paths_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no result\.json in it or below"):
        collect([tmp_path])
    with pytest.raises(UserError, match="not a folder"):
        collect([tmp_path / "absent"])
    save(tmp_path / "runs", result(), predictions(300, 100))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no"):
        collect([tmp_path / "runs", tmp_path / "empty"])
