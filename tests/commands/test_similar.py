"""`alexnet codes` and `alexnet similar` on a small trained net, and precision counted by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.commands.main import main
from alexnet.data.pack.pack import open_pack
from alexnet.trained.similar import precision
from tests.commands.test_main import error_of


def test_precision_is_the_share_of_the_first_neighbours_of_the_class() -> None:
    found = np.zeros((2, 50), np.int64)
    found[0, :5] = 3  # five of class 3 first, none later
    found[1, 9:29] = 4  # twenty of class 4, of which one is among the first ten
    assert precision(found, np.array([3, 4])) == pytest.approx({1: 1 / 2, 10: 6 / 20, 50: 25 / 100})
    assert list(precision(found[:, :20], np.array([3, 4]))) == [1, 10]


def test_codes_are_kept_and_search_by_them(
    trained: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    image = tmp_path / f"one{' [b] of many' * 5}.png"
    train = open_pack(pack).splits["train"]
    Image.fromarray(train.gather(np.array([7]))[0]).save(image)  # no scaling: its own nearest neighbour

    assert "no such codes" in error_of(capsys, "similar", str(run), str(pack), "--query", str(image), "--codes", "16")
    main(["codes", str(run), str(pack), "--bits", "16", "--epochs", "2"])
    capsys.readouterr()
    kept = json.loads((run / "codes-fc7-16.json").read_text())
    assert (kept["queries"], kept["images"], kept["bits"], kept["dimensions"]) == (40, 60, 16, 32)
    assert list(kept["exact"]["precision"]) == ["1", "10", "50"] and kept["codes"]["bytes_per_image"] == 2

    main(["similar", str(run), str(pack), "--query", str(image), "-k", "3"])
    title, *table = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in table if line.strip().startswith("#")]
    assert title == str(image) and rows[0][1] == open_pack(pack).class_names[train.labels[7]]
    assert len(rows) == 3 and rows[0][0] == "#7" and float(rows[0][-1]) == pytest.approx(0, abs=1e-4)
    main(["similar", "--query", str(image), "--codes", "16", str(run), str(pack), "-k", "60"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("#")]
    assert len(rows) == 60 and ["#7", "0"] in [[row[0], row[-1]] for row in rows]

    # Another net's weights under the same name.
    shutil.copy(trained.parent / "seed1" / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")
    assert "other weights" in error_of(capsys, "similar", str(run), str(pack), "--codes", "16")


def test_mistakes_are_one_line(trained: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.png").write_text("words")
    similar = ("similar", str(trained), str(pack))
    assert "cannot be read: not an image" in error_of(capsys, *similar, "--query", str(tmp_path / "words.png"))
    assert "no such image" in error_of(capsys, *similar, "--query", str(tmp_path / "none.png"))
    assert "it is a folder" in error_of(capsys, *similar, "--query", str(tmp_path))
    assert "did you mean fc7?" in error_of(capsys, *similar, "--layer", "fc77")
    assert "60 training images" in error_of(capsys, *similar, "-k", "61")
