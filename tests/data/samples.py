"""Small sources for the tests: class folders of noise, and archives of them."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from PIL import Image

from alexnet.data.sources.archives import FileRange
from alexnet.data.sources.layouts import Source, open_source
from alexnet.errors import UserError

CLASSES = tuple("abcde")


def noise(seed: int, width: int = 20, height: int = 16) -> Image.Image:
    """An image whose pixels are all different."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def class_folders(root: Path, splits: Iterable[str] = ("train", "val"), count: int = 3) -> Path:
    """`root/<split>/<class>/<n>.png`; a split named "" puts the classes at the top."""
    for number, split in enumerate(splits):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                noise(10000 * number + 100 * label + index).save(folder / f"{index}.png")
    return root


def archive(folder: Path, target: Path, *, top: str = "") -> Path:
    """Pack a folder in the way that the target's name tells; `top` wraps everything in one more directory."""
    if target.suffix == ".zip":
        _zip(folder, target, top)
    elif target.suffix == ".zst":
        plain = archive(folder, target.with_name("plain.tar"), top=top)
        target.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
        plain.unlink()
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[target.suffix]
        with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]
            for file in _backwards(folder):
                tar.add(file, f"{top}{file.relative_to(folder)}")
    return target


def _zip(folder: Path, target: Path, top: str) -> None:
    with zipfile.ZipFile(target, "w") as file:
        for member in _backwards(folder):
            file.write(member, f"{top}{member.relative_to(folder)}")


def _backwards(folder: Path) -> list[Path]:
    """Another order than that of the pack."""
    return sorted((file for file in folder.rglob("*") if file.is_file()), reverse=True)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a directory, hidden ones too."""
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def splits(source: Source | Path) -> dict[str, list[tuple[str, int]]]:
    """Names and classes of the images of a source, by split."""
    if isinstance(source, Path):
        with open_source(source) as opened:
            return splits(opened)
    catalog = source.catalog
    return {
        split: list(zip(catalog.images(split), catalog.labels(split).tolist(), strict=True))
        for split in catalog.counts()
    }


def images(path: Path) -> dict[str, bytes]:
    """The encoded images of a source by name; their places must be those of `splits`."""
    with open_source(path) as source:
        found = list(source.images())
        names = {split: [name for name, _ in listed] for split, listed in splits(source).items()}
    assert all(names[image.split][image.place] == image.name for image in found)
    return {
        image.name: image.encoded.read_bytes() if isinstance(image.encoded, Path | FileRange) else bytes(image.encoded)
        for image in found
    }


def refusal(path: Path) -> str:
    """The one line by which a source is refused, when it is opened or read."""
    with pytest.raises(UserError) as caught:
        images(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def unused(path: Path, **chosen: str) -> dict[str, int]:
    """Files that are not used, by kind; `none=FOLDER` chooses what a folder is."""
    with open_source(path, {folder: split for split, folder in chosen.items()}) as source:
        return {kind: files for kind, files, _ in source.catalog.unused()}
