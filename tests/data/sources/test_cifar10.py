import shutil
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.pack.prepare import prepare
from alexnet.errors import UserError
from tests.data.samples import archive

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The published layout with 40 records a file; every file holds each class four times."""
    folder = tmp_path / "source" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for file in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(0, 256, (40, 3073), np.uint8)
        records[:, 0] = np.arange(40) % 10
        (folder / file).write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def by_hand(folder: Path, files: list[str]) -> set[tuple[int, bytes]]:
    """(class, pixels in rows of RGB) of every record."""
    found = set()
    for file in files:
        data = (folder / file).read_bytes()
        for start in range(0, len(data), 3073):
            planes = np.frombuffer(data[start + 1 : start + 3073], np.uint8).reshape(3, 1024)
            found.add((data[start], planes.T.tobytes()))
    return found


def test_pixels_and_labels_are_the_published_ones(published: Path, tmp_path: Path) -> None:
    pack = prepare(published, tmp_path / "pack", size=32, show_progress=False)
    assert pack.class_names == NAMES
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 180, "val": 20, "test": 40}
    held = {
        name: {(int(split.labels[n]), split.gather(np.array([n])).tobytes()) for n in range(len(split))}
        for name, split in pack.splits.items()
    }
    assert held["test"] == by_hand(published, ["test_batch.bin"])
    assert held["train"] | held["val"] == by_hand(published, [f"data_batch_{number}.bin" for number in range(1, 6)])
    assert not held["train"] & held["val"]


def test_archive_and_folder_give_one_pack(published: Path, tmp_path: Path) -> None:
    packed = archive(published.parent, tmp_path / "cifar-10-binary.tar.gz")
    first = prepare(packed, tmp_path / "one", size=32, show_progress=False)
    second = prepare(published.parent, tmp_path / "two", size=32, show_progress=False)
    assert first.fingerprint == second.fingerprint


def test_two_copies_are_refused(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, published.parent / "copy")
    with pytest.raises(UserError, match=r"has cifar-10-batches-bin/.* and copy/.*; keep one of the two"):
        prepare(published.parent, tmp_path / "pack", size=32, show_progress=False)


@pytest.mark.parametrize("file", ["data_batch_3.bin", "batches.meta.txt"])
def test_damage_is_named(published: Path, tmp_path: Path, file: str) -> None:
    (published / file).write_bytes((published / file).read_bytes()[:50])
    with pytest.raises(UserError, match=f"{file}.*download it again"):
        prepare(published, tmp_path / "pack", size=32, show_progress=False)
    (published / file).unlink()
    with pytest.raises(UserError, match=f"without {file}"):
        prepare(published, tmp_path / "pack", size=32, show_progress=False)
    assert not (tmp_path / "pack").exists()
