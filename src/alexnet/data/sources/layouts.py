"""Which images a folder or archive holds, of which class, in which split.

Layouts, told apart by what is there; directories that wrap everything are looked through:

* `train/<class>/...`, with `val/` (or `valid/`, `validation/`) and `test/` where there are such splits;
* `<class>/...`: all of it is for training;
* `<class>.tar` in place of any `<class>/`, in a folder or in one tar: Fall 2009 and Fall 2011 (`fall11_whole.tar`);
* ILSVRC-2010 and ILSVRC-2012 as published: the tars of train, val and test images and the development kit in one
  folder, or what they unpack to (`alexnet.data.sources.ilsvrc`);
* Tiny-ImageNet as published: `val/images/` with `val/val_annotations.txt`; its unlabelled `test/` is left out;
* CIFAR-10 in its published binary form (`alexnet.data.sources.cifar10`).

Classes are numbered in the order of their sorted folder names. Hidden files and `__MACOSX` do not count.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise, takewhile, tee
from pathlib import Path

import numpy as np

from alexnet.data.sources import cifar10, ilsvrc
from alexnet.data.sources.folders import FileTree, FolderTree, FolderWithTars, open_tree, read_named
from alexnet.data.sources.images import SUFFIXES, Blob
from alexnet.data.sources.listing import Items, Numbers
from alexnet.data.sources.scratch import Column, filled, full, parts
from alexnet.data.sources.tars import FileRange, is_tar
from alexnet.errors import UserError

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAME_FILES = ("class_names.txt", "words.txt")
_ANNOTATIONS = "val/val_annotations.txt"
_WORDNET_ID = re.compile(r"n\d{8}")
_TEST_LABELS_ARE_PUBLIC = ("2010",)
MIN_CLASSES = 5


@dataclass(frozen=True)
class SourceImage:
    """An image of a source: number `place` of its split, and where it is to be read."""

    split: str
    place: int
    blob: Blob | FileRange


@dataclass(frozen=True, kw_only=True)
class Source:
    """Labelled images, not yet read."""

    class_names: list[str]
    splits: dict[str, Items]
    """"train", and "val" and "test" where there are such; sorted by class, then name. Names are '/'-separated and
    without a wrapping directory."""
    blobs: Callable[[Iterator[int]], Iterator[Blob | FileRange]]
    """Images by the numbers that the splits give them, ascending; read only where they are compressed."""
    notes: tuple[str, ...] = ()
    """What was left out, a line each."""

    def locate(self) -> Iterator[SourceImage]:
        """Every image of the splits once, in the order that is quickest."""
        splits = list(self.splits)
        starts = [0, *accumulate(len(self.splits[split]) for split in splits)]
        places = self._places(starts)
        numbers, asked_for = tee(_numbers_of(places))
        for number, blob in zip(numbers, self.blobs(asked_for), strict=True):
            place = int(places[number])
            split = bisect_right(starts, place) - 1
            yield SourceImage(splits[split], place - starts[split], blob)

    def _places(self, starts: list[int]) -> Numbers:
        """By number of the source, the place of the image among those of all splits, int64; -1 for what is none."""
        places = full(1 + max(int(items.numbers.max()) for items in self.splits.values()), np.int64(-1))
        for start, items in zip(starts, self.splits.values(), strict=False):
            for part in parts(len(items)):
                places[items.numbers[part]] = np.arange(start + part.start, start + part.stop)
        return places

    def read(self) -> Iterator[tuple[str, Blob]]:
        """The same by name, those that are parts of an archive read when their turn comes."""
        for image in self.locate():
            blob = image.blob
            yield (
                self.splits[image.split].name(image.place),
                (blob.read_bytes() if isinstance(blob, FileRange) else blob),
            )


def open_source(path: Path) -> Source:
    """List what `path` holds.

    Raises `UserError` for a missing path, a damaged archive, a source without images in class folders, with fewer than
    five classes, without training images, with validation or test classes that cannot be learnt, or without the labels
    of its validation images.
    """
    tree = _with_tars(open_tree(path))
    if cifar10.is_binary(filter(_visible, tree.files)):
        class_names, splits = cifar10.labels(tree)
        return Source(class_names=class_names, splits=splits, blobs=lambda _: cifar10.images(tree))
    prefix = _wrapping(name for name in tree.files if _is_image(name))
    kit = ilsvrc.find_kit(tree)
    splits_of = _folders_of_splits(tree, prefix)
    labelled, notes = _labelled(tree, prefix, splits_of, kit)
    classes, splits = _number(tree, prefix, labelled)
    if len(classes) < MIN_CLASSES:
        raise UserError(_too_few(path, filter(_visible, tree.files), classes))
    return Source(
        class_names=_readable(tree, prefix, classes, kit),
        splits=splits,
        blobs=tree.read,
        notes=(*notes, *_without_images(tree, prefix, splits_of)),
    )


def _numbers_of(places: Numbers) -> Iterator[int]:
    """Where there is a place."""
    for part in parts(len(places)):
        yield from (part.start + np.flatnonzero(places[part] >= 0)).tolist()


def _visible(name: str) -> bool:
    return not (name.startswith(".") or "/." in name or "__MACOSX" in name.split("/"))


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES and _visible(name)


def _split(folder: str) -> str | None:
    """The split that a folder holds by its name."""
    published = ilsvrc.IMAGES.fullmatch(folder)
    return (published["split"] or "test") if published else _SPLITS.get(folder)


def _with_tars(tree: FileTree) -> FileTree:
    """A folder with those of its tars opened that take the place of folders of images."""
    if not isinstance(tree, FolderTree):
        return tree  # a tar's tars are listed with it
    tars = [name for name in tree.files if _visible(name) and is_tar(name) and not ilsvrc.is_kit_file(name)]
    folders = {name.rpartition("/")[0] for name in tree.files if _is_image(name)}
    published = {tar for tar in tars if ilsvrc.IMAGES.fullmatch(_stem(tar))}
    there = {_split(part) for folder in folders for part in folder.split("/")}
    wanted = [tar for tar in published if _split(_stem(tar)) not in there]
    of_classes = [tar for tar in tars if not (folders or published) or _WORDNET_ID.fullmatch(_stem(tar))]
    doubled = {tar.rpartition("/")[0] for tar in of_classes} & {folder.rpartition("/")[0] for folder in folders}
    if doubled:
        raise UserError(f"{tree.path / min(doubled)} holds class folders as well as class tars; keep one of the two")
    return FolderWithTars(tree, sorted(wanted + of_classes)) if wanted or of_classes else tree


def _stem(tar: str) -> str:
    return tar.rpartition("/")[2].rpartition(".")[0]


def _wrapping(images: Iterable[str]) -> str:
    """`ILSVRC/Data/CLS-LOC/` where the folders of splits, or of several classes, all lie in that folder."""
    paths = (name.split("/")[:-1] for name in images if "/" in name)
    shared, deepest = next(paths, []), 0
    for folders in chain([shared], paths):
        shared = [ours for ours, theirs in zip(shared, folders, strict=False) if ours == theirs]
        deepest = max(deepest, len(folders))
    kept = takewhile(lambda folder: not _split(folder), shared if deepest > len(shared) else shared[:-1])
    return "".join(f"{folder}/" for folder in kept)


@dataclass(frozen=True, kw_only=True)
class _Grouped:
    """Images of one split and their class folders."""

    folders: list[str]
    numbers: memoryview
    """Of images in the tree."""
    within: memoryview
    """Of each image, which of the folders it lies in."""


_Labelled = dict[str, _Grouped]
"""By split."""
_Numbered = tuple[int, str]
"""An image's number in the tree, and its name without the wrapping directory."""


def _folders_of_splits(tree: FileTree, prefix: str) -> dict[str, str]:
    """Folders and the splits that they hold; none where all images are for training."""
    folders = {name.split("/", 1)[0] for _, name in _inside(tree, prefix)}
    return {folder: split for folder in sorted(folders) if (split := _split(folder))}


def _labelled(
    tree: FileTree, prefix: str, splits: dict[str, str], kit: ilsvrc.Kit | None
) -> tuple[_Labelled, tuple[str, ...]]:
    """Sort images into splits by the folders that they lie in; and notes of what was left out."""
    if not splits:
        return {"train": _grouped((number, name.split("/", 1)[0]) for number, name in _inside(tree, prefix))}, ()
    _check_folders(tree.path, splits)
    if prefix + _ANNOTATIONS in tree.files:
        train = _grouped(_by_folder(_of_split(tree, prefix, splits, "train")))
        return {"train": train, "val": _grouped(_annotated(tree, prefix))}, ()
    labelled: _Labelled = {}
    notes = []
    for split in splits.values():
        year = _year_of_flat(_of_split(tree, prefix, splits, split))
        images = _of_split(tree, prefix, splits, split)
        if year and split == "test" and year not in _TEST_LABELS_ARE_PUBLIC:
            count = sum(1 for _ in images)
            notes.append(f"{count:,} test images are left out: the test labels of ILSVRC-{year} are not public")
        elif year:
            numbers, names = zip(*images, strict=True)
            folders_of = ilsvrc.label(tree.path, split, list(names), kit)
            labelled[split] = _grouped(zip(numbers, folders_of, strict=True))
        else:
            labelled[split] = _grouped(_by_folder(images))
    return labelled, tuple(notes)


def _inside(tree: FileTree, prefix: str) -> Iterator[_Numbered]:
    """Images in folders below the wrapping directory."""
    for number, name in enumerate(tree.files):
        if name.startswith(prefix) and name.count("/", len(prefix)) and _is_image(name):
            yield number, name.removeprefix(prefix)


def _of_split(tree: FileTree, prefix: str, splits: dict[str, str], split: str) -> Iterator[_Numbered]:
    """`splits`: folders and what they hold."""
    return ((number, name) for number, name in _inside(tree, prefix) if splits.get(name.split("/", 1)[0]) == split)


def _year_of_flat(images: Iterator[_Numbered]) -> str | None:
    """The ILSVRC year of validation or test images that lie in one folder, so that it says nothing of their classes."""
    _, name = next(images)
    first, folder = ilsvrc.FLAT.fullmatch(name), name.rpartition("/")[0]
    return first["year"] if first and all(other.rpartition("/")[0] == folder for _, other in images) else None


def _grouped(labelled: Iterable[tuple[int, str]]) -> _Grouped:
    """Numbers of images with their class folders."""
    folders: dict[str, int] = {}
    numbers, within = Column("q"), Column("i")
    for number, folder in labelled:
        numbers.append(number)
        within.append(folders.setdefault(folder, len(folders)))
    return _Grouped(folders=list(folders), numbers=numbers.array().data, within=within.array().data)


def _without_images(tree: FileTree, prefix: str, splits: dict[str, str]) -> Iterator[str]:
    """A note of class folders that nobody would miss."""

    def of_class(folders: list[str]) -> str:
        if not splits:
            return folders[0]
        return f"{folders[0]}/{_class(folders[1:])}" if folders[0] in splits and len(folders) > 1 else ""

    named = (name.removeprefix(prefix) for name in tree.folders if name.startswith(prefix) and _visible(name))
    empty = {of_class(name.split("/")) for name in named} - {""}
    if empty:  # most archives name no folders, and looking through all images takes its time
        empty -= {of_class(name.split("/")[:-1]) for _, name in _inside(tree, prefix)}
    if empty:
        plural = "class folders without images are" if len(empty) > 1 else "class folder without images is"
        yield f"{len(empty):,} {plural} left out, such as {prefix}{min(empty)}"


def _by_folder(images: Iterator[_Numbered]) -> Iterator[tuple[int, str]]:
    """Images of a split by the folder below that of the split, or below it by that with a WordNet ID as its name."""
    parts = ((number, name.split("/")) for number, name in images)
    return ((number, _class(folders)) for number, (_, *folders, _) in parts if folders)


def _class(folders: list[str]) -> str:
    return next((folder for folder in folders[1:] if _WORDNET_ID.fullmatch(folder)), folders[0])


def _check_folders(path: Path, splits: dict[str, str]) -> None:
    """`splits`: folders and what they hold."""
    if "train" not in splits.values():
        raise UserError(f"{path} has {', '.join(splits)} but no train/ with images; add the training images")
    for split, what in (("train", "training"), ("val", "validation"), ("test", "test")):
        folders = [folder for folder, held in splits.items() if held == split]
        if len(folders) > 1:
            raise UserError(f"{path} has several {what} folders: {', '.join(folders)}; keep one")
    train = next(folder for folder, held in splits.items() if held == "train")
    if "val" not in splits.values() and ilsvrc.IMAGES.fullmatch(train) and path.is_dir():
        wanted = f"{train.replace('_train', '_val')}.tar"
        raise UserError(
            f"{path} has {train} but no validation images: put {wanted} and the development kit beside it, or give the "
            "training archive itself to hold validation images out of it"
        )


def _annotated(tree: FileTree, prefix: str) -> Iterator[tuple[int, str]]:
    """Tiny-ImageNet's validation images: lines of file name, tab, class folder, tab, and a bounding box."""
    lines = (line.split("\t") for line in _text(tree, prefix + _ANNOTATIONS).splitlines())
    folders = {f"{prefix}val/images/{fields[0]}": fields[1] for fields in lines if len(fields) > 1}
    return ((number, folders[name]) for number, name in enumerate(tree.files) if name in folders)


def _number(tree: FileTree, prefix: str, labelled: _Labelled) -> tuple[list[str], dict[str, Items]]:
    """Folder names to class numbers."""
    classes = sorted(labelled["train"].folders)
    for split, grouped in labelled.items():
        unknown = sorted(set(grouped.folders).difference(classes))
        if unknown:
            raise UserError(
                f"{tree.path}: {split} has {len(unknown)} class(es) without training images, such as {unknown[0]!r}; "
                "give both splits the same class folders"
            )
    there = (split for split in ("train", "val", "test") if split in labelled and labelled[split].folders)
    return classes, {split: _items(tree, prefix, classes, labelled[split]) for split in there}


def _items(tree: FileTree, prefix: str, classes: list[str], grouped: _Grouped) -> Items:
    """Sorted by class, then name."""
    labels = {folder: label for label, folder in enumerate(classes)}
    label_of = [labels[folder] for folder in grouped.folders]
    counts = [0] * len(classes)
    for folder, count in Counter(grouped.within).items():
        counts[label_of[folder]] = count
    borders = [0, *accumulate(counts)]
    numbers, free = full(borders[-1], np.int64(0)), borders.copy()
    for number, folder in zip(grouped.numbers, grouped.within, strict=True):
        label = label_of[folder]
        numbers[free[label]] = number
        free[label] += 1
    for start, end in pairwise(borders):
        numbers[start:end] = sorted(numbers[start:end].tolist(), key=tree.files.__getitem__)
    of_class = filled(np.full(count, label) for label, count in enumerate(counts))
    return Items(tree.files, numbers, of_class, prefix=prefix)


def _too_few(path: Path, names: Iterable[str], classes: list[str]) -> str:
    if cifar10.is_pickled(names):
        return f"{path} is CIFAR-10 in pickled form, which is not safe to read; use cifar-10-binary.tar.gz instead"
    if not classes:
        return f"{path}: no images in class folders; expected train/<class>/*.jpg or <class>/*.jpg"
    found = ", ".join(classes)
    return f"{path} has {len(classes)} class(es) ({found}); top-5 errors need at least {MIN_CLASSES}: add class folders"


def _readable(tree: FileTree, prefix: str, classes: list[str], kit: ilsvrc.Kit | None) -> list[str]:
    """Names for people, where a file beside the splits or a development kit gives them; the folder names otherwise.

    Two synsets can have the same words (ILSVRC-2012 has two cranes); their folders then tell them apart.
    """
    names: dict[str, str] = {}
    for file in _NAME_FILES:
        if not names and prefix + file in tree.files:
            lines = (line.split("\t" if "\t" in line else None, 1) for line in _text(tree, prefix + file).splitlines())
            names = {fields[0]: fields[1].strip() for fields in lines if len(fields) == 2}
    names = names or (kit.words if kit else {})
    called = [names.get(folder) or folder for folder in classes]
    times = Counter(called)
    return [name if times[name] == 1 else f"{name} ({folder})" for name, folder in zip(called, classes, strict=True)]


def _text(tree: FileTree, name: str) -> str:
    ((_, data),) = read_named(tree, lambda other: other == name)
    return data.decode(errors="replace")
