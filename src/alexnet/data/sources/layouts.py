"""Which images a folder or archive holds, of which class, in which split.

The layouts, recognized by what is there; folders that wrap everything are skipped:

* `train/<class>/...`, with `val/` (or `valid/`, `validation/`) and `test/` if there are such splits;
* `<class>/...`: all of it is for training;
* `<class>.tar` in place of any `<class>/`, in a folder or in one tar: Fall 2009 and Fall 2011 (`fall11_whole.tar`);
* ILSVRC-2010 and ILSVRC-2012 as published: the tars of train, val and test images and the development kit in one
  folder, or what they unpack to (`alexnet.data.sources.ilsvrc`);
* Tiny-ImageNet as published: `val/images/` with `val/val_annotations.txt`; its unlabeled `test/` is left out;
* CIFAR-10 in its published binary form (`alexnet.data.sources.cifar10`).

Classes are numbered in the order of their sorted folder names. Hidden files and `__MACOSX` do not count. A new layout
is a new function such as `_tiny_imagenet`.
"""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, takewhile, tee
from pathlib import Path
from unicodedata import normalize

from alexnet.data.sources import cifar10, ilsvrc
from alexnet.data.sources.catalog import Catalog, File
from alexnet.data.sources.file_tree import FileTree, read_named
from alexnet.data.sources.images import SUFFIXES, Blob
from alexnet.data.sources.tars import is_tar
from alexnet.errors import UserError

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_WORDNET_ID = re.compile(r"n\d{8}")
_TEST_LABELS_ARE_PUBLIC = ("2010",)
MIN_CLASSES = 5


@dataclass(frozen=True)
class SourceImage:
    """An image of a source: number `place` of its split, and where to read it."""

    split: str
    place: int
    name: str
    encoded: Blob


@dataclass(frozen=True, kw_only=True)
class Source:
    """Labeled images, not yet read."""

    class_names: list[str]
    catalog: Catalog
    """The images by split, class and name. Names are '/'-separated and without a wrapping folder."""
    read: Callable[[Iterator[File]], Generator[Blob, None, None]]
    """Images in their listed order; read only where they are compressed."""
    notes: tuple[str, ...] = ()
    """What was left out, a line each."""

    def images(self) -> Generator[SourceImage, None, None]:
        """Every image once, in the order that is quickest to read. Close it if it is not read to its end."""
        located, again = tee(self.catalog.located())
        with closing(self.read(file for *_, file in again)) as blobs:
            for (split, place, name, _), encoded in zip(located, blobs, strict=True):
                yield SourceImage(split, place, name, encoded)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """List what `path` holds.

    Raises:
        UserError: a missing path, a damaged archive, a source without images in class folders, with fewer than five
            classes, without training images, with validation or test classes that cannot be learned, or without the
            labels of its validation images.
    """
    with closing(FileTree(path)) as tree:
        if cifar10.is_binary(filter(_visible, tree.files.names())):
            with closing(Catalog()) as catalog:
                names = cifar10.list_images(tree, catalog)
                yield Source(class_names=names, catalog=catalog, read=lambda _: cifar10.images(tree))
            return
        _list_tars(tree)
        found = _Found(tree)
        if found.splits:
            _check_splits(found)
        classes = _number_classes(found, _tiny_imagenet(found) or _class_folders(found))
        if len(classes) < MIN_CLASSES:
            raise UserError(_too_few(path, filter(_visible, tree.files.names()), classes))
        names, notes = _readable(found, classes), (*found.notes, *_empty_class_folders(found))
        yield Source(class_names=names, catalog=tree.files, read=tree.read, notes=notes)


def _visible(name: str) -> bool:
    return not (name.startswith(".") or "/." in name or "__MACOSX" in name.split("/"))


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES and _visible(name)


def _split(folder: str) -> str | None:
    """The split that a folder holds by its name."""
    published = ilsvrc.IMAGES.fullmatch(folder)
    return (published["split"] or "test") if published else _SPLITS.get(folder)


def _list_tars(tree: FileTree) -> None:
    """List those tars in a folder that take the place of folders of images; tars in a tar are listed with it."""
    names = tree.files.names() if tree.path.is_dir() else ()
    listed = (name for name in names if _visible(name) and is_tar(name) and not ilsvrc.is_kit_file(name))
    tars = {name: name.rpartition("/")[2].rpartition(".")[0] for name in listed}
    if not tars:
        return
    folders = {name.rpartition("/")[0] for name in tree.files.names() if _is_image(name)}
    published = {tar for tar, stem in tars.items() if ilsvrc.IMAGES.fullmatch(stem)}
    there = {_split(part) for folder in folders for part in folder.split("/")}
    wanted = [tar for tar in published if _split(tars[tar]) not in there]
    of_classes = [tar for tar, stem in tars.items() if not (folders or published) or _WORDNET_ID.fullmatch(stem)]
    doubled = {tar.rpartition("/")[0] for tar in of_classes} & {folder.rpartition("/")[0] for folder in folders}
    if doubled:
        raise UserError(f"{tree.path / min(doubled)} holds class folders as well as class tars; keep one of the two")
    tree.add_tars(sorted(wanted + of_classes))


class _Found:
    """What layouts are recognized by."""

    def __init__(self, tree: FileTree) -> None:
        self.tree, self.path = tree, tree.path
        self.notes: list[str] = []
        self.prefix = _wrapping(name for name in tree.files.names() if _is_image(name))
        """The folder that wraps everything, with a '/' at the end."""
        self.kit = ilsvrc.find_kit(tree)
        folders = {name.split("/", 1)[0] for name in self.images()}
        self.splits = {folder: split for folder in sorted(folders) if (split := _split(folder))}
        """Folders and the splits they hold; empty if all images are for training."""

    def inside(self, name: str) -> str | None:
        """The name below the wrapping folder, of images in a folder there."""
        below = name.startswith(self.prefix) and name.count("/", len(self.prefix)) and _is_image(name)
        return name.removeprefix(self.prefix) if below else None

    def images(self, split: str | None = None) -> Iterator[str]:
        """The names inside of all images, or of those in the folders of a split."""
        named = filter(None, map(self.inside, self.tree.files.names()))
        return named if split is None else (name for name in named if self.split_of(name) == split)

    def split_of(self, name: str) -> str | None:
        """The split of the folder that an image lies in."""
        return self.splits.get(name.split("/", 1)[0])

    def split_and_class(self, name: str) -> tuple[str, str] | None:
        """The split of an image, and its class by a folder: the one below the split, or further below a WordNet ID."""
        top, *folders, _ = name.split("/")
        if not self.splits:
            return "train", top
        named = (folder for folder in folders[1:] if _WORDNET_ID.fullmatch(folder))
        return (self.splits[top], next(named, folders[0])) if top in self.splits and folders else None

    def text(self, name: str) -> str | None:
        """The contents of a text file below the wrapping folder."""
        for _, data in read_named(self.tree, lambda other: other == self.prefix + name):
            return data.decode(errors="replace")
        return None


def _wrapping(images: Iterable[str]) -> str:
    """`ILSVRC/Data/CLS-LOC/` where the folders of splits, or of several classes, all lie in that folder."""
    paths = (name.split("/")[:-1] for name in images if "/" in name)
    shared, deepest = next(paths, []), 0
    for folders in chain([shared], paths):
        shared = [ours for ours, theirs in zip(shared, folders, strict=False) if ours == theirs]
        deepest = max(deepest, len(folders))
    kept = takewhile(lambda folder: not _split(folder), shared if deepest > len(shared) else shared[:-1])
    return "".join(f"{folder}/" for folder in kept)


_Place = Callable[[str], tuple[str, str] | None]
"""Split and class folder by the name of an image; None for images that are left out."""


def _tiny_imagenet(found: _Found) -> _Place | None:
    """Tiny-ImageNet; lines of its table are file name, tab, class folder, tab, and a bounding box."""
    table = found.text("val/val_annotations.txt") if found.splits else None
    if table is None:
        return None
    lines = (line.split("\t") for line in table.splitlines())
    folders = {f"val/images/{fields[0]}": fields[1] for fields in lines if len(fields) > 1}

    def place(name: str) -> tuple[str, str] | None:
        if name in folders:
            return "val", folders[name]
        return found.split_and_class(name) if found.split_of(name) == "train" else None

    return place


def _class_folders(found: _Found) -> _Place:
    """Class folders, in folders of splits or not; ILSVRC's have validation and test images without class folders."""
    flat: dict[str, Callable[[str], str | None]] = {}
    for split in found.splits.values():
        # The ILSVRC year of validation or test images that all lie in one folder.
        images = found.images(split)
        name = next(images)
        first, folder = ilsvrc.FLAT.fullmatch(name), name.rpartition("/")[0]
        if first is None or any(other.rpartition("/")[0] != folder for other in images):
            continue
        if split == "test" and first["year"] not in _TEST_LABELS_ARE_PUBLIC:
            count = sum(1 for _ in found.images(split))
            what = f"the test labels of ILSVRC-{first['year']} are not public"
            found.notes.append(f"{count:,} test images are left out: {what}")
            flat[split] = lambda _: None
        else:
            flat[split] = ilsvrc.labels_by_name(found.path, split, found.images(split), found.kit)

    def place(name: str) -> tuple[str, str] | None:
        split = found.split_of(name) or ""
        if split not in flat:
            return found.split_and_class(name)
        folder = flat[split](name)
        return (split, folder) if folder else None

    return place


def _check_splits(found: _Found) -> None:
    path, splits = found.path, found.splits
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
            f"{path} has {train} but no validation images: put {wanted} and the development kit next to it, or give "
            "the training archive itself to hold validation images out of it"
        )


def _number_classes(found: _Found, place: _Place) -> list[str]:
    """Give the images of the catalog their splits and labels, and return the class folders."""
    pairs = {at for name in found.images() if (at := place(name))}
    folders = sorted({folder for _, folder in pairs})
    forms = {normalize("NFC", folder): folder for folder in folders}
    for folder in folders:
        if folder != (other := forms[normalize("NFC", folder)]):
            what = f"class folders {folder!a} and {other!a} differ in Unicode form only"
            raise UserError(f"{found.path}: {what}; give both the same name")
    classes = sorted(folder for split, folder in pairs if split == "train")
    labels = {folder: label for label, folder in enumerate(classes)}
    unknown = sorted((split, folder) for split, folder in pairs if folder not in labels)
    if unknown:
        split, folder = unknown[0]
        count = sum(of == split for of, _ in unknown)
        raise UserError(
            f"{found.path}: {split} has {count} class(es) without training images, such as {folder!r}; "
            "give both splits the same class folders"
        )

    def split_and_label(name: str) -> tuple[str, int] | None:
        inside = found.inside(name)
        at = place(inside) if inside else None
        return (at[0], labels[at[1]]) if at else None

    found.tree.files.assign(split_and_label, found.prefix)
    return classes


def _empty_class_folders(found: _Found) -> Iterator[str]:
    """A note of class folders without images."""
    prefix = found.prefix
    named = (name.removeprefix(prefix) for name in found.tree.folders if name.startswith(prefix) and _visible(name))
    empty = set(filter(None, (found.split_and_class(f"{name}/") for name in named if name)))
    if empty:  # most archives name no folders, and looking through all images takes its time
        empty.difference_update(filter(None, map(found.split_and_class, found.images())))
    if empty:
        plural = "class folders without images are" if len(empty) > 1 else "class folder without images is"
        split, folder = min(empty)
        above = "".join(f"{top}/" for top, held in found.splits.items() if held == split)
        yield f"{len(empty):,} {plural} left out, such as {prefix}{above}{folder}"


def _too_few(path: Path, names: Iterable[str], classes: list[str]) -> str:
    if cifar10.is_pickled(names):
        return f"{path} is CIFAR-10 in pickled form, which is not safe to read; use cifar-10-binary.tar.gz instead"
    if not classes:
        return f"{path}: no images in class folders; expected train/<class>/*.jpg or <class>/*.jpg"
    found = ", ".join(classes)
    return f"{path} has {len(classes)} class(es) ({found}); top-5 errors need at least {MIN_CLASSES}: add class folders"


def _readable(found: _Found, classes: list[str]) -> list[str]:
    """Names for people, where a file next to the splits or a development kit gives them; else the folder names.

    Two synsets can have the same words (ILSVRC-2012 has two cranes); their folders then distinguish them.
    """
    names: dict[str, str] = {}
    for file in ("class_names.txt", "words.txt"):
        if not names and (text := found.text(file)):
            lines = (line.split("\t" if "\t" in line else None, 1) for line in text.splitlines())
            names = {fields[0]: fields[1].strip() for fields in lines if len(fields) == 2}
    names = names or (found.kit.words if found.kit else {})
    called = [names.get(folder) or folder for folder in classes]
    times = Counter(called)
    return [name if times[name] == 1 else f"{name} ({folder})" for name, folder in zip(called, classes, strict=True)]
