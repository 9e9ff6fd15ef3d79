"""ILSVRC-2010 and ILSVRC-2012 as published: the labels and class names of their development kits.

A kit, `ILSVRC2012_devkit_t12.tar.gz` or `ILSVRC2010_devkit-1.0.tar.gz`, packed or unpacked, holds `data/meta.mat`, with
the WordNet ID and the words of each of the 1,000 classes, and the validation labels; the labels of 2010's test images
are in a separate file. A label is the class's ILSVRC ID, 1 to 1,000, not its number here: classes are numbered in the
order of their WordNet IDs, as in folders named after them and in torchvision's `ImageNet`. Line n of a file of labels
is about the image whose name ends in n (readme of the kits: "in the ascending alphabetical order of the image file
names").

Kaggle's "ImageNet Object Localization Challenge" is ILSVRC-2012 too, with two tables instead of the kit: the class and
boxes of each validation image, and the words of the classes.
"""

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.data.sources import file_names
from alexnet.data.sources.archives import tar_contents
from alexnet.data.sources.file_tree import FileTree, read_named
from alexnet.data.sources.tables import text_lines
from alexnet.errors import UserError

IMAGES = re.compile(r"ILSVRC(?P<year>20\d\d)_(?:img|images)_(?:(?P<split>train|val)|(?P<test>test)\w*)")
"""Published archives of images, and folders of their contents, without `.tar`; `..._train_t3` is of another task."""
FLAT = re.compile(r"(?:.*/)?ILSVRC(?P<year>20\d\d)_(?P<split>val|test)_(?P<number>\d{8})\.jpe?g", re.IGNORECASE)
"""Validation and test images, which the archives hold without class folders."""
_KIT = re.compile(r"(?:.*/)?(?:ILSVRC20\d\d_)?devkit(?:_t12|-[\d.]+\d)?\.tar(?:\.gz)?")
_META = re.compile(r"(?:.*/)?(?:data/)?meta\.mat")
_LABELS = re.compile(r"(?:.*/)?ILSVRC(?P<year>20\d\d)_(?P<split>validation|test)_ground_truth\.txt")
_SOLUTION = re.compile(r"(?:.*/)?LOC_val_solution\.csv")
"""`ILSVRC2012_val_00048981,n03995372 85 1 499 272`: an image, then a class and a box as often as it has boxes."""
_MAPPING = re.compile(r"(?:.*/)?LOC_synset_mapping\.txt")  # `n01440764 tench, Tinca tinca`


@dataclass(frozen=True, kw_only=True)
class Kit:
    """The contents of a development kit, or of Kaggle's tables."""

    wordnet_ids: dict[int, str]
    """Of the classes, by ILSVRC ID."""
    words: dict[str, str]
    """Names of the classes, by WordNet ID."""
    labels: dict[tuple[str, str], npt.NDArray[np.int64]]
    """int64 [n]: ILSVRC IDs of the images, by year and split ("val", "test")."""

    def class_of(self, image: str) -> str | None:
        """Return the WordNet ID that the labels give a validation or test image; None for all other images."""
        found = FLAT.fullmatch(image)
        labels = self.labels.get((found["year"], found["split"].lower()), ()) if found else ()
        number = int(found["number"]) if found else 0
        return self.wordnet_ids.get(int(labels[number - 1])) if 0 < number <= len(labels) else None


def find_kit(tree: FileTree) -> Kit | None:
    """Read the development kit in a folder or archive, if it holds one. Raises `UserError` if the kit is damaged."""
    files = dict(read_named(tree, is_kit_file))
    inside = {
        f"{kit}/{name}": data
        for kit, archive in files.items()
        if _KIT.fullmatch(kit)
        for name, data in tar_contents(tree.path / kit, archive, is_kit_file)
    }
    if inside:  # a packed kit takes precedence
        files = {name: data for name, data in files.items() if not _META.fullmatch(name)} | inside
    metas = [data for name, data in files.items() if _META.fullmatch(name)]
    named = [(found, data) for name, data in files.items() if (found := _LABELS.fullmatch(name))]
    if not metas or not named:
        return _kaggle_kit(tree, files)
    if len(metas) > 1:
        raise UserError(f"{tree.path} holds {len(metas)} development kits (meta.mat); leave that of these images")
    labels: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    for found, data in named:
        try:
            split = "val" if found["split"] == "validation" else "test"
            of_split = np.array([int(line) for line in data.split()], np.int64)
        except (ValueError, OverflowError) as error:
            raise UserError(f"{tree.path}: {found[0]} should hold one number a line: {error}") from None
        if not np.array_equal(labels.setdefault((found["year"], split), of_split), of_split):
            raise UserError(f"{tree.path}: {found[0]} is there twice, with different labels; keep the right one")
    wordnet_ids, words = _classes(tree.path, metas[0])
    return Kit(wordnet_ids=wordnet_ids, words=words, labels=labels)


def split_of(folder: str) -> str | None:
    """Return the split that a folder or an archive holds by its name, also by one of the published archives' names."""
    published = IMAGES.fullmatch(folder)
    return (published["split"] or "test") if published else file_names.split_of(folder)


def is_kit_file(name: str) -> bool:
    """Whether a file of this name is a development kit, or one of the files in it that count."""
    return any(pattern.fullmatch(name) for pattern in (_KIT, _META, _LABELS, _SOLUTION, _MAPPING))


def _kaggle_kit(tree: FileTree, files: dict[str, bytes]) -> Kit | None:
    solutions = list(filter(_SOLUTION.fullmatch, files))
    if not solutions:
        return None
    name = solutions[0]
    if len({files[one] for one in solutions}) > 1:
        raise UserError(f"{tree.path}: {' and '.join(solutions)} differ; keep the right one")
    by_image = []
    for number, line in enumerate(text_lines(files[name])[1:], 2):
        image, _, boxes = line.partition(",")
        match, synsets = FLAT.fullmatch(f"{image}.JPEG"), set(boxes.split()[::5])
        if match is None or len(synsets) != 1:
            what = f"line {number:,} is no validation image and its one class"
            raise UserError(f"{tree.path / name}: {what}: {line[:80]!r}")
        by_image.append((int(match["number"]), synsets.pop()))
    numbers, classes = zip(*sorted(by_image), strict=True) if by_image else ((), ())
    if numbers != tuple(range(1, len(numbers) + 1)):
        raise UserError(f"{tree.path / name} should name each validation image from 1 on once; download it again")
    wordnet_ids = dict(enumerate(sorted(set(classes)), 1))
    number_of = {wordnet_id: number for number, wordnet_id in wordnet_ids.items()}
    mappings = (text_lines(data) for name, data in files.items() if _MAPPING.fullmatch(name))
    mapping = [line.partition(" ") for lines in mappings for line in lines]
    return Kit(
        wordnet_ids=wordnet_ids,
        words={wordnet_id: words.strip() for wordnet_id, _, words in mapping},
        labels={("2012", "val"): np.array([number_of[wordnet_id] for wordnet_id in classes], np.int64)},
    )


def _classes(path: Path, meta: bytes) -> tuple[dict[int, str], dict[str, str]]:
    """Read WordNet IDs by ILSVRC ID, and words by WordNet ID, of the classes: the synsets without children."""
    import scipy.io  # other sources do without it, and its 10 MB

    try:
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        (number,) = (field for field in synsets.dtype.names if re.fullmatch(r"ILSVRC20\d\d_ID", field))
        classes = [synset for synset in np.atleast_1d(synsets) if int(synset["num_children"]) == 0]
        words = {str(synset["WNID"]): str(synset["words"]) for synset in classes}
        return {int(synset[number]): str(synset["WNID"]) for synset in classes}, words
    except Exception as error:  # a damaged file can raise nearly anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: meta.mat of the development kit cannot be read ({what}); download it again") from None


def labels_by_name(path: Path, split: str, images: Iterable[str], kit: Kit | None) -> Callable[[str], str]:
    """Return a function from the names of flat images, which are `images`, to the WordNet IDs of their classes.

    Raises:
        UserError: there is no kit or it lacks the labels, the images are not those that the labels are about, or a
            label is none of the kit's classes.
    """
    found = [(match["year"], int(match["number"])) if (match := FLAT.fullmatch(name)) else ("", 0) for name in images]
    years = {year for year, _ in found} - {""}
    if len(years) != 1:
        raise UserError(f"{path}: {split} mixes images of {' and '.join(sorted(years))}; keep one year")
    (year,) = years
    file = f"ILSVRC{year}_{'validation' if split == 'val' else split}_ground_truth.txt"
    if kit is None:
        archive = {"2012": "ILSVRC2012_devkit_t12.tar.gz", "2010": "ILSVRC2010_devkit-1.0.tar.gz"}.get(year, "kit")
        archive += " or LOC_val_solution.csv" if year == "2012" else ""
        what = f"{len(found):,} {split} images without class folders and no development kit to label them"
        raise UserError(f"{path} has {what}: put {archive} next to them")
    if (year, split) not in kit.labels:
        raise UserError(f"{path}: {file} is missing; it belongs to the development kit of {year} or next to it")
    labels = kit.labels[year, split].tolist()
    for line, number in enumerate(labels, 1):
        if number not in kit.wordnet_ids:
            raise UserError(f"{path}: line {line:,} of {file} is {number}, which is no class of meta.mat")
    if sorted(number for _, number in found) != list(range(1, len(labels) + 1)):
        what = f"{len(found):,} {split} images but {len(labels):,} labels, for the images from 1 on"
        raise UserError(f"{path}: {what}; some are missing or doubled: copy or download them again")

    def wordnet_id(name: str) -> str:
        match = FLAT.fullmatch(name)
        assert match is not None
        return kit.wordnet_ids[labels[int(match["number"]) - 1]]

    return wordnet_id
