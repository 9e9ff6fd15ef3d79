import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import imagenet

from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.layouts import open_source
from tests.data.replicas import (
    TEST_LABELS,
    TRAIN_PER_CLASS,
    VAL_LABELS,
    WNIDS,
    flat_images,
    ilsvrc2010,
    ilsvrc2012,
    kaggle,
    kit,
    labels,
    meta_mat,
    tar_of,
    train_images,
    unpack,
    words,
)
from tests.data.samples import images, refusal, splits, unused

SORTED = sorted(WNIDS)


def by_file(path: Path) -> dict[str, dict[str, int]]:
    """By split, classes by the names of the files alone."""
    found = splits(path)
    return {split: {name.rpartition("/")[2]: label for name, label in listed} for split, listed in found.items()}


def facts(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Class names and notes."""
    with open_source(path) as source:
        return source.class_names, source.notes


@pytest.mark.filterwarnings("ignore:Python 3.14 will, by default, filter:DeprecationWarning")  # torchvision 0.26
def test_ilsvrc2012_as_published_is_labelled_as_torchvision_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    listed, (names, notes) = by_file(root), facts(root)
    read = {name.rpartition("/")[2]: data for name, data in images(root).items()}
    for key, (name, _) in imagenet.ARCHIVE_META.items():
        digest = hashlib.md5((root / name).read_bytes()).hexdigest()
        monkeypatch.setitem(imagenet.ARCHIVE_META, key, (name, digest))
    for split in ("train", "val"):
        reference = imagenet.ImageNet(root, split)
        expected = {Path(path).name: label for path, label in reference.samples}
        assert listed[split] == expected
        assert names == [", ".join(names) for names in reference.classes]
        contents = {Path(path).name: Path(path).read_bytes() for path, _ in reference.samples}
        shutil.rmtree(root / split)
        assert contents.items() <= read.items()
    assert list(listed) == ["train", "val"] and not notes
    assert torch.load(root / "meta.bin")[1] == [WNIDS[number - 1] for number in VAL_LABELS]


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_kaggle_s_form_is_the_same_data(tmp_path: Path, form: str) -> None:
    published = ilsvrc2012(tmp_path / "published")
    root = kaggle(tmp_path / "kaggle")
    if form != "folder":
        root = Path(shutil.make_archive(str(tmp_path / "all"), {"zip": "zip", "tar.gz": "gztar"}[form], root))
    names, notes = facts(root)
    assert names == facts(published)[0]
    assert by_file(root) == by_file(published)
    assert not notes and unused(root)["test images of ILSVRC-2012, whose labels are not public"] == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ILSVRC2012_val_00000001,", "line 9 is no validation image and its one class"),
        ("ILSVRC2012_val_00000001,n01440764 1 2 3 4 n02119789 1 2 3 4", "its one class"),
        ("n01440764_1,n01440764 1 2 3 4", "line 9 is no validation image"),
        ("ILSVRC2012_val_00000003,n01440764 1 2 3 4", "each validation image from 1 on once"),
        ("ILSVRC2012_val_00000009,n01440764 1 2 3 4", "each validation image from 1 on once"),
        ("ILSVRC2012_val_00000008,n01440764 1 2 3 4", "7 val images but 8 labels"),
    ],
)
def test_a_wrong_table_of_kaggle_s_is_refused(tmp_path: Path, row: str, message: str) -> None:
    root = kaggle(tmp_path / "kaggle")
    with (root / "LOC_val_solution.csv").open("a") as table:
        table.write(f"{row}\n")
    assert message in refusal(root)


def test_kaggle_s_images_alone_have_no_labels(tmp_path: Path) -> None:
    assert "or LOC_val_solution.csv next to them" in refusal(kaggle(tmp_path) / "ILSVRC" / "Data")


def test_ilsvrc2010_as_published_has_test_images_with_labels(tmp_path: Path) -> None:
    root = ilsvrc2010(tmp_path / "imagenet")
    listed = by_file(root)
    assert {split: len(items) for split, items in listed.items()} == {"train": 18, "val": 7, "test": 3}
    for split, numbers in (("val", VAL_LABELS), ("test", TEST_LABELS)):
        expected = [SORTED.index(WNIDS[number - 1]) for number in numbers]
        assert [
            listed[split][f"ILSVRC2010_{split}_{number:08d}.JPEG"] for number in range(1, len(numbers) + 1)
        ] == expected
    assert facts(root)[0] == [words(wnid) for wnid in SORTED]
    assert images(root)["ILSVRC2010_images_test/test/ILSVRC2010_test_00000002.JPEG"] == flat_images(2010, "test")[1][1]


def unpacked(root: Path, layout: str) -> Path:
    """ILSVRC-2012 in the forms that it is unpacked to."""
    if layout == "class tars":
        with tarfile.open(ilsvrc2012(root) / "ILSVRC2012_img_train.tar") as archive:
            archive.extractall(root / "train", filter="data")
        (root / "ILSVRC2012_img_train.tar").unlink()
        return root
    folders = {"val in folders": WNIDS, "val in wrong folders": SORTED}.get(layout)
    val = [f"{folders[number - 1]}/" if folders else "" for number in VAL_LABELS]
    images = zip(val, flat_images(2012, "val"), strict=True)
    unpack(root / "val", ((folder + name, data) for folder, (name, data) in images))
    for wnid in WNIDS:
        unpack(root / "train" / wnid, train_images(wnid))
    unpack(root, kit(2012))
    if layout == "archives left":
        shutil.copytree(ilsvrc2012(root.parent / "archives"), root, dirs_exist_ok=True)
    return root


@pytest.mark.parametrize("layout", ["val in folders", "val flat", "archives left", "class tars", "one tar"])
def test_every_form_of_ilsvrc2012_makes_the_same_pack(tmp_path: Path, layout: str) -> None:
    published = ilsvrc2012(tmp_path / "published")
    if layout == "one tar":
        other = tmp_path / "all.tar"
        other.write_bytes(tar_of((f"all/{file.name}", file.read_bytes()) for file in published.iterdir()))
    else:
        other = unpacked(tmp_path / "other", layout)
    packs = [
        prepare(source, tmp_path / f"pack{number}", size=8, show_progress=False)
        for number, source in enumerate((published, other))
    ]
    assert packs[0].fingerprint == packs[1].fingerprint
    assert np.bincount(packs[0].splits["train"].labels).tolist() == [TRAIN_PER_CLASS] * len(WNIDS)


def test_validation_images_in_folders_of_other_classes_than_the_kit_s_are_refused(tmp_path: Path) -> None:
    assert f"but is of {WNIDS[0]} by the development kit" in refusal(unpacked(tmp_path / "x", "val in wrong folders"))


@pytest.mark.parametrize("form", [kaggle, ilsvrc2010])
def test_two_files_of_labels_that_differ_are_refused(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    root = form(tmp_path / "imagenet")
    name = "LOC_val_solution.csv" if form is kaggle else "ILSVRC2010_test_ground_truth.txt"
    (root / "old").mkdir()
    shutil.copy(root / name, root / "old" / name)
    assert len(splits(root)["val"]) == 7
    (root / "old" / name).write_bytes((root / name).read_bytes().replace(b"2\n", b"1\n").replace(b"n0", b"n1"))
    assert "; keep the right one" in refusal(root)


def test_the_training_archive_alone_is_class_folders(tmp_path: Path) -> None:
    path = ilsvrc2012(tmp_path / "imagenet") / "ILSVRC2012_img_train.tar"
    assert list(by_file(path)) == ["train"] and facts(path)[0] == SORTED


def test_unlabelled_test_images_are_left_out_with_a_note(tmp_path: Path) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    (root / "ILSVRC2012_img_test_v10102019.tar").write_bytes(tar_of(flat_images(2012, "test")))
    (root / "ILSVRC2012_img_train_t3.tar").write_bytes(b"of another task")
    assert list(by_file(root)) == ["train", "val"] and len(images(root)) == 25
    assert unused(root)["test images of ILSVRC-2012, whose labels are not public"] == 3
    assert unused(root)["archives that were not looked into"] == 1


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("ILSVRC2012_img_train.tar", "no train/"),
        ("ILSVRC2012_img_val.tar", "put ILSVRC2012_img_val.tar and the development kit next to it"),
        ("ILSVRC2012_devkit_t12.tar.gz", "put ILSVRC2012_devkit_t12.tar.gz or LOC_val_solution.csv next to them"),
    ],
)
def test_a_missing_archive_is_named(tmp_path: Path, missing: str, said: str) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    (root / missing).unlink()
    assert said in refusal(root)


def test_missing_test_labels_are_named(tmp_path: Path) -> None:
    root = ilsvrc2010(tmp_path / "imagenet")
    (root / "ILSVRC2010_test_ground_truth.txt").unlink()
    assert "ILSVRC2010_test_ground_truth.txt is missing" in refusal(root)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (VAL_LABELS[:-1], "7 val images but 6 labels"),
        ((*VAL_LABELS[:-1], 7), r"line 7 of ILSVRC2012_validation_ground_truth.txt is 7, which is no class"),
        ((0, *VAL_LABELS[1:]), "line 1 of ILSVRC2012_validation_ground_truth.txt is 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, numbers: tuple[int, ...], said: str) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_of(kit(2012, numbers), "w:gz"))
    assert said in refusal(root)


def test_a_missing_validation_image_is_refused(tmp_path: Path) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    images = flat_images(2012, "val")
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar_of(images[:3] + images[4:]))
    assert "6 val images but 7 labels" in refusal(root)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ([("data/meta.mat", b"MATLAB 5.0"), ("data/ILSVRC2012_validation_ground_truth.txt", b"1\n")], "meta.mat"),
        ([("data/meta.mat", meta_mat(2012)), ("data/ILSVRC2012_validation_ground_truth.txt", b"1\none\n")], "'one'"),
        ([("data/meta.mat", meta_mat(2012)), ("data/ILSVRC2012_validation_ground_truth.txt", b"9" * 30)], "one number"),
        ([("data/meta.mat", meta_mat(2012)), ("data/ILSVRC2010_validation_ground_truth.txt", b"1\n")], "is missing"),
    ],
)
def test_a_damaged_kit_is_one_line(tmp_path: Path, damage: list[tuple[str, bytes]], said: str) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_of(damage, "w:gz"))
    assert said in refusal(root)


def test_a_cut_kit_is_one_line(tmp_path: Path) -> None:
    kit_file = ilsvrc2012(tmp_path / "imagenet") / "ILSVRC2012_devkit_t12.tar.gz"
    kit_file.write_bytes(kit_file.read_bytes()[:300])
    assert "ILSVRC2012_devkit_t12.tar.gz is no readable archive" in refusal(kit_file.parent)


def test_two_years_in_one_folder_are_refused(tmp_path: Path) -> None:
    root = ilsvrc2012(tmp_path / "imagenet")
    shutil.copytree(ilsvrc2010(tmp_path / "2010"), root, dirs_exist_ok=True)
    assert "development kits" in refusal(root)
    (root / "ILSVRC2010_devkit-1.0.tar.gz").unlink()
    assert "several training folders" in refusal(root)


def test_a_kit_names_the_classes_of_folders(tmp_path: Path) -> None:
    for wnid in WNIDS:
        unpack(tmp_path / "train" / wnid, train_images(wnid))
    assert facts(tmp_path)[0] == SORTED
    unpack(tmp_path, [("data/meta.mat", b"of something else")])
    assert facts(tmp_path)[0] == SORTED
    unpack(tmp_path, [("data/meta.mat", meta_mat(2012)), ("ILSVRC2012_validation_ground_truth.txt", labels([1]))])
    assert facts(tmp_path)[0] == [words(wnid) for wnid in SORTED]
