"""The benchmark of the whole training runs from pictures to its table; what it measures is not judged here."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow  # four processes
def test_every_way_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measuring, end_to_end = importlib.import_module("measuring"), importlib.import_module("end_to_end")
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    monkeypatch.setattr(end_to_end, "computes_bfloat16", lambda: True)
    options = ["--draw", "100", "--keep", str(tmp_path / "kept"), "--batches", "4", "--rounds", "1", "--seconds", "0.1"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/end_to_end.py", *options])
    end_to_end.main()
    rows = json.loads(next(tmp_path.glob("end_to_end*.json")).read_text())["rows"]
    assert [row["way"] for row in rows] == ["script", "ours", "script, bfloat16", "ours, fast"]
    for row in rows:
        assert row["images_per_second"] > 0 and 0 <= row["waiting"] < 1 and row["memory_bytes"] > 2e8
