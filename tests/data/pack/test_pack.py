import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.pack.pack import Pack, header_checksum, is_pack, open_pack, verify
from alexnet.data.pack.splits import JpegSplit
from alexnet.data.pack.writer import PackWriter
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.errors import UserError
from tests.conftest import few_open_files

SIZE = 4
NAMES = list("abcde")


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def write_header(pack: Path, **changes: object) -> None:
    """As another program or version would have written it."""
    header = {**json.loads((pack / "pack.json").read_text()), **changes}
    (pack / "pack.json").write_text(json.dumps({**header, "checksum": header_checksum(header)}))


def through_jpeg(image: np.ndarray, quality: JpegQuality) -> np.ndarray:
    """As Pillow decodes what the pack stores."""
    with Image.open(io.BytesIO(encode(image, quality))) as stored:
        return np.asarray(stored)


def write(
    path: Path,
    train: np.ndarray,
    rejected: frozenset[int] = frozenset(),
    per_shard: int = 3,
    jpeg: JpegQuality | None = None,
) -> Pack:
    labels = np.arange(len(train)) % 5
    shard_bytes = per_shard * (SIZE * SIZE * 3 if jpeg is None else 650)  # a JPEG of noise has about that
    splits = {"train": labels, "val": labels[:2]}
    arguments = {"image_size": SIZE, "class_names": NAMES, "labels": splits, "shard_bytes": shard_bytes}
    with PackWriter(path, jpeg=jpeg, **arguments) as writer:
        for slot in np.random.default_rng(1).permutation(len(train)).tolist():
            if slot in rejected:
                writer.reject(f"{slot}.jpg", "empty file")
            else:
                writer.put("train", slot, writer.encode(train[slot]))
        writer.put("val", 0, writer.encode(train[0]))
        writer.put("val", 1, writer.encode(train[1]))
        return writer.finish({"source": "a test"})


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write(tmp_path / "pack", images(8)).path


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(2, 14), per_shard=st.integers(1, 6), jpeg=st.booleans())
def test_kept_images_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int, per_shard: int, jpeg: bool
) -> None:
    quality = JpegQuality(quality=90, subsampling="444") if jpeg else None
    train = images(count)
    rejected = data.draw(st.frozensets(st.integers(0, count - 1), max_size=count - 1))
    pack = write(tmp_path_factory.mktemp("packs") / "pack", train, rejected, per_shard, quality)
    if quality:
        train = np.stack([through_jpeg(image, quality) for image in train])
    kept = [slot for slot in range(count) if slot not in rejected]
    split = pack.splits["train"]
    indices = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), max_size=20)), int)
    np.testing.assert_array_equal(split.gather(indices), train[kept][indices])
    for block in split.blocks(indices):
        np.testing.assert_array_equal(block.images[block.rows], train[kept][indices[block.places]])
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
    write_header(tmp_path / "two", class_names=["another", *"bcde"])
    assert open_pack(tmp_path / "two").fingerprint != first


def test_indices_outside_are_refused(pack: Path) -> None:
    split = open_pack(pack).splits["train"]
    for wrong in (-1, 8):
        with pytest.raises(IndexError):
            split.gather(np.array([0, wrong]))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_header_that_was_changed_is_refused(pack: Path) -> None:
    text = (pack / "pack.json").read_text()
    (pack / "pack.json").write_text(text.replace('"rejected": 0', '"rejected": 1'))
    with pytest.raises(UserError, match=r"pack.json: its contents have changed"):
        open_pack(pack)


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
        ("encoding", "png", "'png'"),
        ("encoding", "jpeg", "pack.json"),
        ("format", "something else", "not that of"),
        ("files", {"../../secret": {"bytes": 1, "sha256": ""}}, "inside of the pack"),
        ("image_size", 5, "pack.json"),
        ("splits", {}, "pack.json"),
        ("class_names", ["a"], "pack.json"),
        ("class_names", ["a", *NAMES[:-1]], "a name twice"),
        ("statistics", None, "pack.json"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(pack: Path, key: str, value: object, said: str) -> None:
    write_header(pack, **{key: value})
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


@pytest.mark.parametrize("room", [0, 1])
def test_a_pack_that_the_machine_refuses_is_not_called_damaged(pack: Path, room: int) -> None:
    said = "cannot be read: Too many open files; mend that, and repeat the command"
    with pytest.raises(UserError, match=said), few_open_files(room):  # mapping a file takes two at a time
        open_pack(pack)


def test_nothing_stays_behind_an_error(tmp_path: Path) -> None:
    arguments = {"image_size": SIZE, "class_names": NAMES, "labels": {"train": np.arange(5)}}
    with pytest.raises(ZeroDivisionError), PackWriter(tmp_path / "pack", **arguments) as writer:
        writer.put("train", 0, writer.encode(images(1)[0]))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = {"image_size": SIZE, "class_names": NAMES, "labels": {"train": np.arange(5)}}
    with pytest.raises(UserError, match="cannot be written"), PackWriter(tmp_path / "file" / "pack", **arguments):
        pass
    with pytest.raises(UserError, match="No space left"), PackWriter(tmp_path / "pack", **arguments):
        raise OSError(28, "No space left on device")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_costs_nothing_that_was_done(tmp_path: Path) -> None:
    arguments = {"image_size": SIZE, "class_names": NAMES, "labels": {"train": np.arange(5)}}
    with pytest.raises(UserError, match="3 images are done"), PackWriter(tmp_path / "pack", **arguments) as writer:
        for slot in range(3):
            writer.put("train", slot, writer.encode(images(5)[slot]))
        raise OSError(28, "No space left on device")
    with PackWriter(tmp_path / "pack", **arguments) as writer:
        assert writer.done == 3
        for slot in range(3, 5):
            writer.put("train", slot, writer.encode(images(5)[slot]))
        pack = writer.finish({})
    np.testing.assert_array_equal(pack.splits["train"].gather(np.arange(5)), images(5))
    assert [entry.name for entry in tmp_path.iterdir()] == ["pack"]


def test_packs_of_version_1_are_still_read(tmp_path: Path) -> None:
    """They had no checksum of their own, and raw images in the order of their labels alone."""
    pack = write(tmp_path / "pack", images(5))
    slots = np.random.default_rng(1).permutation(5)
    shards = np.concatenate([np.fromfile(file, np.uint8) for file in sorted(pack.path.glob("train-*.raw"))])
    assert shards.tobytes() == images(5)[slots].tobytes()  # the writer of these tests is out of order
    (tmp_path / "old").mkdir()
    for name in ("mean.npy", "train-labels.npy"):
        (tmp_path / "old" / name).write_bytes((pack.path / name).read_bytes())
    (tmp_path / "old" / "train-00000.raw").write_bytes(images(5).tobytes())
    header = json.loads((pack.path / "pack.json").read_text())
    del header["checksum"]
    split = {"images": 5, "labels": "train-labels.npy", "shards": ["train-00000.raw"]}
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in (tmp_path / "old").iterdir()
    }
    (tmp_path / "old" / "pack.json").write_text(
        json.dumps({**header, "version": 1, "splits": {"train": split}, "files": files})
    )
    old = open_pack(tmp_path / "old")
    np.testing.assert_array_equal(old.splits["train"].gather(np.arange(5)), images(5))


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut_short=st.booleans())
def test_a_damaged_jpeg_shard_is_detected(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, cut_short: bool
) -> None:
    pack = write(tmp_path_factory.mktemp("packs") / "pack", images(5), per_shard=9, jpeg=JpegQuality())
    shard = pack.path / "train-00000.jpeg"
    data = bytearray(shard.read_bytes())
    where = int(place * len(data))
    data[where] ^= 1 << bit
    shard.write_bytes(data[:where] if cut_short else data)
    with pytest.raises(UserError, match=r" 1 of \d files damaged \(train-00000\.jpeg: "):
        verify(pack.path, show_progress=False)
    if cut_short:
        return  # and never read: open_pack refuses it
    shards = [shard]
    reader = JpegSplit(shards, SIZE, np.asarray(pack.splits["train"].labels), pack.splits["train"].byte_ranges)
    try:
        assert reader.gather(np.arange(5)).shape == (5, SIZE, SIZE, 3)
    except UserError as error:
        assert "train-00000.jpeg: image" in str(error) and "alexnet verify" in str(error)
