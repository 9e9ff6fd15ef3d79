"""Other images for a trained network: labels by the names of the classes, and ReaL's."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alexnet.commands.export import class_names
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import prepare
from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions
from alexnet.runs.result import ErrorRates
from alexnet.trained.evaluate import real_errors, real_labels
from alexnet.trained.network import classes_by_name
from tests.data.samples import noise


def network(*names: str) -> Any:
    return SimpleNamespace(class_names=list(names), path="net")


def packed(folder: Path, names: tuple[str, ...]) -> Pack:
    for number, name in enumerate(names):
        for split in ("train", "val"):
            (folder / "src" / split / name).mkdir(parents=True)
            noise(number).save(folder / "src" / split / name / f"ILSVRC2012_{split}_{5 - number:08d}.png")
    return prepare(folder / "src", folder / "pack", size=8, show_progress=False)


def test_classes_by_name_are_the_networks_numbers(tmp_path: Path) -> None:
    pack = packed(tmp_path, ("bee", "cat"))
    assert classes_by_name(network("ant", "cat", "bee"), pack).tolist() == [2, 1]
    with pytest.raises(UserError, match=r"does not have 1 of the 2 classes of .*, such as bee"):
        classes_by_name(network("ant", "cat"), pack)


def test_classes_named_by_numbers_have_these_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = packed(tmp_path, ("2", "0", "10"))
    assert classes_by_name(network(*(f"name {number}" for number in range(11))), pack).tolist() == [0, 2, 10]
    assert "names classes by numbers, taken for the network's: 0 for name 0" in capsys.readouterr().err
    assert class_names(3, pack.path) == ["0", "2", "10"]  # where torchvision's ImageFolder has 10 before 2
    assert f"taken in the order of {pack.path}, 0, 2, 10, ..." in capsys.readouterr().err
    with pytest.raises(UserError, match="such as 10"):
        classes_by_name(network("a", "b", "c"), pack)
    from_one = packed(tmp_path / "from_one", ("1", "2"))
    with pytest.raises(UserError, match="such as 1, by that name"):  # perhaps counted from 1
        classes_by_name(network("a", "b", "c"), from_one)


def test_real_labels_count_any_of_an_image_and_skip_images_without(tmp_path: Path) -> None:
    pack = packed(tmp_path, ("a", "b", "c"))  # images 5, 4 and 3, in this order
    (tmp_path / "real.json").write_text(json.dumps([[], [], [7, 8], [], [9]]))
    guesses = np.array([[9, 0, 0, 0, 0], [1, 0, 0, 0, 0], [6, 8, 0, 0, 0]])
    seen = ViewPredictions.from_top([9, 1, 8], guesses, np.ones((3, 5)))
    file = tmp_path / "real.json"
    found = real_errors(file, pack, real_labels(file, pack, 1000), {"center": seen})
    assert found == {"center": ErrorRates(images=2, top1=0.5, top5=None)}
    with pytest.raises(UserError, match="is about the 1,000 classes"):
        real_labels(file, pack, 20)


def test_real_labels_of_classes_in_another_order_and_of_no_image_are_refused(tmp_path: Path) -> None:
    pack = packed(tmp_path, ("a", "b"))
    seen = ViewPredictions.from_top([0, 1], np.tile([9, 8, 0, 0, 0], (2, 1)), np.ones((2, 5)))
    file = tmp_path / "real.json"
    for labels in ([[], [], [], [8], [9]], [[1], [], [], [], []]):
        file.write_text(json.dumps(labels))
        with pytest.raises(UserError, match="in the order of WordNet IDs"):
            real_errors(file, pack, real_labels(file, pack, 1000), {"center": seen})


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[["a"]]', "[[1000]]", "[[]]", "[" * 100_000])
def test_a_file_that_is_no_list_of_labels_is_refused(tmp_path: Path, text: str) -> None:
    pack = packed(tmp_path, ("a",))
    (tmp_path / "real.json").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path}/real.json: damaged: .*; as ReaL labels, give the published"):
        real_labels(tmp_path / "real.json", pack, 1000)
