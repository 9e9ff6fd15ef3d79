"""Splits and classes of a listed source: by folders, by tables of labels, by file names.

What could be meant in two ways is refused, with the way to say what is meant.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import chain, takewhile
from operator import attrgetter

from alexnet.data.sources import file_names, ilsvrc
from alexnet.data.sources.catalog import LEFT_OUT, SPLITS, File, Place
from alexnet.data.sources.file_tree import FileTree, contents, read_named
from alexnet.data.sources.shards import CLASS_FILES, Samples
from alexnet.data.sources.tables import SUFFIXES, Table, read_table, text_lines
from alexnet.errors import UserError, plural

NAMED_BY_USER = "images of folders that are left out by choice"
_TEST_LABELS_ARE_PUBLIC = ("2010",)
_ALL_CLASSES = re.compile(
    r"(?:images?|imgs?|jpe?gs?|jpegimages|pngs?|pictures|photos|data|all|unknown|unlabell?ed)", re.I
)
"""Folders that hold images of all classes."""
_NO_CLASS = re.compile(r"images|imgs|jpegimages|folds?[ _-]?\d+", re.I)
"""Folders that are no class even next to others."""
_PART = re.compile(r".*(?:image|img|part|batch|chunk|shard|data)s?[ _-]*\d+", re.I)
"""Folders over which images are spread by number."""
_NO_TABLE = re.compile(r"words|class_names|readme|licen[sc]e|requirements|.*synset.*|.*submission.*", re.I)
"""Names of texts that look like tables; a challenge's sample of a submission has labels that mean nothing."""
_MOST_TABLES, _MOST_BYTES = 20, 2**28


@dataclass
class _Top:
    """A folder in which splits or classes are, or which is one; its name is empty for what lies in no folder."""

    images: int = 0
    example: str = ""
    parents: set[str] = field(default_factory=set)
    """The folders that its images lie in; no more than two of them are kept."""
    below: set[str] = field(default_factory=set)
    """The folders in it that its images lie in or below; no more than two of them are kept."""

    def is_flat(self, top: str) -> bool:
        """Whether its images lie all in it, or all in a folder in it that says nothing of a class."""
        if len(self.parents) != 1:
            return False
        (parent,) = self.parents
        return parent == top or bool(_ALL_CLASSES.fullmatch(parent.removeprefix(f"{top}/")))


class Folders:
    """What is where in a source."""

    def __init__(self, tree: FileTree, chosen: Mapping[str, str]) -> None:
        """Find the splits; `chosen` has the user's, by folder. UserError if it is not clear what is what."""
        self.tree, self.path = tree, tree.path
        self.prefix = _wrapping((name for name in tree.files.names() if "/" in name), chosen)
        """The folder that wraps everything, with a '/' at the end."""
        self.kit = ilsvrc.find_kit(tree)
        if self.kit:
            of_kit = {file.name for file in tree.files.others() if ilsvrc.is_kit_file(file.name)}
            tree.files.set_aside(of_kit, file_names.LABELS)
        self._samples = Samples(tree) if any(True for _ in tree.files.files(CLASS_FILES)) else None
        self._tops: dict[str, _Top] = {}
        for name in filter(None, map(self.inside, tree.files.names())):
            folder = name.rpartition("/")[0]
            top = self._tops.setdefault(_first(name), _Top(example=name))
            top.images += 1
            for seen, one in ((top.parents, folder), (top.below, (*folder.split("/"), "")[1])):
                if len(seen) < 2:
                    seen.add(one)
        chosen = {folder.strip("/").removeprefix(self.prefix): split for folder, split in chosen.items()}
        for folder, split in chosen.items():
            if folder not in self._tops:
                found = ", ".join(filter(None, sorted(self._tops))) or "none"
                raise UserError(f"--split {split}={folder}: {self.path} has no such folder; with images: {found}")
        self.left_out = {folder for folder, split in chosen.items() if split == LEFT_OUT}
        self.splits = self._find_splits(chosen)
        """Folders and the splits they hold; empty if all images are for training."""
        self._nested, self._nested_example = 0, ""
        self._notes: list[str] = []
        self._rules = self._find_rules()

    def inside(self, name: str) -> str | None:
        """The name below the wrapping folder."""
        return name.removeprefix(self.prefix) if name.startswith(self.prefix) else None

    def images(self, top: str | None = None) -> Iterator[str]:
        """The names inside of all images, or of those in a folder."""
        named = filter(None, map(self.inside, self.tree.files.names()))
        return named if top is None else (name for name in named if _first(name) == top)

    def place(self, name: str) -> Place:
        """Split and class of an image, or why it is not used. To be called once for each image, in their order."""
        inside = self.inside(name)
        top = _first(inside or "")
        if top in self.left_out:
            return NAMED_BY_USER
        if inside is None or (self.splits and top not in self.splits):
            return file_names.LOOSE
        if self._samples is not None:
            of_class = self._samples.of(name)
            return "images without a .cls file" if of_class is None else (self.splits.get(top, "train"), of_class)
        if rule := self._rules.get(top):
            return rule(inside)
        at = self.by_folders(inside)
        of_kit = self.kit and self.kit.class_of(inside)
        if at and of_kit and of_kit != at[1]:
            what = f"{inside} lies in {at[1]}, but is of {of_kit} by the development kit or Kaggle's table"
            raise UserError(f"{self.path}: {what}; sort the {at[0]} images into the right class folders")
        below = self._folders(inside)[1 + bool(self.splits) :]
        if at and below:
            if any(folder.lower() in file_names.THUMBNAIL_FOLDERS for folder in below):
                return file_names.THUMBNAILS
            self._note_nested(inside, below)
        return at or file_names.LOOSE

    def by_folders(self, inside: str) -> tuple[str, str] | None:
        """Split and class of a name by its folders: the one below the split, or a WordNet ID further below."""
        folders = self._folders(inside)
        if not self.splits or not folders:
            return ("train", file_names.class_name(folders[0])) if folders and folders[0] not in self.left_out else None
        split, *folders = self.splits.get(folders[0], ""), *folders[1:]
        named = (folder for folder in folders[1:] if file_names.is_wordnet_id(folder))
        return (split, file_names.class_name(next(named, folders[0]))) if split and folders else None

    def _folders(self, inside: str) -> list[str]:
        """The folders that a name inside lies in; one that says nothing, as in `train/train/cat`, is none."""
        folders = inside.split("/")[:-1]
        split = self.splits.get(folders[0]) if len(folders) > 1 else None
        if split is None:
            return folders
        only = self._tops[folders[0]].below == {folders[1]} and _ALL_CLASSES.fullmatch(folders[1])
        again = len(folders) > 2 and (folders[1] == folders[0] or file_names.split_of(folders[1]) == split)
        return [folders[0], *folders[2:]] if only or again else folders

    def notes(self) -> Iterator[str]:
        """What should be said of how images were placed."""
        yield from self._notes
        if self._nested:
            found = plural(self._nested, "image lies", "images lie")
            what = f"{found} in subfolders of class folders, such as {self._nested_example}"
            yield f"{what}: the upper folder is taken for the class"

    def lines(self, name: str) -> list[str]:
        """The lines of a text file below the wrapping folder, or beside it; none if there is no such file."""
        for found, data in read_named(self.tree, {self.prefix + name, name}.__contains__):
            self.tree.files.set_aside({found}, file_names.LABELS)
            return text_lines(data)
        return []

    # ---- What is a split

    def _find_splits(self, chosen: Mapping[str, str]) -> dict[str, str]:
        tops = [top for top in sorted(self._tops) if top and top not in self.left_out]
        splits = {top: split for top in tops if (split := chosen.get(top) or self._named(top))}
        nested = (top for top in tops if self._tops[top].below != {""})
        deep = {top: split for top in nested if (split := file_names.split_of_shard(top))}
        splits = splits or (deep if {"train"} < set(deep.values()) else {})  # seg_train and seg_test, of class folders
        unknown = [top for top in tops if top not in splits]
        flat = all(self._tops[top].parents == {top} and top not in chosen for top in splits)
        if unknown and flat and len(set(splits.values())) < 2:
            return {}  # no splits, or classes of which one is called train
        for split, what in (("train", "training"), ("val", "validation"), ("test", "test")):
            folders = [folder for folder, held in splits.items() if held == split]
            if len({re.sub(r"\d+", "0", folder) for folder in folders}) > 1:  # shards differ by their numbers alone
                remedy = f"keep one, or leave one out with --split {LEFT_OUT}=FOLDER"
                raise UserError(f"{self.path} has several {what} folders: {', '.join(folders)}; {remedy}")
        if unknown:
            folder = unknown[0]
            what = f"{folder} ({self._tops[folder].images:,} images) beside {', '.join(splits)} is no split by its name"
            lacking = next((split for split in SPLITS if split not in splits.values()), "val")
            one, none = (f"--split {split}={shlex.quote(folder)}" for split in (lacking, LEFT_OUT))
            ways = f"alexnet prepare {one} makes it one, {none} leaves it out"
            raise UserError(f"{self.path}: {what}: {ways}")
        if splits and "train" not in splits.values():
            raise UserError(f"{self.path} has {', '.join(splits)} but no train/ with images; add the training images")
        train = next((folder for folder, split in splits.items() if split == "train"), "")
        if "val" not in splits.values() and ilsvrc.IMAGES.fullmatch(train) and self.path.is_dir():
            wanted = f"{train.replace('_train', '_val')}.tar"
            ways = f"put {wanted} and the development kit next to it, or give the training archive itself"
            raise UserError(f"{self.path} has {train} but no validation images: {ways} to hold some out of it")
        return splits

    def _named(self, top: str) -> str | None:
        """The split that a folder, or an archive that is listed as one, holds by its name."""
        in_archive = f"{self.prefix}{top}" in self.tree.archive_folders
        return ilsvrc.split_of(top) or (file_names.split_of_shard(top) if in_archive else None)

    # ---- Images without class folders

    def _find_rules(self) -> dict[str, Callable[[str], Place]]:
        """How images without class folders are placed, by the folder of their split."""
        if self._samples is not None:
            return {}
        if not self.splits:
            tops = [top for top in self._tops if top not in self.left_out]
            all_of = next(filter(_NO_CLASS.fullmatch, tops), None)
            if all_of and (len(tops) > 1 or self._tops[all_of].below != {""}):
                other = next(found.example for top, found in self._tops.items() if top != all_of)
                what = f"{all_of} is no class by its name, and {other} lies outside of it"
                raise UserError(f"{self.path}: {what}; give that folder itself as the source, or move the others away")
            one = len(tops) == 1 or all(_PART.fullmatch(top) for top in tops)
            if not one or any(len(self._tops[top].parents) > 1 for top in tops):
                return {}
            rule = self._by_table("train", tops) or self._by_names("train", tops)
            unclear = [top for top in tops if not top or _ALL_CLASSES.fullmatch(top)]
            if rule is None and unclear:
                raise UserError(self._unlabeled(unclear[0]))
            return dict.fromkeys(tops, rule) if rule else {}
        rules = {}
        for top, split in self.splits.items():
            found, flat = self._tops[top], self._tops[top].is_flat(top)
            year = ilsvrc.FLAT.fullmatch(found.example) if len(found.parents) == 1 else None
            if not flat and year is None:
                continue
            rule = self._by_table(split, [top]) if self.kit is None or year is None else None
            rule = rule or self._by_names(split, [top])
            if year and rule is None:
                rule = self._by_kit(split, top, year["year"])
            if rule is None and split != "test":
                raise UserError(self._unlabeled(top))
            rules[top] = rule or (lambda _: "test images without labels")
        return rules

    def _unlabeled(self, top: str) -> str:
        what = f"{self.path}: the {self._tops[top].images:,} images of {top or 'the source'} are not in class folders"
        table = f"{top}/labels.csv" if top else "labels.csv"
        seen = ", ".join(file.name for file in self._texts([top])[:3])
        why = f"{seen} does not name them with their classes" if seen else "no file says of which class they are"
        return f"{what} and {why}; make class folders, or a table {table} whose first line is image,class"

    def _by_kit(self, split: str, top: str, year: str) -> Callable[[str], Place]:
        if split == "test" and year not in _TEST_LABELS_ARE_PUBLIC:
            return lambda _: f"test images of ILSVRC-{year}, whose labels are not public"
        wordnet_id = ilsvrc.labels_by_name(self.path, split, self.images(top), self.kit)
        return lambda inside: (split, wordnet_id(inside))

    def _by_names(self, split: str, tops: list[str]) -> Callable[[str], Place] | None:
        if not all(file_names.class_of_file(self._tops[top].example) for top in tops):
            return None

        def place(inside: str) -> Place:
            found = file_names.class_of_file(inside)
            return (split, found) if found else "images without a class in their names"

        return place

    def _by_table(self, split: str, tops: list[str]) -> Callable[[str], Place] | None:
        """By the one table that labels half of the images or more."""
        tables, fitting, unclear = list(self._tables(tops)), [], None
        # By their whole paths, of which the table may leave out the upper folders.
        images = sorted(self.prefix + name for top in tops for name in self.images(top)) if tables else []
        for table in tables:
            if len(table.lines) == len(images) and _is_about(table.name, split):
                table.label(images)
                unclear = None if sorted(images, key=_with_numbers) == images else table.name
            labeled = sum(table.find(name) is not None for name in images)
            if 2 * labeled >= len(images) and self._is_for(table, split, tops):
                fitting.append(table)
        if not fitting:
            return None
        if unclear == fitting[0].name:
            what = "has a class a line, but the images have another order by their numbers than by their names"
            remedy = "name the images in it (image,class), or pad their numbers with zeros"
            raise UserError(f"{self.path}: {unclear} {what}; {remedy}")
        table = fitting[0]
        for other in tables:
            of_split = None if self.splits else file_names.split_of_shard(other.name.rpartition("/")[2])
            differ = [pair for name in images if len(set(pair := (table.find(name), other.find(name)))) > 1]
            # One of another split, of few images, may label what this one leaves over.
            further = {label for known, label in differ if known is None and of_split not in (None, split)}
            if differ and (other in fitting or not further.isdisjoint(table.classes.values())):
                apart = all(None in pair for pair in differ)
                what = "label different images" if apart else "give images different classes"
                remedy = "join them in one table with a column split" if apart else "leave one of the two"
                raise UserError(f"{self.path}: {table.name} and {other.name} {what}; {remedy}")
        if not self.splits and table.splits and table.other_splits:
            what = f"{table.name} has the split {min(table.other_splits)}, which is none by its name"
            raise UserError(f"{self.path}: {what}; call it train, val or test, or leave its images out")
        for name in images if self.splits else ():
            if (of_table := table.split_of(name) or split) != split:
                what = f"{table.name} has {of_table} for {name}, which lies in a folder of {split} images"
                raise UserError(f"{self.path}: {what}; leave out the column, or the folders")
        labels = [label for name in images if (label := table.find(name)) is not None]
        if split == "train" and len(set(labels)) == len(labels) > 9:
            what = f"{table.name} gives each image another class, such as {labels[0]!r:.40}"
            raise UserError(f"{self.path}: {what}; name the column of the classes in its first line: image,class")
        if not self.splits and table.other_splits:
            words = ", ".join(sorted(table.other_splits)[:5])
            self._notes.append(f"the splits in {table.name} are not used: {words} are no names of splits")
        if not self.splits and (gone := table.classes.keys() - set(map(table.key_of, images))):
            what = f"{table.name} has {plural(len(gone), 'line')} for images that are not there, such as {min(gone)}"
            self._notes.append(what)
        self.tree.files.set_aside({one.name for one in fitting}, file_names.LABELS)

        def place(inside: str) -> Place:
            of_class = table.find(self.prefix + inside)
            if of_class is None:
                return f"images without a label in {table.name.rpartition('/')[2]}"
            of_split = split if self.splits else table.split_of(self.prefix + inside) or split
            return of_split, file_names.class_name(of_class)

        return place

    def _is_for(self, table: Table, split: str, tops: list[str]) -> bool:
        """Whether a table names images of a split, and not those of another that have the same names.

        Raises:
            UserError: several images have one name, but for their folders or suffixes, and nothing says which it names.
        """
        of_split = file_names.split_of_shard(table.name.rpartition("/")[2])
        if _first(self.inside(table.name) or "") in filter(None, tops):
            of_split = split  # it lies with the images
        flat = [top for top in self.splits if self._tops[top].is_flat(top)]
        named: dict[str, str] = {}
        among = tops if of_split == split else dict.fromkeys((*tops, *flat))
        for image in (name for top in among for name in self.images(top)):
            key = table.key_of(self.prefix + image)
            if key is None:
                continue
            other = named.setdefault(key, image)
            if other != image:
                if of_split not in (split, None):
                    return False
                what = f"{table.name} has {key}, which may be {other} or {image}"
                alike = other.rpartition("/")[0] == image.rpartition("/")[0]
                remedy = "rename one of them" if alike else "name the images in it by their paths"
                raise UserError(f"{self.path}: {what}; {remedy}")
        return True

    def _tables(self, tops: list[str]) -> Iterator[Table]:
        """Read the tables of classes."""
        chosen = self._texts(tops)
        for file, entry in zip(chosen, self.tree.read(chosen), strict=True):
            if table := read_table(file.name, contents(entry, self.path / file.name)):
                yield table

    def _texts(self, tops: list[str]) -> list[File]:
        """Return what may be tables of classes: in the source's folder, in the wrapping one, and with the images."""
        with_images = {f"{self.prefix}{folder}/".lstrip("/") for top in tops for folder in self._tops[top].parents}
        places = {"", self.prefix, *with_images, *(f"{self.prefix}{top}/".lstrip("/") for top in tops)}
        chosen = []
        for file in self.tree.files.others():
            folder, slash, name = file.name.rpartition("/")
            is_text = file_names.suffix_of(name) in SUFFIXES and not _NO_TABLE.match(name)
            if is_text and folder + slash in places and file.size < _MOST_BYTES:
                chosen.append(file)
        # A table of all images is a long text, but captions may be longer.
        telling = [file for file in chosen if "label" in file.name.lower() or not file.name.endswith(".txt")]
        largest = [file for some in (chosen, telling) for file in nlargest(_MOST_TABLES, some, key=attrgetter("size"))]
        return [file for file in chosen if file in largest]

    def _note_nested(self, inside: str, below: list[str]) -> None:
        """Count images in subfolders of class folders; refuse splits below classes."""
        for folder in filter(file_names.split_of, below):
            above = inside.partition(f"/{folder}/")[0]
            if not (self.splits and above in self.splits):
                what = f"{above}/{folder}/ has a split's name, but lies in a class folder"
                raise UserError(f"{self.path}: {what}: put splits above the classes (train/<class>), or rename it")
        if not all(_ALL_CLASSES.fullmatch(folder) or file_names.is_wordnet_id(folder) for folder in below):
            self._nested += 1
            self._nested_example = self._nested_example or inside


def _is_about(table: str, split: str) -> bool:
    """Whether the name of a list of classes says that it is one, or of which split."""
    words = re.findall("[a-z]+", table.rpartition("/")[2].lower())
    says_so = not {"label", "labels", "truth", split}.isdisjoint(words)
    return says_so and file_names.split_of_shard(table) in (split, None)


def _with_numbers(name: str) -> list[str | int]:
    """Sort `9.jpg` before `10.jpg`."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]


def _first(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def _wrapping(images: Iterable[str], chosen: Mapping[str, str]) -> str:
    """`ILSVRC/Data/CLS-LOC/` where the folders of splits, or of several classes, all lie in that folder."""
    paths = (name.split("/")[:-1] for name in images)
    shared, deepest = next(paths, []), 0
    for folders in chain([shared], paths):
        if folders[: len(shared)] != shared:
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(shared, folders, strict=False))
            shared = [folder for folder, _ in alike]
        deepest = max(deepest, len(folders))
    named = {folder.strip("/").rpartition("/")[2] for folder in chosen}

    def wraps(folder: str) -> bool:
        return not (ilsvrc.split_of(folder) or folder in named)

    return "".join(f"{folder}/" for folder in takewhile(wraps, shared if deepest > len(shared) else shared[:-1]))
