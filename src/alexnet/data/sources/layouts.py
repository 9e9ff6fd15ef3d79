"""Which images a folder or archive holds, of which class, in which split.

The layouts, recognized by what is there; folders that wrap everything are skipped:

* `train/<class>/...`, with `val/` and `test/` (or other usual words: `file_names.py`) if there are such splits;
* `<class>/...`: all of it is for training;
* an archive in place of any of these folders: Fall 2009 and Fall 2011 (`fall11_whole.tar`), `train.zip` and `val.zip`;
* images without class folders, with a table of labels (`data.sources.tables`; Tiny-ImageNet, Kaggle), or with WordNet
  IDs in their names (the flat tars of Hugging Face's `imagenet-1k`);
* ILSVRC-2010 and ILSVRC-2012 as published: the tars of train, val and test images and the development kit in one
  folder, or what they unpack to (`data.sources.ilsvrc`);
* WebDataset and parquet files (`data.sources.shards`); CIFAR-10 in both published forms (`data.sources.cifar10`).

Every file ends as an image, or with a kind of "not used". Classes are numbered in the order of their names, or of their
numbers where all names are numbers.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

from alexnet.data.sources import cifar10, file_names, ilsvrc, shards
from alexnet.data.sources.catalog import Catalog, File, Unused, number_classes
from alexnet.data.sources.file_tree import TWICE, FileTree
from alexnet.data.sources.folders import Folders
from alexnet.data.sources.images import Blob
from alexnet.data.sources.tables import SUFFIXES
from alexnet.errors import UserError, printable


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
    """The images by split, class and name (without a wrapping folder), and what is not used."""
    read: Callable[[Iterator[File]], Generator[Blob, None, None]]
    """Images in their listed order; read only where they are compressed."""
    check_unchanged: Callable[[], None]
    """Raises `UserError` if an archive has changed since it was listed."""
    notes: tuple[str, ...] = ()
    """What the user should know, a line each."""

    def images(self) -> Generator[SourceImage, None, None]:
        """Every image once, in the order that is quickest to read. Close it if it is not read to its end."""
        located, again = tee(self.catalog.located())
        with closing(self.read(file for *_, file in again)) as blobs:
            for (split, place, name, _), encoded in zip(located, blobs, strict=True):
                yield SourceImage(split, place, name, encoded)


@contextmanager
def open_source(path: Path, splits: Mapping[str, str] | None = None) -> Iterator[Source]:
    """List what `path` holds; `splits` are the user's, by folder, or "none" for one that is left out.

    Raises:
        UserError: a missing path, a damaged archive, a source without labeled images, without training images, with
            validation or test classes that cannot be learned, or one that could be meant in several ways.
    """
    with closing(FileTree(path)) as tree:
        notes: list[str] = []
        read: Callable[[Iterator[File]], Generator[Blob, None, None]] = tree.read
        form = cifar10.form_of(file.name for file in tree.files.others())
        rows = any(True for _ in tree.files.files(shards.PARQUET)) and not any(True for _ in tree.files.names())
        if splits and (form or rows):
            what = f"this source is {'CIFAR-10' if form else 'parquet files'}, which says itself what is which"
            raise UserError(f"--split names folders, but {what}; leave it out")
        if form is not None:
            class_names = cifar10.list_images(tree, form)
            read = lambda _: cifar10.images(tree, form)  # noqa: E731
        elif rows:
            parquet = shards.ParquetFiles(tree)
            class_names, read = parquet.list_images(), parquet.read
            notes += parquet.notes()
        else:
            _add_archives(tree)
            tree.recognize_images()
            _set_masks_aside(tree.files)
            found = Folders(tree, splits or {})
            classes = number_classes(path, tree.files, found.place, prefix=found.prefix)
            # An image that has several names counts once.
            if tree.several_names and (names_of_one := tree.files.set_aside_same(TWICE)):
                what = f"{' and '.join(names_of_one)} are one file by a link, with two splits or classes"
                raise UserError(f"{path}: {what}; remove one of the two")
            class_names = _readable(found, classes, notes)
            notes += [*found.notes(), *_empty_folders(found), *_alike(classes), *_lists_of_splits(found)]
        if not class_names:
            raise UserError(_no_images(path, tree.files.unused()))
        if tree.links_outside:
            notes.append(f"{len(tree.links_outside):,} links lead out of the source, such as {tree.links_outside[0]}")
        if len(class_names) < 5:
            one = "; with one class every error is 0" if len(class_names) == 1 else ""
            notes.append(f"fewer than five classes ({', '.join(class_names)}): top-5 errors are left out{one}")
        yield Source(
            class_names=class_names,
            catalog=tree.files,
            read=read,
            check_unchanged=tree.check_unchanged,
            notes=tuple(printable(note, lines=True) for note in notes),
        )


def _set_masks_aside(files: Catalog) -> None:
    """Leave out `cat_mask.png` next to `cat.jpg`, and `masks/cat.png` where there is `images/cat.jpg`."""
    masks: dict[str, list[str]] = {}
    for name in files.names():
        for image in file_names.images_of_mask(name):
            masks.setdefault(image, []).append(name)
    if masks:
        found = {mask for name in files.names() for mask in masks.get(file_names.stem_of(name), ())}
        files.set_aside(found, file_names.MASKS, images=True)


def _lists_of_splits(found: Folders) -> Iterator[str]:
    """A note of texts whose names say that they divide the images into splits: none is read for class folders."""
    texts = [file for file in found.tree.files.others() if file_names.suffix_of(file.name) in (*SUFFIXES, ".json")]
    if not found.splits and not any(file.unused == file_names.LABELS for file in texts):
        lists = [file.name for file in texts if file_names.is_list_of_split(file.name)]
        if lists:
            others = f" and {len(lists) - 1:,} more" if len(lists) > 1 else ""
            what = f"{lists[0]}{others} may divide the images into splits, and no such list is read"
            yield f"{what}: to use it, sort the images into train/<class>, val/<class> and test/<class> (links will do)"


def _add_archives(tree: FileTree) -> None:
    """List those archives in a folder that take the place of folders of images; tars in a tar are listed with it."""
    if not tree.path.is_dir():
        return
    listed = (file.name for file in tree.files.files(file_names.ARCHIVES) if file_names.ARCHIVE.search(file.name))
    stems = {
        name: file_names.without_suffix(name).rpartition("/")[2] for name in listed if not ilsvrc.is_kit_file(name)
    }
    if not stems:
        return
    folders = {name.rpartition("/")[0] for name in tree.files.names()}
    there = {ilsvrc.split_of(part) for folder in folders for part in folder.split("/")}
    splits = {name: split for name, stem in stems.items() if (split := ilsvrc.split_of(stem))}
    wanted = [name for name, split in splits.items() if split not in there]
    of_classes = [name for name, stem in stems.items() if not (folders or splits) or file_names.is_wordnet_id(stem)]
    doubled = {name.rpartition("/")[0] for name in of_classes} & {folder.rpartition("/")[0] for folder in folders}
    if doubled:
        raise UserError(f"{tree.path / min(doubled)} holds class folders as well as class tars; keep one of the two")
    tree.add_archives(sorted({*wanted, *of_classes}))


def _empty_folders(found: Folders) -> Iterator[str]:
    """Notes of splits and class folders without images."""
    prefix = found.prefix
    named = (
        name for name in found.tree.folders if name.startswith(prefix) and not file_names.AROUND.search(f"{name}/")
    )
    inside = [name.removeprefix(prefix) for name in named]
    for top in sorted(set(inside) - found.splits.keys() - found.left_out if found.splits else ()):
        if ilsvrc.split_of(top):
            yield f"{prefix}{top} holds no images, so it is no split"
    classes = filter(None, (found.by_folders(f"{name}/") for name in inside if name))
    empty = {
        (split, name)
        for split, name in classes
        if (found.splits.get(name) or file_names.split_of(name)) != split or not found.splits
    }
    if empty:  # most archives name no folders, and looking through all images takes its time
        empty.difference_update(filter(None, map(found.by_folders, found.images())))
    if empty:
        plural = "class folders without images are" if len(empty) > 1 else "class folder without images is"
        split, folder = min(empty)
        above = "".join(f"{top}/" for top, held in found.splits.items() if held == split)
        yield f"{len(empty):,} {plural} left out, such as {prefix}{above}{folder}"


def _no_images(path: Path, unused: list[Unused]) -> str:
    found = "; ".join(f"{kind}: {count:,}, such as {printable(example)}" for kind, count, example in unused[:5])
    expected = "expected train/<class>/*.jpg or <class>/*.jpg"
    return f"{path}: no images in class folders; {expected}{f'; not used as images: {found}' if found else ''}"


def _alike(classes: list[str]) -> Iterator[str]:
    """A note of two classes that are likely to be one."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault("".join(name.casefold().split()), name)
        if other != name:
            yield f"the classes {other!r} and {name!r} differ in capitals or spaces alone"
            return


def _readable(found: Folders, classes: list[str], notes: list[str]) -> list[str]:
    """Names for people, where a file next to the splits or a development kit gives them; else the folder names.

    Two synsets can have the same words (ILSVRC-2012 has two cranes); their folders then distinguish them.
    """
    words: dict[str, str] = {}
    for file in ("class_names.txt", "words.txt", "LOC_synset_mapping.txt"):
        if not words:
            lines = (line.split("\t" if "\t" in line else None, 1) for line in found.lines(file))
            words = {fields[0]: fields[1].strip() for fields in lines if len(fields) == 2}
            if 0 < (named := len(words.keys() & set(classes))) < len(classes):
                notes.append(f"{file} names {named:,} of the {len(classes):,} classes")
    words = words or (found.kit.words if found.kit else {})
    return file_names.told_apart([words.get(folder) or folder for folder in classes], classes)
