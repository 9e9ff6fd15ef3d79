"""The drawn ImageNet: the archives it writes and how learnable its images are."""

import importlib
import io
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from alexnet.errors import UserError
from tests.data.samples import contents

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def synthesis() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        module = importlib.import_module("synthesize")
        textures = [module.texture(0, number) for number in range(5)]
        module.texture = lambda _, number: textures[number]  # drawn once for all tests
        return module


@pytest.mark.parametrize("val", [0, 7])
def test_synthesize_tar_holds_the_images_of_the_folder(tmp_path: Path, synthesis: ModuleType, val: int) -> None:
    synthesis.synthesize(tmp_path / "folder", images=23, val=val, classes=5, seed=3, workers=1)
    synthesis.synthesize(tmp_path / "all.tar", images=23, val=val, classes=5, seed=3, workers=3)
    with tarfile.open(tmp_path / "all.tar") as archive:
        for member in archive:
            with tarfile.open(fileobj=archive.extractfile(member)) as inner:
                inner.extractall(tmp_path / "unpacked" / member.name.removesuffix(".tar"), filter="data")
    found = contents(tmp_path / "folder")
    assert found == contents(tmp_path / "unpacked") and len(set(found.values())) == 23 + val
    train = [
        len(list(folder.iterdir())) for folder in sorted((tmp_path / "folder" / ("train" if val else "")).iterdir())
    ]
    assert train == [5, 5, 5, 4, 4]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.tar", "folder", "unpacked"]


def test_picture_classes_are_learnable_and_sizes_are_imagenet_s(synthesis: ModuleType) -> None:
    """By the nearest class mean of a few figures, for ten classes of which two share a texture each."""
    textures = [synthesis.texture(0, number) for number in range(5)]
    sizes = []

    def figures(split: int, label: int, number: int) -> npt.NDArray[np.float64]:
        with Image.open(io.BytesIO(synthesis.picture(textures, 0, split, label, number))) as image:
            pixels = np.asarray(image.convert("RGB")).astype(float)
        sizes.append(pixels.shape[:2])
        slopes = [np.abs(np.diff(pixels[..., 1], axis=axis)).mean() for axis in (0, 1)]
        return np.array([*np.log(pixels.mean((0, 1)) + 1), *np.log(slopes)])

    means = np.stack([np.mean([figures(0, label, number) for number in range(6)], axis=0) for label in range(10)])
    correct = [
        np.abs(means - figures(1, label, number)).sum(1).argmin() == label for label in range(10) for number in range(4)
    ]
    assert np.mean(correct) > 0.3  # chance is 0.1
    assert np.median(sizes, axis=0).tolist() == [375, 500] and np.max(sizes) <= 1024


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": 4, "classes": 5}, "at least one for each of the 5 classes"),
        ({"images": 9, "classes": 5, "val": -1}, "val=-1"),
        ({"images": 10**12}, "needs about 110000000.0 GB"),
    ],
)
def test_synthesize_impossible_numbers_are_refused(
    tmp_path: Path, synthesis: ModuleType, options: dict[str, int], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        synthesis.synthesize(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())
