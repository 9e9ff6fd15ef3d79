"""The same images in every form in which data sets are published make the same pack."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.layouts import open_source
from alexnet.errors import UserError
from tests.data.replicas import (
    TRAIN_PER_CLASS,
    VAL_LABELS,
    WNIDS,
    flat_images,
    ilsvrc2012,
    kaggle,
    tar_of,
    train_images,
    unpack,
    words,
)
from tests.data.samples import encoded, noise, splits

TRAIN = [(wnid, name, data) for wnid in WNIDS for name, data in train_images(wnid)]
VAL = [(WNIDS[label - 1], *image) for label, image in zip(VAL_LABELS, flat_images(2012, "val"), strict=True)]
ORDER = sorted(WNIDS)


def named(wnid: str, name: str) -> str:
    """As Hugging Face names the images."""
    return f"{name.removesuffix('.JPEG')}_{wnid}.JPEG"


def hub_tars(root: Path) -> Path:
    for split, images, mode in (
        ("train_images_0", TRAIN[:9], "w:gz"),
        ("train_images_1", TRAIN[9:], "w:gz"),
        ("val_images", VAL, "w"),
    ):
        files = [(named(wnid, name), data) for wnid, name, data in images]
        unpack(root / "data", [(f"{split}.tar{'.gz' if mode == 'w:gz' else ''}", tar_of(files, mode))])
    unpack(root / "data", [("test_images.tar", tar_of(flat_images(2012, "test")))])
    return root


def parquet(root: Path) -> Path:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"names": [words(wnid) for wnid in ORDER], "_type": "ClassLabel"}}
    for split, images in (("train-00000-of-00001", TRAIN), ("validation-00000-of-00001", VAL)):
        rows = [
            {"image": {"bytes": data, "path": named(wnid, name)}, "label": ORDER.index(wnid)}
            for wnid, name, data in images
        ]
        table = pa.Table.from_pylist(rows).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
        (root / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / "data" / f"{split}.parquet", row_group_size=4)
    return root


def shards(root: Path) -> Path:
    for split, images in (("train", TRAIN), ("val", VAL)):
        for shard in range(2):
            files: list[tuple[str, bytes]] = []
            for number, (wnid, _, data) in list(enumerate(images))[shard::2]:
                files += [(f"{number:06d}.jpg", data), (f"{number:06d}.cls", str(ORDER.index(wnid)).encode())]
            unpack(root, [(f"set-{split}-{shard:06d}.tar", tar_of(files))])
    return root


def table_of_paths(root: Path) -> Path:
    rows = ["file_name;label;split"]
    for split, images in (("train", TRAIN), ("valid", VAL)):
        for wnid, name, data in images:
            unpack(root / "images", [(name, data)])
            rows.append(f"images/{name};{wnid};{split}")
    unpack(root, [("labels.csv", "\n".join(rows).encode())])
    return root


def annotations(root: Path) -> Path:
    """As Tiny-ImageNet."""
    for wnid, name, data in TRAIN:
        unpack(root / "train" / wnid / "images", [(name, data)])
    unpack(root / "val" / "images", [(name, data) for _, name, data in VAL])
    lines = "".join(f"{name}\t{wnid}\t0\t0\t9\t9\n" for wnid, name, _ in VAL)
    unpack(root, [("val/val_annotations.txt", lines.encode()), ("test/images/0.JPEG", b"?")])
    return root


def folders_of_other_words(root: Path) -> Path:
    for split, images in (("Training_Set/training_set", TRAIN), ("DEV", VAL)):
        for wnid, name, data in images:
            unpack(root / split / wnid, [(name, data)])
    return root


def lines_of_classes(root: Path) -> Path:
    for wnid, name, data in TRAIN:
        unpack(root / "train" / wnid, [(name, data)])
    unpack(root / "val", [(f"{number}.JPEG", data) for number, (_, _, data) in enumerate(VAL)])
    unpack(root, [("val_labels.txt", "".join(f"{wnid}\n" for wnid, _, _ in VAL).encode())])
    return root


def seen(pack: Pack) -> dict[str, list[tuple[int, bytes]]]:
    """Labels and pixels, in an order that the names of files do not change."""
    return {
        name: sorted((int(split.labels[n]), split.gather(np.array([n])).tobytes()) for n in range(len(split)))
        for name, split in pack.splits.items()
    }


@pytest.mark.parametrize(
    "form",
    [kaggle, hub_tars, parquet, shards, table_of_paths, annotations, folders_of_other_words, lines_of_classes],
)
def test_every_form_of_the_same_images_is_the_same_pack(tmp_path: Path, form) -> None:  # type: ignore[no-untyped-def]
    published = prepare(ilsvrc2012(tmp_path / "published"), tmp_path / "one", size=12, encoding="raw")
    pack = prepare(form(tmp_path / "other"), tmp_path / "two", size=12, encoding="raw")
    assert seen(pack) == seen(published)
    assert len(pack.splits["train"]) == TRAIN_PER_CLASS * len(WNIDS)
    if form in (kaggle, parquet):
        assert pack.class_names == published.class_names == [words(wnid) for wnid in ORDER]
    if form is kaggle:
        assert pack.fingerprint == published.fingerprint


@pytest.mark.parametrize("label", [2, -2])
def test_a_label_that_the_metadata_do_not_name_is_refused(tmp_path: Path, label: int) -> None:
    with pytest.raises(UserError, match=rf"train\.parquet has the label {label}, and its metadata name 2 classes"):
        splits(parquet_of([0, 1, label], ["a", "b"], tmp_path))


def test_a_label_that_is_no_number_is_none(tmp_path: Path) -> None:
    with open_source(parquet_of([0.0, 1.0, float("nan")], [], tmp_path)) as source:
        assert source.class_names == ["0.0", "1.0"]


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    with open_source(parquet_of([0, 1, 2, 2], ["crane", "dog", "crane"], tmp_path)) as source:
        assert source.class_names == ["crane (0)", "dog", "crane (2)"]
        assert source.catalog.labels("train").tolist() == [0, 1, 2, 2]


def test_a_folder_names_the_split_where_the_file_does_not(tmp_path: Path) -> None:
    for split in ("train", "partial-validation"):
        parquet_of([0, 1], ["a", "b"], tmp_path, f"default/{split}/0000.parquet")
    with open_source(tmp_path) as source:
        assert len(source.notes) == 1  # on two classes
    assert {split: len(images) for split, images in splits(tmp_path).items()} == {"train": 2, "val": 2}


def test_files_that_are_missing_by_the_names_of_the_others_are_said(tmp_path: Path) -> None:
    for name in ("0-of-00003-b42c8dc2ef1f7f8b", "2-of-00003-0f1e2d3c4b5a6978"):
        parquet_of([0, 1], ["a", "b"], tmp_path, f"data/train-0000{name}.parquet")
    with open_source(tmp_path) as source:
        assert source.notes[0] == "2 of the 3 files data/train-*.parquet are there"


def test_files_that_number_their_classes_differently_are_refused(tmp_path: Path) -> None:
    parquet_of([0, 1], ["a", "b"], tmp_path)
    parquet_of([0, 1], ["b", "a"], tmp_path, "val.parquet")
    with pytest.raises(UserError, match=r"train\.parquet and val\.parquet name their classes differently"):
        splits(tmp_path)


def test_several_labels_of_an_image_are_refused_and_an_empty_one_is_none(tmp_path: Path) -> None:
    assert len(splits(parquet_of(["x", "", "y"], [], tmp_path))["train"]) == 2
    assert len(splits(parquet_of([["x"], ["y"]], [], tmp_path))["train"]) == 2
    with pytest.raises(UserError, match=r"train\.parquet has several labels for an image: \[0, 1\]"):
        splits(parquet_of([[0, 1], [1]], [], tmp_path))


def parquet_of(labels: list[Any], names: list[str], root: Path, file: str = "train.parquet") -> Path:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": [{"bytes": b"?"}] * len(labels), "label": labels})
    metadata = {"info": {"features": {"label": {"names": names}}}}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(metadata)}), root / file)
    return root


def test_samples_beside_the_shards_are_in_no_split(tmp_path: Path) -> None:
    before = splits(shards(tmp_path))
    unpack(tmp_path, [("loose.jpg", TRAIN[0][2]), ("loose.cls", b"1")])
    assert splits(tmp_path) == before


def test_an_empty_class_of_a_sample_is_none(tmp_path: Path) -> None:
    for number, of_class in enumerate(("0", "1", "\n")):
        unpack(tmp_path, [(f"{number}.jpg", TRAIN[number][2]), (f"{number}.cls", of_class.encode())])
    assert [label for _, label in splits(tmp_path)["train"]] == [0, 1]


def test_a_sample_without_a_class_does_not_take_that_of_the_next(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        unpack(tmp_path, [(f"2020.0{number}.jpg", TRAIN[number][2])])
        if number != 2:
            unpack(tmp_path, [(f"2020.0{number}.cls", str(number).encode())])
    assert splits(tmp_path)["train"] == [("2020.01.jpg", 0), ("2020.03.jpg", 1)]


def test_what_follows_the_first_dot_of_a_sample_may_differ(tmp_path: Path) -> None:
    unpack(tmp_path, [("0.input.jpg", TRAIN[0][2]), ("0.target.cls", b"1")])
    assert splits(tmp_path)["train"] == [("0.input.jpg", 0)]
    unpack(tmp_path, [(f"1.{name}", TRAIN[0][2]) for name in ("depth.jpg", "jpg")] + [("1.cls", b"2")])
    assert splits(tmp_path)["train"] == [("1.jpg", 0)]


def python2_batch(labels: list[int], pixels: np.ndarray) -> bytes:
    """A pickle as Python 2 and the numpy of its time write it: texts are byte strings."""
    rows, columns = (struct.pack("<cH", b"M", length) for length in pixels.shape)
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x01" + rows + columns + b"\x86" + kind + b"\x89T" + struct.pack("<I", pixels.size) + pixels.tobytes()
    return (
        b"\x80\x02}(U\x06labels](" + b"".join(b"K%c" % label for label in labels) + b"e"
        b"U\x04data" + array + state + b"tbu."
    )  # fmt: skip


def test_pickled_cifar_is_the_binary_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"class{number}" for number in range(10)]
    for file in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels, pixels = rng.permutation(20) % 10, rng.integers(0, 256, (20, 3072), np.uint8)
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()
        unpack(tmp_path / "binary", [(f"{file}.bin", records)])
        batch = pickle.dumps({b"labels": labels.tolist(), b"data": pixels, b"batch_label": b"?"})
        if file != "test_batch":
            batch = python2_batch(labels.tolist(), pixels)
        unpack(tmp_path / "pickled", [(f"cifar-10-batches-py/{file}", batch)])
    unpack(tmp_path / "binary", [("batches.meta.txt", "\n".join(names).encode("utf-8-sig"))])
    meta = pickle.dumps({b"label_names": [name.encode() for name in names]})
    unpack(tmp_path / "pickled", [("cifar-10-batches-py/batches.meta", meta)])
    packs = [prepare(tmp_path / form, tmp_path / f"{form}-pack", size=32) for form in ("binary", "pickled")]
    assert packs[0].fingerprint == packs[1].fingerprint and packs[0].class_names == names


class Touch:
    """What a hostile pickle asks for: to make a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


def test_nothing_in_a_pickle_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        unpack(tmp_path / "src", [(file, pickle.dumps(Touch()))])
    with (
        pytest.raises(UserError, match=r"is no pickle of CIFAR-10 \(it asks for pathlib"),
        open_source(tmp_path / "src"),
    ):
        pass
    assert not (tmp_path / "touched").exists()


def test_numbers_that_name_classes_sort_as_numbers(tmp_path: Path) -> None:
    for number in range(12):
        unpack(tmp_path / "imagenetv2" / str(number), [("a.jpeg", encoded(noise(number), "JPEG"))])
    with open_source(tmp_path / "imagenetv2") as source:
        assert source.class_names == [str(number) for number in range(12)]
    assert splits(tmp_path)["train"][2] == ("2/a.jpeg", 2)
