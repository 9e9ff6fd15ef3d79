from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.config.values import ShapesConfig
from alexnet.data.sources import shapes
from tests.data.samples import contents

CONFIG = ShapesConfig(train_per_class=3, val_per_class=1, test_per_class=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "set"
    shapes.draw(folder, CONFIG, show_progress=False)
    return folder


def test_twenty_classes_in_the_order_of_their_folders(drawn: Path) -> None:
    assert len(shapes.CLASSES) == 20 and list(shapes.CLASSES) == sorted(shapes.CLASSES)
    assert {name.split("_")[0] for name in shapes.CLASSES} == {"cross", "disc", "square", "star", "triangle"}
    assert {name.split("_")[1] for name in shapes.CLASSES} == {"checked", "dotted", "mottled", "striped"}
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        assert sorted(folder.name for folder in (drawn / split).iterdir()) == list(shapes.CLASSES)
        assert all(len(list(folder.iterdir())) == count for folder in (drawn / split).iterdir())


def test_files_are_ordinary_images_of_varied_sizes(drawn: Path) -> None:
    sizes, forms = set(), set()
    for file in drawn.rglob("*.*"):
        with Image.open(file) as image:
            sizes.add(image.size)
            forms.add(image.format)
            assert image.mode == "RGB" and min(image.size) >= 64 and max(image.size) <= 130
    assert forms == {"JPEG", "PNG"} and len(sizes) > 80


def test_the_same_seed_draws_the_same_files(drawn: Path, tmp_path: Path) -> None:
    shapes.draw(tmp_path / "again", CONFIG, show_progress=False)
    assert contents(tmp_path / "again") == contents(drawn)


def test_an_image_does_not_hang_on_the_number_of_images(drawn: Path, tmp_path: Path) -> None:
    shapes.draw(tmp_path, ShapesConfig(train_per_class=1, val_per_class=2, test_per_class=1), show_progress=False)
    fewer, more = contents(tmp_path / "train"), contents(drawn / "train")
    assert len(fewer) == 20 and fewer.items() <= more.items()


def test_seed_split_and_class_all_matter(drawn: Path, tmp_path: Path) -> None:
    shapes.draw(
        tmp_path, ShapesConfig(train_per_class=1, val_per_class=1, test_per_class=1, seed=1), show_progress=False
    )
    every = [*contents(drawn).values(), *contents(tmp_path).values()]
    assert len(set(every)) == len(every)


def test_colour_is_no_cue() -> None:
    """The mean colours of two classes differ no more than chance makes them."""
    means = np.array(
        [
            [shapes.picture(np.random.default_rng([label, n]), *name.split("_")).mean(axis=(0, 1)) for n in range(20)]
            for label, name in enumerate(shapes.CLASSES)
        ]
    )
    between = means.mean(axis=1).std(axis=0)
    by_chance = means.std(axis=1).mean(axis=0) / np.sqrt(20)
    assert (between < 2 * by_chance).all()


@pytest.mark.parametrize("outline", ["cross", "square", "star", "triangle"])
def test_distances_to_outlines_are_distances(outline: str) -> None:
    """Negative inside only, nowhere steeper than one unit per unit, and just as steep nearly everywhere."""
    y, x = np.mgrid[-1.5:1.5:201j, -1.5:1.5:201j].astype(np.float32)
    distance = shapes._OUTLINES[outline](x, y)
    assert distance[100, 100] < 0 and distance[0, 0] > 0
    assert (distance[np.hypot(x, y) > 1.001] > 0).all()
    step = 3 / 200
    assert all(np.abs(np.diff(distance, axis=axis)).max() <= 1.001 * step for axis in (0, 1))
    assert np.median(np.hypot(*np.gradient(distance, step))) == pytest.approx(1, abs=0.01)
