"""The benchmark of loading, where it can be tried without a GPU; what it measures is not judged here."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from alexnet.data.pack.prepare import prepare
from tests.data.samples import class_folders

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("loading")


def test_without_a_gpu_decoders_are_not_compared(
    loading: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks/loading.py", "--images", "photographs", "--decoders"])
    with pytest.raises(SystemExit) as ended:
        loading.main()
    assert ended.value.code == 2
    assert "--decoders measures decoding on a GPU, and torch finds none here" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_both_decoders_are_measured(
    loading: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    if device != "cpu" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    monkeypatch.setattr(importlib.import_module("measuring"), "RESULTS", tmp_path)
    monkeypatch.setattr(loading, "TIMES", 2)
    pack = prepare(
        class_folders(tmp_path / "images"), tmp_path / "pack", size=256, encoding="jpeg", show_progress=False
    )
    loading._by_decoder(pack, 1, torch.device(device))
    rows = json.loads((tmp_path / "loading_decoders.json").read_text())["rows"]
    ways = [row["way"] for row in rows]
    assert ways[0] == "host, 1 thread" and ways[-2:] == ["device, 1 thread", "device, 2 threads"]
    assert all(row["images_per_second"] > 0 and row["host_us"] > 0 for row in rows)
