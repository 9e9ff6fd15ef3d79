"""Miniatures of the published data sets: the same archives, names and tables, with few and tiny images."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from tests.data.samples import encoded, noise

WNIDS = ("n02119789", "n02100735", "n01440764", "n04067472", "n03445777", "n02102040")
"""In the order of their ILSVRC IDs from 1 on, which is not that of the IDs' names."""
ROOT = "n00001740"
"""A synset above them, which is no class."""
VAL_LABELS = (3, 1, 6, 2, 5, 4, 3)
TEST_LABELS = (2, 2, 5)
TRAIN_PER_CLASS = 3


def jpeg(seed: int) -> bytes:
    """A small photograph, each seed another."""
    return encoded(noise(seed), "JPEG")


def tar_of(files: Iterable[tuple[str, bytes]], mode: str = "w", form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def class_tars() -> list[tuple[str, bytes]]:
    """`n01440764.tar` and so on, in the order of the ILSVRC IDs."""
    return [(f"{wnid}.tar", tar_of(train_images(wnid))) for wnid in WNIDS]


def train_images(wnid: str) -> list[tuple[str, bytes]]:
    """Training images of a class as in its tar."""
    label = WNIDS.index(wnid)
    return [(f"{wnid}_{17 * index + 1}.JPEG", jpeg(100 * label + index)) for index in range(TRAIN_PER_CLASS)]


def flat_images(year: int, split: str, folder: str = "") -> list[tuple[str, bytes]]:
    """Validation or test images as in their tar."""
    count = len(VAL_LABELS if split == "val" else TEST_LABELS)
    first = {"val": 1000, "test": 2000}[split]
    return [(f"{folder}ILSVRC{year}_{split}_{number:08d}.JPEG", jpeg(first + number)) for number in range(1, count + 1)]


def meta_mat(year: int) -> bytes:
    """The table of synsets, a MATLAB struct array with the fields of the real one, the last entry above the others."""
    fields = ("WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images")
    synsets = np.zeros((len(WNIDS) + 1, 1), [(field, object) for field in (f"ILSVRC{year}_ID", *fields)])
    for index, wnid in enumerate((*WNIDS, ROOT)):
        children: Any = np.arange(1, len(WNIDS) + 1, dtype=np.uint16) if wnid == ROOT else np.zeros(0, np.uint16)
        rest = (wnid, words(wnid), "a gloss", len(children), children, 0, TRAIN_PER_CLASS)
        synsets[index, 0] = (np.uint16(index + 1), *rest)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": synsets})
    return buffer.getvalue()


def words(wnid: str) -> str:
    """What the table calls a class."""
    return f"name of {wnid}, Nomen {wnid}"


def labels(numbers: Iterable[int]) -> bytes:
    """A file of ground truth."""
    return "".join(f"{number}\n" for number in numbers).encode()


def kit(year: int, val_labels: Iterable[int] = VAL_LABELS) -> list[tuple[str, bytes]]:
    """The files of a development kit."""
    top = {2010: "devkit-1.0", 2012: "ILSVRC2012_devkit_t12"}[year]
    return [
        (f"{top}/readme.txt", b"readme"),
        (f"{top}/data/meta.mat", meta_mat(year)),
        (f"{top}/data/ILSVRC{year}_validation_ground_truth.txt", labels(val_labels)),
    ]


def ilsvrc2012(root: Path) -> Path:
    """The files of ILSVRC-2012 as downloaded."""
    root.mkdir()
    (root / "ILSVRC2012_img_train.tar").write_bytes(tar_of(class_tars()))
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar_of(flat_images(2012, "val")))
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_of(kit(2012), "w:gz"))
    return root


def ilsvrc2010(root: Path) -> Path:
    """The files of ILSVRC-2010 as downloaded."""
    root.mkdir()
    (root / "ILSVRC2010_images_train.tar").write_bytes(tar_of(class_tars()))
    for split in ("val", "test"):
        (root / f"ILSVRC2010_images_{split}.tar").write_bytes(tar_of(flat_images(2010, split, f"{split}/")))
    (root / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(tar_of(kit(2010), "w:gz"))
    (root / "ILSVRC2010_test_ground_truth.txt").write_bytes(labels(TEST_LABELS))
    return root


def kaggle(root: Path) -> Path:
    """ILSVRC-2012 as Kaggle's localization challenge packs it, unpacked."""
    data = "ILSVRC/Data/CLS-LOC"
    for wnid in WNIDS:
        unpack(root / data / "train" / wnid, train_images(wnid))
    unpack(root / data, flat_images(2012, "val", "val/"))
    unpack(root / data, flat_images(2012, "test", "test/"))
    unpack(root / "ILSVRC", [("Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml", b"<annotation/>")])
    rows = [
        f"ILSVRC2012_val_{number:08d}," + f"{WNIDS[label - 1]} 1 2 30 40 " * (1 + number % 2)
        for number, label in enumerate(VAL_LABELS, 1)
    ]
    solution = "\n".join(["ImageId,PredictionString", *reversed(rows), ""])
    mapping = "".join(f"{wnid} {words(wnid)}\n" for wnid in sorted(WNIDS))
    unpack(root, [("LOC_val_solution.csv", solution.encode()), ("LOC_synset_mapping.txt", mapping.encode())])
    return root


def unpack(root: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files below a folder."""
    for name, data in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
