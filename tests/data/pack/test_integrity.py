"""Packs whose files change: found by `verify`, and by the verifier beside training."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from alexnet.commands.main import main
from alexnet.data.pack import pack as packs
from alexnet.data.pack.pack import BackgroundVerifier, Pack, open_pack, verify
from alexnet.data.pack.prepare import prepare
from alexnet.data.pack.splits import JpegSplit
from alexnet.errors import UserError
from tests.data.samples import class_folders


@pytest.fixture(params=["raw", "jpeg"])
def pack(tmp_path: Path, request: pytest.FixtureRequest) -> Pack:
    folder = class_folders(tmp_path / "images", ("train", "val"))
    return prepare(folder, tmp_path / "pack", size=16, encoding=request.param, show_progress=False)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def swap(file: Path) -> None:
    """One split's file in the place of another's."""
    file.write_bytes(file.with_name(file.name.replace("train", "val")).read_bytes())


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip,
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "another shard": swap,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_the_file(pack: Pack, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(pack.path)])
    assert "all as they were written" in capsys.readouterr().out
    shard = pack.path / f"train-00000.{pack.encoding}"
    files = len(list(pack.path.iterdir())) - 1  # all but pack.json
    DAMAGES[damage](shard)
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(pack.path)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"1 of {files} files" in said
    assert shard.name in said
    with pytest.raises(UserError, match=shard.name):
        open_pack(pack.path)


def test_another_version_in_the_header_is_damage(pack: Pack) -> None:
    header = pack.path / "pack.json"
    header.write_text(header.read_text().replace('"version": 2', '"version": 1', 1))
    with pytest.raises(UserError, match="checksum differs"):
        verify(pack.path)


def test_verify_needs_a_pack(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"give its folder, {pack.path}"):
        open_pack(pack.path / "pack.json")
    with pytest.raises(UserError, match="no such pack"):
        verify(tmp_path / "nowhere")


def test_a_large_pack_is_verifiered_while_it_is_used(pack: Pack) -> None:
    with patch.object(packs, "FULL_CHECK_BYTES", 0):
        flip(pack.path / f"val-00000.{pack.encoding}")
        verifier = BackgroundVerifier(open_pack(pack.path))  # too large to be read at the start
        verifier.start()
        with pytest.raises(UserError, match=f"val-00000.{pack.encoding}.*contents have changed"):
            verifier.raise_if_damaged(wait=True)


def test_a_sound_or_small_pack_raises_nothing(pack: Pack) -> None:
    verifier = BackgroundVerifier(pack)
    verifier.start()
    verifier.raise_if_damaged(wait=True)
    with patch.object(packs, "FULL_CHECK_BYTES", 0):
        verifier.start()
        verifier.raise_if_damaged(wait=True)


def test_fifteen_million_images_open_at_once(tmp_path: Path) -> None:
    """Only the index is as long as that of Fall 2011; the shard is empty room, which costs a disk nothing."""
    images, length = 15_000_000, 22_000
    with (tmp_path / "train-00000.jpeg").open("wb") as shard:
        shard.truncate(images * length)
    spans = np.lib.format.open_memmap(tmp_path / "spans.npy", mode="w+", dtype=np.int64, shape=(images, 2))
    spans[:, 0], spans[:, 1] = np.arange(images) * length, length
    labels = np.lib.format.open_memmap(tmp_path / "labels.npy", mode="w+", dtype=np.int64, shape=(images,))
    opened = JpegSplit([tmp_path / "train-00000.jpeg"], 256, labels, np.asarray(spans))
    assert len(opened) == images
    with pytest.raises(UserError, match="image 14999999 is damaged"):
        opened.gather(np.array([images - 1]))
