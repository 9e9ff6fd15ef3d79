"""What a source could be meant to be: splits by other names, links, copies; refused with the remedy, or said."""

import itertools
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.commands.main import main
from alexnet.data.pack.pack import open_pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.file_names import split_of, split_of_shard
from alexnet.data.sources.images import Converted, convert_file
from alexnet.data.sources.layouts import open_source
from alexnet.errors import UserError
from tests.data.samples import archive, class_folders, encoded, noise, splits, unused


def flat_images(folder: Path, count: int = 4) -> None:
    folder.mkdir()
    for number in range(count):
        noise(number).save(folder / f"{number}.png")


def refusal(path: Path, **chosen: str) -> str:
    with pytest.raises(UserError) as caught, open_source(path, {folder: split for split, folder in chosen.items()}):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_usual_words_name_splits() -> None:
    words = {
        "train": "train TRAIN Training trainset train_set train-images train2017 images_train training_set",
        "val": "val Val VALID validation dev eval val2017 validation_set img-val",
        "test": "test testing Tests_set test_images test1",
    }
    for split, names in words.items():
        assert {split_of(name) for name in names.split() if name != "Tests_set"} == {split}
    for name in ("bullet_train", "trainer", "valley", "holdout", "testament", "devil", "n01440764", "evaluate me"):
        assert split_of(name) is None
    assert split_of_shard("imagenet-train-000123") == "train" and split_of_shard("train-val-0") is None


def test_a_folder_beside_splits_is_refused_by_name_with_the_option(tmp_path: Path) -> None:
    class_folders(tmp_path, ("train", "holdout"))
    said = refusal(tmp_path)
    assert "holdout (15 images)" in said and "--split val=holdout" in said and "--split none=holdout" in said
    with open_source(tmp_path, {"holdout": "val"}) as source:
        assert source.catalog.counts() == {"train": 15, "val": 15}
    assert unused(tmp_path, none="holdout") == {"images of folders that are left out by choice": 15}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["val=nowhere"], "has no such folder; with images: train, val"),
        (["val=train", "val=val"], "val has a folder already"),
        (["val=val", "train=val"], "val is val already"),
        (["dev=val"], "give train, val, test or none"),
        (["val"], "then = and a folder"),
    ],
)
def test_choices_of_splits_that_cannot_be_meant(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "src", count=1)
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path / "src"), str(tmp_path / "pack"), *(f"--split={one}" for one in options)])
    assert said in capsys.readouterr().err and not (tmp_path / "pack").exists()


@pytest.mark.parametrize("place", ["source", "pack"])
def test_an_empty_path_is_not_the_current_folder(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "" if place == "source" else "images", "" if place == "pack" else "pack"])
    assert "empty" in capsys.readouterr().err


def test_splits_below_classes_are_refused(tmp_path: Path) -> None:
    for name in "abc":
        class_folders(tmp_path / name, [""], count=1)
        (tmp_path / name / "a").rename(tmp_path / name / "val")
    assert "a/val/ has a split's name, but lies in a class folder" in refusal(tmp_path)


def test_unlabeled_validation_images_are_refused_and_test_images_left_out(tmp_path: Path) -> None:
    class_folders(tmp_path, ["train"])
    (tmp_path / "test").mkdir()
    noise(1).save(tmp_path / "test" / "0.png")
    assert unused(tmp_path) == {"test images without labels": 1}
    (tmp_path / "test").rename(tmp_path / "val")
    assert "the 1 images of val are not in class folders and no file says" in refusal(tmp_path)
    (tmp_path / "val" / "labels.csv").write_text("photo,kind,who\n0.png,b,me\n")
    assert "and val/labels.csv does not name them with their classes; make" in refusal(tmp_path)
    (tmp_path / "val" / "labels.csv").write_text("image,class\n0.png,b\n")
    for number in range(21):  # longer than the table
        (tmp_path / "val" / f"{number}.txt").write_text("a caption with many words, and more of them")
    assert splits(tmp_path)["val"] == [("val/0.png", 1)]
    (tmp_path / "val.csv").write_text("image,class\n0.png,c\n")
    assert "val.csv and val/labels.csv give images different classes" in refusal(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_count_an_image_once(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "src")
    noise(77).save(tmp_path / "outside.png")
    (root / "train" / "a" / "outside.png").symlink_to(tmp_path / "outside.png")
    (root / "train" / "a" / "again.png").symlink_to("0.png")
    (root / "train" / "a" / "up").symlink_to("..")
    (root / "train" / "b" / "gone.png").symlink_to("nowhere.png")
    (root / "train" / "b" / "self.png").symlink_to("self.png")
    with open_source(root) as source:
        assert source.catalog.counts() == {"train": 16, "val": 15}
        assert source.notes == ("1 links lead out of the source, such as train/a/outside.png",)
    assert unused(root) == {
        "further names of an image in the same class": 1,
        "links that lead nowhere or in a circle": 2,
        "links to a folder that they lie in": 1,
    }
    (root / "val" / "b" / "leak.png").symlink_to(root / "train" / "b" / "0.png")
    assert "train/b/0.png and val/b/leak.png are one file" in refusal(root)


def test_members_of_a_zip_that_cannot_be_used_have_outcomes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for number in range(4):
            packed.writestr(f"a/{number}.png", encoded(noise(number), "PNG"))
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("a/bomb.png", bytes(2**28 + 1), zipfile.ZIP_DEFLATED, 1)
        packed.writestr("a/0.png.part", b"?")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    pack = prepare(tmp_path / "x.zip", tmp_path / "pack", size=8, val_fraction=0)
    assert len(pack.splits["train"]) == 3
    rejected = (tmp_path / "pack" / "rejected.txt").read_text()
    assert "a/0.png\tBad CRC-32" in rejected and "a/bomb.png\t268,435,457 bytes are more" in rejected
    assert (tmp_path / "pack" / "unused.txt").read_text() == (
        "links in an archive\t1\ta/link.png\nunfinished downloads\t1\ta/0.png.part\n"
    )


def test_duplicates_are_counted_listed_and_dropped_from_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path / "src")
    for name in "ab":
        Image.open(root / "val" / name / "0.png").save(root / "train" / name / "copy.bmp")  # other bytes, same pixels
    Image.open(root / "train" / "c" / "0.png").save(root / "train" / "c" / "copy.png")
    whole = prepare(root, tmp_path / "whole", size=16, encoding="raw")
    said = capsys.readouterr().err
    assert "2 images of val are in train too" in said and "--drop-duplicates" in said
    assert "1 image has the same pixels as another one of the split" in said
    assert "1 of 3 such images are copies, byte for byte" in said
    lines = set((tmp_path / "whole" / "duplicates.txt").read_text().splitlines())
    assert lines == {f"train/{name}/copy.bmp\tval/{name}/0.png\tsame pixels" for name in "ab"} | {
        "train/c/copy.png\ttrain/c/0.png\tsame bytes"
    }
    clean = prepare(root, tmp_path / "clean", size=16, encoding="raw", drop_duplicates=True)
    assert (len(whole.splits["train"]), len(clean.splits["train"])) == (18, 15)
    assert "30 images + 0 rejected + 3 not used = 33 files" in capsys.readouterr().err
    for name in "ab":
        (root / "train" / name / "copy.bmp").unlink()
    (root / "train" / "c" / "copy.png").unlink()
    assert prepare(root, tmp_path / "without", size=16, encoding="raw").fingerprint == clean.fingerprint
    assert open_pack(tmp_path / "clean").fingerprint == clean.fingerprint


@pytest.mark.parametrize(
    ("folder", "copy", "lost"),
    [("val", "test", "images for val"), ("val/b", "train/b", "training images of class 'b'")],
)
def test_a_split_or_class_of_nothing_but_duplicates_is_refused(
    tmp_path: Path, folder: str, copy: str, lost: str
) -> None:
    root = class_folders(tmp_path / "src")
    shutil.rmtree(root / copy, ignore_errors=True)
    shutil.copytree(root / folder, root / copy)
    with pytest.raises(UserError, match=f"none of the {lost} is left without duplicates"):
        prepare(root, tmp_path / "pack", size=16, encoding="raw", drop_duplicates=True)


def test_a_list_of_classes_for_images_in_an_unclear_order_is_refused(tmp_path: Path) -> None:
    flat_images(tmp_path / "images", 12)
    (tmp_path / "labels.txt").write_text("label\n" + "".join(f"class{number % 2}\n" for number in range(12)))
    assert "labels.txt has a class a line, but the images have another order" in refusal(tmp_path)
    for number in range(10):
        (tmp_path / "images" / f"{number}.png").rename(tmp_path / "images" / f"0{number}.png")
    assert [label for _, label in splits(tmp_path)["train"]] == [0] * 6 + [1] * 6


def test_a_table_s_split_of_an_unknown_word_is_refused(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    rows = [f"{number}.png,{'ab'[number % 2]}," for number in range(4)]
    for words, expected in (("0 1 2 3", ["train"]), ("train training test TEST", ["train", "test"])):
        lines = (f"{row}{word}\n" for row, word in zip(rows, words.split(), strict=True))
        (tmp_path / "labels.csv").write_text("picture,class,fold\n" + "".join(lines))
        assert list(splits(tmp_path)) == expected
        with open_source(tmp_path) as source:
            assert ("splits in labels.csv are not used: 0, 1, 2, 3 are" in source.notes[0]) is (words == "0 1 2 3")
    (tmp_path / "labels.csv").write_text("image,class,fold\n" + "train\n".join(rows) + "holdout\n")
    assert "labels.csv has the split holdout, which is none by its name" in refusal(tmp_path)


def test_a_table_does_not_label_images_of_the_same_names_in_another_folder(tmp_path: Path) -> None:
    for number, folder in itertools.product(range(8), ("train", "test")):
        (tmp_path / folder).mkdir(exist_ok=True)
        noise(number + 8 * (folder == "test")).save(tmp_path / folder / f"{number}.png")
    table = "image,label\n" + "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(8))
    (tmp_path / "train.csv").write_text(table)
    assert unused(tmp_path)["test images without labels"] == 8
    (tmp_path / "test.csv").write_text(table.replace(",b", ",a").replace("0.png,a", "0.png,b"))
    assert sorted(splits(tmp_path)["test"])[:2] == [("test/0.png", 1), ("test/1.png", 0)]
    (tmp_path / "test.csv").unlink()
    (tmp_path / "train.csv").rename(tmp_path / "labels.csv")
    assert "labels.csv has 0, which may be t" in refusal(tmp_path)
    for folder, part in (("train", "part1"), ("test", "part2")):
        (tmp_path / folder).rename(tmp_path / part)
    assert "labels.csv has 0, which may be part" in refusal(tmp_path)
    by_path = "".join(f"part1/{number}.png,{'ab'[number % 2]}\n" for number in range(8))
    (tmp_path / "labels.csv").write_text(f"image,label\n{by_path}")
    assert unused(tmp_path)["images without a label in labels.csv"] == 8


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image_id,healthy,rust,scab", "{0},{1},{1},0"),  # a column a class
        ("file,width,height", "{0}.png,{1},24"),
        ("file,x,y", "{0}.png,7,{1}"),
        ("picture,width,class", "{0}.png,{1},a"),
        ("picture,width,kind", "{0}.png,{1},a"),
        ("9.png,-3.5,480,a", "{0}.png,{1},480,a"),
        ("9.png,fold0,a", "{0}.png,fold{1},b"),
        ("9.png golden eagle", "{0}.png golden retriever"),
    ],
)
def test_the_second_of_several_columns_is_no_class_under_a_header_that_does_not_say_so(
    tmp_path: Path, header: str, row: str
) -> None:
    flat_images(tmp_path / "images")
    lines = [header, *(row.format(number, number % 2) for number in range(4))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert "does not name them with their classes" in refusal(tmp_path)
    rows = "".join(f"{number}.png,{'xy'[number % 2]},name\n" for number in range(4))
    for first in ("", "picture,class,width\n"):
        (tmp_path / "labels.csv").write_text(first + rows)
        assert len(splits(tmp_path)["train"]) == 4


@pytest.mark.parametrize("row", ["{0},{0}.png", "{0}.png,photo {0}"])
def test_a_column_that_differs_for_each_image_names_no_classes(tmp_path: Path, row: str) -> None:
    flat_images(tmp_path / "images", 10)
    (tmp_path / "labels.csv").write_text("".join(f"{row.format(number)}\n" for number in range(10)))
    assert "labels.csv gives each image another class" in refusal(tmp_path)


def test_the_column_whose_cells_are_images_names_them(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    rows = "".join(f"{number},{3 - number}.png,{'ab'[number % 2]}\n" for number in range(4))
    (tmp_path / "labels.csv").write_text(f"id,image,label\n{rows}")
    assert splits(tmp_path)["train"] == [(f"images/{name}.png", int(name in "02")) for name in "1302"]


def test_what_follows_a_dot_in_a_name_is_part_of_it(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    for number, name in enumerate("abcd"):
        (tmp_path / "images" / f"{number}.png").rename(tmp_path / "images" / f"0.{name}.png")
    (tmp_path / "labels.csv").write_text("id,label\n0.a,x\n0.b,y\n0.c,x\n")
    assert [label for _, label in splits(tmp_path)["train"]] == [0, 0, 1]


def test_a_sample_of_a_submission_labels_nothing(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number % 2}\n" for number in range(4))
    for folder, table in (("train", "train_labels.csv"), ("test", "sample_submission.csv")):
        flat_images(tmp_path / folder)
        (tmp_path / table).write_text(f"id,label\n{rows}")
    assert list(splits(tmp_path)) == ["train"] and unused(tmp_path)["test images without labels"] == 4


@pytest.mark.parametrize("folder", ["images/part_1", "data/train"])
def test_a_table_may_name_images_by_their_whole_paths(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).parent.mkdir()
    flat_images(tmp_path / folder)
    (tmp_path / "labels.csv").write_text(
        "".join(f"./{folder}/{number}.png,{'ab'[number % 2]}\n" for number in range(4))
    )
    assert [label for _, label in splits(tmp_path)["train"]] == [0, 0, 1, 1]


def test_lines_without_an_image_are_counted(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    (tmp_path / "labels.csv").write_text("image,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n8.png,a\n9.png,b\n")
    with open_source(tmp_path) as source:
        assert "labels.csv has 2 lines for images that are not there, such as 8" in source.notes


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    lines = ('{"file_name": "0.png", "label": 7}', '{"label": "b", "file_name": "1.png"}', '{"file_name": "2.png"}')
    (tmp_path / "images" / "metadata.jsonl").write_text("\n".join(lines))
    with open_source(tmp_path) as source:
        assert source.class_names == ["7", "b"]
    assert unused(tmp_path)["images without a label in metadata.jsonl"] == 2
    for broken in ("[1]", '"a"', "{", "[" * 100_000):
        (tmp_path / "images" / "metadata.jsonl").write_text(f"{broken}\n{lines[0]}")
        assert "metadata.jsonl does not name them with their classes" in refusal(tmp_path)


def test_an_empty_label_is_none(tmp_path: Path) -> None:
    flat_images(tmp_path / "images")
    (tmp_path / "labels.csv").write_text("image,label\n0.png,a\n1.png,b\n2.png,NaN\n3.png, \n")
    assert [label for _, label in splits(tmp_path)["train"]] == [0, 1]
    assert unused(tmp_path)["images without a label in labels.csv"] == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_letters_of_a_table_stay_different(tmp_path: Path, encoding: str) -> None:
    flat_images(tmp_path / "images", 2)
    (tmp_path / "labels.csv").write_text("image,label\n0.png,p\u00eache\n1.png,p\u00e8che\n", encoding=encoding)
    with open_source(tmp_path) as source:
        assert source.class_names == ["p\u00e8che", "p\u00eache"]


def test_one_damaged_line_of_a_table_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    noise(0).save(tmp_path / "images" / "p\u00eache.png")
    (tmp_path / "labels.csv").write_bytes("p\u00eache.png,a\n".encode() + b"\xff.png,b\n")
    assert len(splits(tmp_path)["train"]) == 1


def test_a_table_s_split_against_that_of_the_folder_is_refused(tmp_path: Path) -> None:
    flat_images(tmp_path / "train")
    rows = "".join(f"{number}.png,{'ab'[number % 2]},{'val' if number == 3 else 'train'}\n" for number in range(4))
    (tmp_path / "labels.csv").write_text(f"image,class,split\n{rows}")
    assert "labels.csv has val for train/3.png, which lies in a folder of train images" in refusal(tmp_path)
    (tmp_path / "train").rename(tmp_path / "images")
    assert [len(images) for images in splits(tmp_path).values()] == [3, 1]


@pytest.mark.parametrize("held_out", [1, 2])
def test_tables_of_different_images_are_to_be_joined(tmp_path: Path, held_out: int) -> None:
    flat_images(tmp_path / "images")
    rows = [f"images/{number}.png {'ab'[number % 2]}\n" for number in range(4)]
    (tmp_path / "train.txt").write_text("".join(rows[:-held_out]))
    (tmp_path / "test.txt").write_text("".join(rows[-held_out:]))
    said = refusal(tmp_path)
    assert "train.txt and test.txt label different images; join them in one table with a column split" in said.replace(
        "test.txt and train.txt", "train.txt and test.txt"
    )
    (tmp_path / "test.txt").write_text("3.png 480\n")  # a width
    assert len(splits(tmp_path)["train"]) == 4 - held_out
    (tmp_path / "test.txt").write_text("".join(rows[:1]))  # which says nothing new
    (tmp_path / "train.txt").write_text("".join(rows))
    assert len(splits(tmp_path)["train"]) == 4


def test_two_splits_of_flat_images_are_no_classes(tmp_path: Path) -> None:
    for folder in ("train", "test", "extra"):
        flat_images(tmp_path / folder)
    (tmp_path / "labels.csv").write_text("".join(f"train/{number}.png,{'ab'[number % 2]}\n" for number in range(4)))
    said = refusal(tmp_path)
    assert "extra (4 images) beside test, train is no split by its name: alexnet prepare --split val=extra m" in said
    with open_source(tmp_path, {"extra": "none"}) as source:
        assert source.catalog.counts() == {"train": 4}


def test_a_split_that_is_lacking_is_proposed_as_it_can_be_typed(tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "train").rename(tmp_path / "my training")
    assert "--split train='my training' makes it one, --split none='my training' leaves it out" in refusal(tmp_path)


@pytest.mark.parametrize("folder", ["jpg", "png"])
def test_a_folder_that_is_named_for_a_format_is_no_class(tmp_path: Path, folder: str) -> None:
    flat_images(tmp_path / folder)
    assert f"the 4 images of {folder} are not in class folders" in refusal(tmp_path)


def test_a_text_with_a_long_line_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(4):
        noise(number).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "labels.csv").write_text("image,class\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    (tmp_path / "info.txt").write_text("x" * 200_000)
    for number in range(20):
        (tmp_path / "images" / f"{number}.txt").write_text("a note,1\n")  # many short ones do not hide the long one
    assert len(splits(tmp_path)["train"]) == 4
    noise(9).save(tmp_path / "images" / "0.bmp")
    assert "labels.csv has 0, which may be images/0.bmp or images/0.png; rename one of them" in refusal(tmp_path)


def test_a_page_and_a_sheet_lie_with_the_pack(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "src", count=2)
    (root / "notes.txt").write_text("?")
    (root / "train" / "a" / "x.jpg").touch()
    for split, (old, new) in itertools.product(("train", "val"), (("d", "Ä"), ("e", "Ö"))):
        (root / split / old).rename(root / split / new)
    prepare(root, tmp_path / "pack", size=24, encoding="raw")
    page = (tmp_path / "pack" / "summary.md").read_text()
    assert "20 images + 1 rejected + 1 not used = 22 files" in page and "| `train/a/x.jpg` | empty file |" in page
    assert "5 classes have fewer than 10 training images" in page
    with Image.open(tmp_path / "pack" / "contact.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert not np.array_equal(pixels[144:192, :140], pixels[192:240, :140])  # the names, not two boxes
    first = pixels[:48, 140:188]
    expected = convert_file(root / "train" / "a" / "0.png", 24)
    assert isinstance(expected, Converted)
    np.testing.assert_array_equal(first[::2, ::2], expected.square)


def test_a_file_that_changes_meanwhile_is_a_reject(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "src", [""], count=2)
    with open_source(root) as source:
        images = list(source.images())
        (root / "a" / "0.png").write_bytes((root / "a" / "0.png").read_bytes() + b"more")
        (root / "b" / "0.png").unlink()
        found = {image.name: convert_file(image.encoded, 8, image.name) for image in images}
    assert "has grown since it was listed" in str(found["a/0.png"]) and "cannot be read" in str(found["b/0.png"])
    assert sum(isinstance(one, str) for one in found.values()) == 2


def test_an_archive_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    packed = archive(class_folders(tmp_path / "src", [""], count=1), tmp_path / "x.tar")
    with open_source(packed) as source:
        source.check_unchanged()
        packed.write_bytes(packed.read_bytes() + bytes(512))
        with pytest.raises(UserError, match=r"x\.tar has changed while it was read"):
            source.check_unchanged()


@pytest.mark.parametrize(
    ("form", "suffix", "plugin"),
    [
        ("AVIF", ".avif", ""), ("JPEG2000", ".jp2", ""), ("TGA", ".tga", ""), ("ICO", ".ico", ""), ("PCX", ".pcx", ""),
        ("HEIF", ".heic", "pillow_heif"), ("JXL", ".jxl", "pillow_jxl"), ("QOI", ".qoi", ""), ("MPO", ".mpo", ""),
    ],
)  # fmt: skip
def test_formats_of_today_are_read(form: str, suffix: str, plugin: str) -> None:
    if plugin:
        pytest.importorskip(plugin)
    convert_file(b"?", 8, "x.png")  # registers the plug-ins
    found = convert_file(encoded(Image.new("RGB", (32, 32), (200, 100, 50)), form), 8, f"x{suffix}")
    assert isinstance(found, Converted) and np.abs(found.square.astype(int) - (200, 100, 50)).max() < 8


def test_what_is_no_raster_image_says_so() -> None:
    assert "vector" in str(convert_file(b"<svg/>", 8, "x.svg")) and "raw file" in str(
        convert_file(b"II*\0", 8, "x.nef")
    )
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    assert "vector" in str(convert_file(eps, 8, "x.eps")) and convert_file(eps, 8, "x.jpg") == "not an image"


def test_one_class_of_one_image_in_each_split_is_a_class(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        (tmp_path / split / "a").mkdir(parents=True)
        noise(number).save(tmp_path / split / "a" / "0.png")
    assert splits(tmp_path) == {"train": [("train/a/0.png", 0)], "val": [("val/a/0.png", 0)]}
