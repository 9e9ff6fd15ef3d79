"""Benchmarks lose nothing to a time limit: what has been measured is on the disk."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("measuring")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_rows_are_written_and_shown_as_they_come(measuring: ModuleType, tmp_path: Path) -> None:
    shown: list[int] = []

    def written() -> list[int]:
        rows: list[int] = json.loads((tmp_path / "tried.json").read_text())["rows"]
        return rows

    def groups() -> Iterator[list[int]]:
        yield [1, 2]
        assert written() == shown == [1, 2]
        yield [3]

    measuring.report(groups(), shown.extend, "tried", 1)
    assert written() == shown == [1, 2, 3]


def test_medians_are_told_after_every_round_but_the_first(measuring: ModuleType) -> None:
    turns: list[int] = []
    told: list[int] = []
    candidates = {"one": measuring.timed(lambda: turns.append(1))}
    medians = measuring.interleaved(candidates, 3, so_far=lambda _: told.append(len(turns)))
    assert told == [2, 3, 4] and medians["one"]["all"].wall > 0


def test_bfloat16_that_is_emulated_is_left_out_at_once(
    measuring: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "multiplies_bfloat16", lambda _: False)
    assert not measuring.computes_bfloat16() and "emulates" in capsys.readouterr().err
