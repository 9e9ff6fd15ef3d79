"""Every file of a source ends as an image, a reject with its reason, or a counted kind of "not used"."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.file_names import kind_of
from alexnet.errors import UserError
from tests.data.samples import archive, encoded, noise

AROUND = (
    "@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/x.jpg", "$RECYCLE.BIN/x.jpg", "lost+found/x", ".DS_Store",
    "._0.jpg", "System Volume Information/x.jpg", "__MACOSX/a/._0.jpg", "Thumbs.db", "desktop.ini", ".git/objects/x",
    ".ipynb_checkpoints/x.jpg", "photo.jpg.part", "photo.jpg~", "photo (Ann's conflicted copy 2020-01-02).jpg",
    "__pycache__/x.pyc", ".dropbox.cache/x.jpg", ".Trash-1000/files/x.jpg", "@Recycle/x.jpg", ".@__thumb/0.jpg",
    "Icon\r", "0.sync-conflict-20240101-120000-ABCDEFG.jpg", "photo.jpg.!qB", "photo.jpg.opdownload",
)  # fmt: skip
FORMS = {".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".tga": "TGA", ".webp": "WEBP", "": "PNG", ".jpg_large": "JPEG"}
SUMS = re.compile(r"([\d,]+) images? \+ ([\d,]+) rejected \+ ([\d,]+) not used = ([\d,]+) files")


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def random_tree(root: Path, seed: int) -> None:
    """A source of kinds mixed at random."""
    rng = random.Random(seed)
    classes = rng.sample(
        ["ant", "Bee", "caf\u00e9", "1", "10", "2", "n01440764", "x y", "d\u00fcne"], rng.randint(1, 6)
    )
    splits = rng.choice([[""], ["train"], ["train", "val"], ["Train", "VALIDATION"], ["training", "dev", "test_set"]])
    number = 0
    for split in splits:
        for name in classes:
            for _ in range(rng.randint(1, 4)):
                number += 1
                suffix = rng.choice(list(FORMS))
                write(root / split / name / f"{number}{suffix}", encoded(noise(number, 9, 8), FORMS[suffix]))
    images = sorted(path for path in root.rglob("*") if path.is_file())
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    extras: list[Callable[[Path], object]] = [
        lambda folder: write(folder / rng.choice(AROUND), b"\0\5\26\7"),
        lambda folder: write(
            folder / f"{rng.random()}.jpg", rng.choice([b"", b"words", encoded(noise(1), "JPEG")[:99]])
        ),
        lambda folder: write(folder / f"{rng.random()}{rng.choice(['.txt', '.xml', '.heic', '.cr2', '.dat'])}", b"?"),
        lambda folder: write(folder / f"loose{rng.random()}.png", encoded(noise(rng.randrange(999)), "PNG")),
        lambda folder: write(folder / "thumbs" / "t.png", encoded(noise(rng.randrange(999)), "PNG")),
        lambda folder: write(folder / rng.choice(["a.rar", "b.zip.001", "c.7z"]), b"Rar!"),
        lambda folder: (folder / f"gone{rng.random()}.jpg").symlink_to("/nowhere/x.jpg"),
        lambda folder: (folder / (loop := f"loop{rng.random()}.jpg")).symlink_to(loop),
        lambda folder: os.mkfifo(folder / f"pipe{rng.random()}.jpg"),
        lambda folder: (folder / f"again{rng.random()}.jpg").symlink_to(rng.choice(images)),
    ]
    for _ in range(rng.randint(0, 8)):
        rng.choice(extras)(rng.choice(folders))


def check_sums(source: Path, work: Path, files: int | None, said: Callable[[], str]) -> bool:
    """Prepare a source, and add up what became of its files; whether it was not refused."""
    try:
        pack = prepare(source, work / "pack", size=8, workers=1, val_fraction=0.3)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return False
    found = SUMS.search(said())
    assert found is not None
    images, rejected, unused, total = (int(figure.replace(",", "")) for figure in found.groups())
    lists = {name: work / "pack" / f"{name}.txt" for name in ("rejected", "unused")}
    lines = {name: file.read_text().splitlines() if file.exists() else [] for name, file in lists.items()}
    assert images == sum(map(len, pack.splits.values()))
    assert rejected == len(lines["rejected"]) and unused == sum(int(line.split("\t")[1]) for line in lines["unused"])
    assert images + rejected + unused == total and files in (None, total)
    return True


@pytest.mark.parametrize("trees", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_sums_of_random_trees_are_the_files_there(
    tmp_path: Path, trees: int, capsys: pytest.CaptureFixture[str]
) -> None:
    used = 0
    for seed in range(trees):
        folder = tmp_path / str(seed)
        random_tree(folder / "src", seed)
        files = sum(len(names) for _, _, names in os.walk(folder / "src"))
        used += check_sums(folder / "src", folder, files, lambda: capsys.readouterr().err)
        shutil.rmtree(folder)
    assert used > trees / 3  # the others are refused


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
def test_sums_of_an_archive_are_its_members(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        for number in range(3):
            write(tmp_path / "src" / name / f"{number}.png", encoded(noise(number + ord(name)), "PNG"))
    for number, name in enumerate(AROUND):
        write(tmp_path / "src" / "b" / str(number) / name, b"?")
    files = 9 + len(AROUND)
    packed = archive(tmp_path / "src", tmp_path / kind)
    assert check_sums(packed, tmp_path, files, lambda: capsys.readouterr().err)


@pytest.mark.parametrize("name", AROUND)
def test_what_lies_around_is_no_image(name: str) -> None:
    assert kind_of(name) and kind_of(f"train/cat/{name}")


@pytest.mark.parametrize(
    "name",
    ["a/0.jpg", "recycle/x.png", "thumb/0.JPG", "lost and found/1.jpg", "icons/Icon.png", "a.b/c d.TIFF", "git/x.bmp"],
)
def test_images_of_similar_names_are_images(name: str) -> None:
    assert kind_of(name) is None
