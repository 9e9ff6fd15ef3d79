import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.pack import Pack, is_pack, open_pack
from alexnet.data.writer import PackWriter
from alexnet.errors import UserError

SIZE = 4
NAMES = list("abcde")


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def write(path: Path, train: np.ndarray, rejected: frozenset[int] = frozenset(), per_shard: int = 3) -> Pack:
    labels = np.arange(len(train)) % 5
    shard_bytes = per_shard * SIZE * SIZE * 3
    splits = {"train": labels, "val": labels[:2]}
    with PackWriter(path, image_size=SIZE, class_names=NAMES, labels=splits, shard_bytes=shard_bytes) as writer:
        for slot in np.random.default_rng(1).permutation(len(train)):
            if int(slot) in rejected:
                writer.reject(f"{slot}.jpg", "empty file")
            else:
                writer.put("train", int(slot), train[slot])
        writer.put("val", 0, train[0])
        writer.put("val", 1, train[1])
        return writer.finish({"source": "a test"})


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write(tmp_path / "pack", images(8)).path


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(2, 14), per_shard=st.integers(1, 6))
def test_kept_images_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int, per_shard: int
) -> None:
    train = images(count)
    rejected = data.draw(st.frozensets(st.integers(0, count - 1), max_size=count - 1))
    pack = write(tmp_path_factory.mktemp("packs") / "pack", train, rejected, per_shard)
    kept = [slot for slot in range(count) if slot not in rejected]
    split = pack.splits["train"]
    indices = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), max_size=20)), int)
    np.testing.assert_array_equal(split.gather(indices), train[kept][indices])
    np.testing.assert_array_equal(split.labels, np.array(kept) % 5)
    np.testing.assert_array_equal(pack.statistics.mean_image, train[kept].mean(axis=0).astype(np.float32))
    assert (pack.path / "rejected.txt").exists() == bool(rejected)
    assert not [file for file in pack.path.iterdir() if file.stat().st_size == 0]


def test_what_is_opened_is_what_was_written(tmp_path: Path) -> None:
    written = write(tmp_path / "pack", images(8))
    opened = open_pack(tmp_path / "pack")
    assert opened.class_names == NAMES and opened.image_size == SIZE and list(opened.splits) == ["train", "val"]
    assert opened.splits["train"].labels.dtype == np.int64 and len(opened.splits["train"]) == 8
    assert opened.fingerprint == written.fingerprint
    np.testing.assert_array_equal(opened.statistics.eigenvectors, written.statistics.eigenvectors)
    covariance = np.cov(images(8).reshape(-1, 3).T.astype(np.float64), bias=True)
    np.testing.assert_allclose(opened.statistics.covariance, covariance)


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = write(tmp_path / "one", images(8)).fingerprint
    assert write(tmp_path / "two", images(8)).fingerprint == first
    assert write(tmp_path / "three", images(8, seed=1)).fingerprint != first
    header = json.loads((tmp_path / "two" / "pack.json").read_text())
    header["class_names"][0] = "another"
    (tmp_path / "two" / "pack.json").write_text(json.dumps(header))
    assert open_pack(tmp_path / "two").fingerprint != first


def test_indices_outside_are_refused(pack: Path) -> None:
    split = open_pack(pack).splits["train"]
    for wrong in (-1, 8):
        with pytest.raises(IndexError):
            split.gather(np.array([0, wrong]))


def test_a_split_travels_to_another_process_without_its_images(pack: Path) -> None:
    split = open_pack(pack).splits["train"]
    sent = pickle.dumps(split)
    assert split.gather(np.arange(3)).tobytes() not in sent
    np.testing.assert_array_equal(pickle.loads(sent).gather(np.arange(8)), split.gather(np.arange(8)))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
@pytest.mark.parametrize("name", ["train-00001.raw", "val-labels.npy", "mean.npy"])
def test_a_damaged_file_is_named(pack: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(pack / name)
    with pytest.raises(UserError, match=f"{name}.*prepare it again"):
        open_pack(pack)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", 7, "version 7"),
        ("encoding", "jpeg", "'jpeg'"),
        ("format", "something else", "not that of"),
        ("files", {"../../secret": {"bytes": 1, "sha256": ""}}, "missing"),
        ("image_size", 5, "pack.json"),
        ("splits", {}, "pack.json"),
        ("class_names", ["a"], "pack.json"),
        ("statistics", None, "pack.json"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(pack: Path, key: str, value: object, said: str) -> None:
    header = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps({**header, key: value}))
    with pytest.raises(UserError, match=said):
        open_pack(pack)


def test_what_is_no_pack_is_refused(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such pack"):
        open_pack(tmp_path / "nowhere")
    (pack / "pack.json").write_text('{"format": "alexnet pa')
    with pytest.raises(UserError, match="cannot be read"):
        open_pack(pack)
    (pack / "pack.json").unlink()
    assert not is_pack(pack)
    with pytest.raises(UserError, match=r"no pack\.json"):
        open_pack(pack)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_stays_behind_an_error(tmp_path: Path, kind: type[BaseException]) -> None:
    labels = {"train": np.arange(5)}
    target = tmp_path / "new" / "folder" / "pack"
    with pytest.raises(kind), PackWriter(target, image_size=SIZE, class_names=NAMES, labels=labels) as writer:
        writer.put("train", 0, images(1)[0])
        raise kind
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    labels = {"train": np.arange(5)}
    with (
        pytest.raises(UserError, match="cannot be written"),
        PackWriter(tmp_path / "file" / "pack", image_size=SIZE, class_names=NAMES, labels=labels),
    ):
        pass
    with (
        pytest.raises(UserError, match="No space left"),
        PackWriter(tmp_path / "pack", image_size=SIZE, class_names=NAMES, labels=labels),
    ):
        raise OSError(28, "No space left on device")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    labels = {"train": np.arange(5)}
    with PackWriter(tmp_path / "pack", image_size=SIZE, class_names=NAMES, labels=labels) as late:
        for slot, image in enumerate(images(5)):
            late.put("train", slot, image)
        first = write(tmp_path / "pack", images(8))
        assert late.finish({}).fingerprint == first.fingerprint
    assert [entry.name for entry in tmp_path.iterdir()] == ["pack"]
