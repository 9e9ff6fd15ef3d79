"""Which images a folder or archive holds, of which class, in which split.

Layouts, told apart by what is there; one directory that wraps everything is looked through:

* `train/<class>/...`, with `val/` (or `valid/`, `validation/`) and `test/` where there are such splits;
* `<class>/...`: all of it is for training;
* Tiny-ImageNet as published: `val/images/` with `val/val_annotations.txt`; its unlabelled `test/` is left out;
* CIFAR-10 in its published binary form (`alexnet.data.cifar10`).

Classes are numbered in the order of their sorted folder names. Hidden files and `__MACOSX` do not count.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alexnet.data import cifar10
from alexnet.data.images import SUFFIXES, Blob
from alexnet.data.trees import Tree, open_tree
from alexnet.errors import UserError

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAME_FILES = ("class_names.txt", "words.txt")
_ANNOTATIONS = "val/val_annotations.txt"
MIN_CLASSES = 5

Item = tuple[str, int]
"""Name of an image in its source, '/'-separated and without a wrapping directory, and its class."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Labelled images, not yet read."""

    class_names: list[str]
    splits: dict[str, list[Item]]
    """"train", and "val" and "test" where there are such; sorted by class, then name."""
    read: Callable[[], Iterator[tuple[str, Blob]]]
    """Every image of the splits once, by its name, in the order that is quickest."""


def open_source(path: Path) -> Source:
    """List what `path` holds.

    Raises `UserError` for a missing path, a damaged archive, a source without images in class folders, with fewer than
    five classes, without training images, or with validation or test classes that cannot be learnt.
    """
    tree = open_tree(path)
    names = [name for name in tree.sizes if _visible(name)]
    if cifar10.is_binary(names):
        class_names, splits = cifar10.labels(tree)
        return Source(class_names=class_names, splits=splits, read=lambda: cifar10.images(tree))
    images = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    prefix = _wrapping(images)
    classes, splits = _number(path, _labelled(tree, images, prefix))
    if len(classes) < MIN_CLASSES:
        raise UserError(_too_few(path, names, classes))
    return Source(
        class_names=_readable(tree, prefix, classes), splits=splits, read=lambda: _files(tree, prefix, splits)
    )


def _visible(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _wrapping(images: list[str]) -> str:
    """`cifar10/` where all images lie in `cifar10/`, else nothing."""
    tops = {name.split("/")[0] for name in images if "/" in name}
    top = tops.pop() if len(tops) == 1 else "train"
    return "" if top in _SPLITS else f"{top}/"


_Labelled = dict[str, list[tuple[str, str]]]
"""By split: name of the image and name of its class folder."""


def _labelled(tree: Tree, images: list[str], prefix: str) -> _Labelled:
    """Sort images into splits by the folders that they lie in."""
    inside = [name.removeprefix(prefix).split("/") for name in images if name.startswith(prefix)]
    folders = {parts[0] for parts in inside if parts[0] in _SPLITS and len(parts) > 1}
    if not folders:
        return {"train": [("/".join(parts), parts[0]) for parts in inside if len(parts) > 1]}
    _check_folders(tree.path, folders)
    labelled: _Labelled = {"train": []}
    for parts in inside:
        if parts[0] in folders and len(parts) > 2:
            labelled.setdefault(_SPLITS[parts[0]], []).append(("/".join(parts), parts[1]))
    if prefix + _ANNOTATIONS in tree.sizes:
        return {"train": labelled["train"], "val": _annotated(tree, prefix)}
    return labelled


def _check_folders(path: Path, folders: set[str]) -> None:
    if "train" not in folders:
        raise UserError(f"{path} has {', '.join(sorted(folders))} but no train/ with images; add the training images")
    validation = sorted(folder for folder in folders if _SPLITS[folder] == "val")
    if len(validation) > 1:
        raise UserError(f"{path} has several validation folders: {', '.join(validation)}; keep one")


def _annotated(tree: Tree, prefix: str) -> list[tuple[str, str]]:
    """Tiny-ImageNet's validation images: lines of file name, tab, class folder, tab, and a bounding box."""
    lines = (line.split("\t") for line in _text(tree, prefix + _ANNOTATIONS).splitlines())
    named = [(f"val/images/{fields[0]}", fields[1]) for fields in lines if len(fields) > 1]
    return [(name, folder) for name, folder in named if prefix + name in tree.sizes]


def _number(path: Path, labelled: _Labelled) -> tuple[list[str], dict[str, list[Item]]]:
    """Folder names to class numbers."""
    classes = sorted({folder for _, folder in labelled["train"]})
    number = {folder: index for index, folder in enumerate(classes)}
    for split, images in labelled.items():
        unknown = sorted({folder for _, folder in images} - number.keys())
        if unknown:
            raise UserError(
                f"{path}: {split} has {len(unknown)} class(es) without training images, such as {unknown[0]!r}; "
                "give both splits the same class folders"
            )
    splits = {
        split: sorted(((name, number[folder]) for name, folder in images), key=lambda item: (item[1], item[0]))
        for split, images in labelled.items()
    }
    return classes, {split: splits[split] for split in ("train", "val", "test") if splits.get(split)}


def _too_few(path: Path, names: Iterable[str], classes: list[str]) -> str:
    if cifar10.is_pickled(names):
        return f"{path} is CIFAR-10 in pickled form, which is not safe to read; use cifar-10-binary.tar.gz instead"
    if not classes:
        return f"{path}: no images in class folders; expected train/<class>/*.jpg or <class>/*.jpg"
    found = ", ".join(classes)
    return f"{path} has {len(classes)} class(es) ({found}); top-5 errors need at least {MIN_CLASSES}: add class folders"


def _readable(tree: Tree, prefix: str, classes: list[str]) -> list[str]:
    """Names for people, where a file beside the splits gives them; the folder names otherwise."""
    names: dict[str, str] = {}
    for file in _NAME_FILES:
        if not names and prefix + file in tree.sizes:
            lines = (line.split("\t" if "\t" in line else None, 1) for line in _text(tree, prefix + file).splitlines())
            names = {fields[0]: fields[1].strip() for fields in lines if len(fields) == 2}
    return [names.get(folder) or folder for folder in classes]


def _text(tree: Tree, name: str) -> str:
    ((_, blob),) = tree.read({name})
    data = blob.read_bytes() if isinstance(blob, Path) else blob
    return data.decode(errors="replace")


def _files(tree: Tree, prefix: str, splits: dict[str, list[Item]]) -> Iterator[tuple[str, Blob]]:
    wanted = {prefix + name for items in splits.values() for name, _ in items}
    return ((name.removeprefix(prefix), blob) for name, blob in tree.read(wanted))
