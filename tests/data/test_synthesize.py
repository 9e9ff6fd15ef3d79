import errno
import io
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from alexnet.commands.main import main
from alexnet.data import synthesize as module
from alexnet.data.sources.layouts import open_source
from alexnet.data.synthesize import synthesize
from alexnet.data.synthetic import Texture, picture, texture
from alexnet.errors import UserError
from tests.data.samples import contents


@pytest.fixture(scope="module")
def textures() -> list[Texture]:
    return [texture(0, number) for number in range(5)]


@pytest.fixture
def known(textures: list[Texture], monkeypatch: pytest.MonkeyPatch) -> None:
    """Textures drawn once for all tests."""
    monkeypatch.setattr(module, "texture", lambda _, number: textures[number])


def pixels(jpeg: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("val", [0, 7])
def test_folder_and_tar_hold_the_same_for_any_number_of_workers(tmp_path: Path, val: int) -> None:
    one, other = tmp_path / "one", tmp_path / "other.tar"
    synthesize(one, images=23, val=val, classes=5, seed=3, workers=1, show_progress=False)
    synthesize(other, images=23, val=val, classes=5, seed=3, workers=3, show_progress=False)
    sources = open_source(one), open_source(other)
    assert sources[0].splits == sources[1].splits
    folder = {name: file.read_bytes() for name, file in sources[0].read() if isinstance(file, Path)}
    assert folder == dict(sources[1].read()) and len(set(folder.values())) == 23 + val
    assert np.bincount([label for _, label in sources[0].splits["train"]]).tolist() == [5, 5, 5, 4, 4]
    assert len(sources[0].splits.get("val", [])) == val
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one", "other.tar"]
    with tarfile.open(other) as archive:
        assert next(member.name for member in archive) == ("train/n90000000.tar" if val else "n90000000.tar")


def test_pictures_follow_their_numbers(textures: list[Texture]) -> None:
    base = picture(textures, 0, 0, 0, 0)
    assert picture(textures, 0, 0, 0, 0) == base
    others = [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert all(picture(textures, *numbers) != base for numbers in others)
    assert not np.array_equal(texture(0, 0).pixels, texture(1, 0).pixels)
    assert np.array_equal(texture(0, 0).pixels, textures[0].pixels)


def test_pictures_are_as_large_as_imagenet_s(textures: list[Texture]) -> None:
    jpegs = [picture(textures, 0, 0, number % 10, number) for number in range(300)]
    sizes = np.array([pixels(jpeg).shape[:2] for jpeg in jpegs])
    assert np.median(sizes[:, 0]) == 375 and np.median(sizes[:, 1]) == 500
    assert sizes.min() > 60 and sizes.max() <= 1024 and len(np.unique(sizes, axis=0)) > 50
    lengths = np.array([len(jpeg) for jpeg in jpegs])
    assert 0.8 < np.median(lengths) / 93_650 < 1.2 and 0.8 < lengths.mean() / 113_448 < 1.2
    modes = [Image.open(io.BytesIO(jpeg)).mode for jpeg in jpegs]
    assert set(modes) == {"RGB", "L"} and 0.03 < modes.count("L") / 300 < 0.14


def test_classes_can_be_told_apart(textures: list[Texture]) -> None:
    """By the nearest class mean of a few figures, for ten classes of which two share a texture each."""

    def figures(split: int, label: int, number: int) -> npt.NDArray[np.float64]:
        image = pixels(picture(textures, 0, split, label, number)).astype(float)
        slopes = [np.abs(np.diff(image[..., 1], axis=axis)).mean() for axis in (0, 1)]
        return np.array([*np.log(image.mean((0, 1)) + 1), *np.log(slopes)])

    means = np.stack([np.mean([figures(0, label, number) for number in range(12)], axis=0) for label in range(10)])
    guesses = [
        (np.abs(means - figures(1, label, number)).sum(1).argmin() == label)
        for label in range(10)
        for number in range(10)
    ]
    assert np.mean(guesses) > 0.3  # chance is 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": 4, "classes": 5}, "at least one for each of the 5 classes"),
        ({"images": 9, "classes": 4}, "at least 5"),
        ({"images": 9, "classes": 5, "val": -1}, "val=-1"),
        ({"images": 9, "classes": 5, "seed": -1}, "seed=-1"),
        ({"images": 9, "classes": 5, "workers": 0}, "workers=0"),
        ({"images": 10**12}, "needs about 110000000.0 GB"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        synthesize(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", ["x", "x.tar"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*numbers: object) -> bytes:
        if numbers[3] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return b"jpeg"

    monkeypatch.setattr(module, "picture", draw)
    with pytest.raises(UserError, match=r"x(\.tar)? cannot be written: No space left on device"):
        synthesize(tmp_path / name, images=10, classes=5, show_progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("known")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["synthesize", str(tmp_path / "x"), "--images", "10", "--classes", "5", "--val", "5"]
    main(arguments)
    assert "10 + 5 images of 5 classes" in capsys.readouterr().err
    before = contents(tmp_path)
    with pytest.raises(SystemExit):
        main(arguments)
    assert "exists already" in capsys.readouterr().err
    assert contents(tmp_path) == before
