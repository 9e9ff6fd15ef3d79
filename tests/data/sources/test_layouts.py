import re
import shutil
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from alexnet.data.sources.file_tree import FileTree
from alexnet.data.sources.layouts import open_source
from alexnet.errors import UserError
from tests.data.replicas import WNIDS, class_tars, tar_of, unpack
from tests.data.samples import CLASSES, archive, class_folders, encoded, images, noise, refusal, splits

ARCHIVES = {".tar": "tar", ".tar.gz": "gztar", ".zip": "zip"}
"""What `shutil` calls them; it puts folders in as well."""
KINDS = ("x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.tar.zst", "x.zip")


def notes(path: Path) -> tuple[str, ...]:
    with open_source(path) as source:
        return source.notes


def class_names(path: Path) -> list[str]:
    with open_source(path) as source:
        return source.class_names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", ["", "./", "wrapped/"])
def test_an_archive_is_the_folder_that_it_holds(tmp_path: Path, kind: str, top: str) -> None:
    folder = class_folders(tmp_path / "images", ("train", "validation", "test"), count=1)
    packed = archive(folder, tmp_path / kind, top=top)
    assert splits(packed) == splits(folder)
    assert images(packed) == images(folder)


def test_splits_and_classes(tmp_path: Path) -> None:
    found = splits(class_folders(tmp_path, ("train", "valid", "test"), count=2))
    assert {split: len(items) for split, items in found.items()} == {"train": 10, "val": 10, "test": 10}
    assert class_names(tmp_path) == list(CLASSES)
    assert found["val"][2] == ("valid/b/0.png", 1)


def test_classes_at_the_top_are_for_training(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", [""])
    for path in (folder, Path(shutil.make_archive(str(tmp_path / "x"), "tar", folder))):
        assert {split: len(items) for split, items in splits(path).items()} == {"train": 15}
        assert not notes(path)  # the archive's root is no class


@pytest.mark.parametrize("kind", ["", ".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("top", ["", "wrapped"])
def test_class_folders_without_images_are_told_of(tmp_path: Path, kind: str, top: str) -> None:
    root = tmp_path / "root"
    folder = class_folders(root / top, ("train", "val"), count=1)
    assert not notes(root)
    for name in ("train/bb", "train/cc/deeper", "val/a/.hidden", "__MACOSX/train/x", ".git/x"):
        (folder / name).mkdir(parents=True)
    (folder / "train/cc/notes.txt").write_text("no image")
    (folder / "val/e/0.png").unlink()
    path = Path(shutil.make_archive(str(tmp_path / "x"), ARCHIVES[kind], root)) if kind else root
    first = str(Path(top) / "train/bb")
    assert notes(path) == (f"3 class folders without images are left out, such as {first}",)
    assert len(class_names(path)) == 5 and len(splits(path)["val"]) == 4


def test_a_split_without_images_is_told_of(tmp_path: Path) -> None:
    class_folders(tmp_path / "src", ["train"])
    (tmp_path / "src" / "val" / "a").mkdir(parents=True)
    assert notes(tmp_path) == ("src/val holds no images, so it is no split",)


def test_a_split_s_folder_in_itself_is_passed_over(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", ["train"])
    (tmp_path / "train" / "train" / "empty").mkdir()
    assert class_names(tmp_path) == list(CLASSES)
    assert notes(tmp_path) == ("1 class folder without images is left out, such as train/empty",)


def test_a_folder_of_images_between_a_split_and_its_classes_is_passed_over(tmp_path: Path) -> None:
    class_folders(tmp_path, ["train/images", "val/images"], count=1)
    assert class_names(tmp_path) == list(CLASSES) and not notes(tmp_path)


def test_folders_that_lie_too_deep_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: object) -> None:  # such folders themselves, no tool removes
        raise RecursionError

    monkeypatch.setattr("alexnet.data.sources.file_tree.os.scandir", too_deep)
    assert "nested too deeply" in refusal(tmp_path)


@pytest.mark.parametrize("made_on", ["Windows", "macOS"])
def test_names_in_a_zip_are_those_that_its_maker_meant(tmp_path: Path, made_on: str) -> None:
    windows, path = made_on == "Windows", tmp_path / "x.zip"
    name = "train\\{}\\0.png" if windows else "train/{}/0.png"
    with zipfile.ZipFile(path, "w") as packed:
        for number, of_class in enumerate(("\u00e9t\u00e9", "hiver")):
            member = zipfile.ZipInfo()
            member.filename, member.create_system = name.format(of_class), 0 if windows else 3
            packed.writestr(member, encoded(noise(number), "PNG"))
    if not windows:  # macOS does not say that names are UTF-8
        data = bytearray(path.read_bytes())
        for magic, flags in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
            for found in re.finditer(re.escape(magic), bytes(data)):
                data[found.start() + flags] &= ~8
        path.write_bytes(data)
    assert class_names(path) == ["hiver", "\u00e9t\u00e9"]


def test_a_class_tar_without_images_is_told_of(tmp_path: Path) -> None:
    empty = [*class_tars(), ("n99999999.tar", tar_of([]))]
    (tmp_path / "all.tar").write_bytes(tar_of(empty))
    unpack(tmp_path / "tars", empty)
    for path in (tmp_path / "all.tar", tmp_path / "tars"):
        assert notes(path) == ("1 class folder without images is left out, such as n99999999",)
        assert len(class_names(path)) == len(WNIDS)


def test_hidden_files_and_other_files_do_not_count(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images")
    before = splits(folder)
    for name in (".DS_Store", "__MACOSX/train/a/1.png", "train/a/._1.png", "train/.x/1.png", "train/a/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"?")
    assert splits(folder) == before


@pytest.mark.parametrize("line", ["b\tbeetle, bug", "b beetle, bug"])
@pytest.mark.parametrize("file", ["class_names.txt", "words.txt"])
def test_readable_class_names(tmp_path: Path, file: str, line: str) -> None:
    folder = class_folders(tmp_path / "images")
    (folder / file).write_text(f"{line}\nzebra\tnot here\n\n", encoding="utf-8-sig")
    assert class_names(folder) == ["a", "beetle, bug", "c", "d", "e"]
    assert notes(folder) == (f"{file} names 1 of the 5 classes",)
    assert class_names(archive(folder, tmp_path / "x.zip", top="w/"))[1] == "beetle, bug"


def test_classes_of_the_same_words_keep_their_folders_apart(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images")
    (folder / "words.txt").write_text("a\tcrane\nb\tbeetle\nd\tcrane\n")
    assert class_names(folder) == ["crane (a)", "beetle", "c", "crane (d)", "e"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Tiny-ImageNet's layout."""
    root = tmp_path / "tiny-imagenet-200"
    for name in CLASSES:
        (root / "train" / name / "images").mkdir(parents=True)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
        noise(1).save(root / "train" / name / "images" / f"{name}_0.JPEG")
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
        for index in range(3):
            noise(index).save(root / split / "images" / f"{split}_{index}.JPEG")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tc\t0\t0\t9\t9\nval_2.JPEG\ta\t0\t0\t9\t9\n")
    (root / "words.txt").write_text("a\tant\n")
    return root


def test_tiny_imagenet_as_published(tiny: Path) -> None:
    for path in (tiny, tiny.parent, archive(tiny, tiny.parent / "tiny.zip", top="tiny-imagenet-200/")):
        found = splits(path)
        assert found["val"] == [("val/images/val_2.JPEG", 0), ("val/images/val_0.JPEG", 2)]
        assert list(found) == ["train", "val"] and len(found["train"]) == 5
        assert class_names(path)[0] == "ant"
        assert len(images(path)) == 7


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    assert re.search("no such folder or archive", refusal(tmp_path / "nowhere"))
    (tmp_path / "labels.csv").write_text("image,class")
    assert re.search("labels.csv is a file; pass a folder of images, or an archive", refusal(tmp_path / "labels.csv"))
    (tmp_path / "empty").mkdir()
    assert re.search("no images in class folders", refusal(tmp_path / "empty"))
    (tmp_path / "empty" / "words.txt").write_text("words")
    assert re.search("no images in class folders", refusal(tmp_path / "empty"))
    (tmp_path / "words.tar").write_text("words " * 1000)
    assert re.search("no readable archive", refusal(tmp_path / "words.tar"))


def test_class_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", ("train", "val", "test"))
    (folder / "val" / "a").rename(folder / "val" / "x")
    assert re.search(r"val has 1 class.*'x'", refusal(folder))
    (folder / "val" / "x").rename(folder / "val" / "a")
    (folder / "val").rename(folder / "valid")
    class_folders(folder, ["val"])
    assert re.search("several validation folders: val, valid", refusal(folder))
    shutil.rmtree(folder / "valid")
    (folder / "train").rename(tmp_path / "old")
    assert re.search("no train/", refusal(folder))


def test_fewer_than_five_classes_are_used_with_a_note(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", ["train"])
    for name in "abcd":
        (folder / "train" / name).rename(tmp_path / name)
        assert len(class_names(folder)) == ord("e") - ord(name)
        assert "top-5 errors are left out" in notes(folder)[0]
    assert "with one class every error is 0" in notes(folder)[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_cut_archive_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    packed = archive(class_folders(tmp_path / "images"), tmp_path / kind)
    data = packed.read_bytes()
    # The last tenth of a plain tar can be padding only.
    packed.write_bytes(data[: int(share * min(len(data), 30000))])
    with pytest.raises(UserError, match=r"x\.(tar|zip).*damaged or incomplete"):
        images(packed)


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images")
    before = splits(folder)
    (folder / "train" / "a").rename(tmp_path / "elsewhere")
    (folder / "train" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(folder)
    (folder / "train" / "b" / "dangling.png").symlink_to("nowhere")
    assert splits(folder) == before
    with closing(FileTree(folder)) as tree:
        assert len(list(tree.files.names())) == 30


def test_class_folders_that_differ_in_unicode_form_are_one_class(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "train" / "a").rename(folder / "train" / "caf\u00e9")
    (folder / "val" / "a").rename(folder / "val" / "cafe\u0301")
    assert class_names(folder) == ["b", "c", "caf\u00e9", "d", "e"]
    assert ("val/cafe\u0301/0.png", 2) in splits(folder)["val"] and not notes(folder)


def test_classes_that_differ_in_capitals_or_spaces_are_said(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, [""], count=1)
    (folder / "d").rename(folder / "B ")
    assert notes(folder) == ("the classes 'B ' and 'b' differ in capitals or spaces alone",)


def test_masks_are_no_images_of_a_class(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, [""], count=1)
    before = splits(folder)
    for mask in ("a/0_mask.png", "a/0_mask_1.png", "b/masks/0.png", "annotations/trimaps/c/0.png"):
        (folder / mask).parent.mkdir(parents=True, exist_ok=True)
        noise(1).save(folder / mask)
    assert splits(folder) == before
    with open_source(folder) as source:
        assert source.catalog.unused() == [("masks of other images", 4, "a/0_mask.png")]


def test_classes_of_masks_are_classes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, [""], count=1)
    (folder / "a").rename(folder / "mask")
    (folder / "b" / "0.png").rename(folder / "b" / "with_mask_1.png")
    assert class_names(folder) == ["b", "c", "d", "e", "mask"]
    assert len(images(folder)) == 5


def test_lists_of_splits_next_to_class_folders_are_said(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, [""], count=1)
    (folder / "notes.txt").write_text("a")
    assert not notes(folder)
    for name in ("train.txt", "test1.txt"):
        (folder / name).write_text("a/0")
    (said,) = notes(folder)
    assert "test1.txt and 1 more may divide the images into splits, and no such list is read" in said


def test_a_folder_of_all_images_is_no_class_next_to_others(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, ["images"], count=1)
    (folder / "extra").mkdir()
    noise(1).save(folder / "extra" / "x.png")
    for chosen in ({}, {"extra": "none"}):
        with (
            pytest.raises(UserError, match=r"images is no class by its name, and extra/x.png lies outside of it"),
            open_source(folder, chosen),
        ):
            pass
    assert len(images(folder / "images")) == 5


@pytest.mark.parametrize("inner", ["", "/seg_{}"])
def test_folders_of_class_folders_with_a_split_in_their_names_are_splits(tmp_path: Path, inner: str) -> None:
    folder = class_folders(tmp_path, [f"seg_{split}{inner.format(split)}" for split in ("train", "test")], count=1)
    assert {split: len(found) for split, found in splits(folder).items()} == {"train": 5, "test": 5}
    assert class_names(folder) == list("abcde") and not notes(folder)
    noise(1).save(folder / "1.png")
    (folder / "seg_pred").mkdir()
    (folder / "1.png").rename(folder / "seg_pred" / "1.png")
    assert "seg_pred (1 images) beside" in refusal(folder) and "--split none=seg_pred" in refusal(folder)


def test_flat_folders_with_a_split_in_their_names_are_classes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, [""], count=1)
    (folder / "a").rename(folder / "bullet_train")
    (folder / "b").rename(folder / "test_tube")
    assert class_names(folder) == ["bullet_train", "c", "d", "e", "test_tube"]


def test_folds_are_no_classes(tmp_path: Path) -> None:
    said = refusal(class_folders(tmp_path, ["fold1", "fold2"], count=1))
    assert "fold1 is no class by its name, and fold2/a/0.png lies outside of it" in said
