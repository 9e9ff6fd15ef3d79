"""What a pack was made of, for people: duplicates, sums, lists, a page of text and a sheet of images, kept with it."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import files
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from alexnet.data.pack.splits import Digests
from alexnet.data.pack.writer import PackWriter
from alexnet.data.sources.catalog import Unused
from alexnet.data.sources.images import file_bytes
from alexnet.data.sources.layouts import Source, SourceImage
from alexnet.errors import UserError, plural, printable

SUMMARY, SHEET, DUPLICATES, UNUSED = "summary.md", "contact.png", "duplicates.txt", "unused.txt"
FEW = 10
"""Classes with fewer training images are named."""
_DROPPED = "duplicates of images that are kept"
_ROWS, _PER_CLASS, _SIDE, _TEXT = 100, 8, 48, 140  # classes, images of each, pixels
_LISTED = 20  # names that a page has room for


_KEPT_FIRST = ("test", "val", "train")
"""Of the same images in several splits, the held-out one is kept: training on it would flatter the error."""

At = tuple[str, int]
"""An image of a source: its split, and its number among all images of the split."""


@dataclass(frozen=True)
class Duplicates:
    """What is there more than once."""

    pairs: list[tuple[At, At]]
    """Every image that is there already, and the first one of its pixels."""
    across: dict[tuple[str, str], int]
    """How many images of one split, the held-out one, are in another split too."""
    several_labels: int
    """How many different images are there under several classes."""


def find_duplicates(digests: Mapping[str, Digests]) -> Duplicates:
    """Find the images that are there more than once, in some 25 bytes of memory for each other image."""
    splits = [split for split in _KEPT_FIRST if split in digests]
    values = np.concatenate([digests[split].values for split in splits])
    order = np.argsort(values)
    ordered = values[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    several = np.zeros(len(values), np.bool_)
    several[order[same]] = several[order[same + 1]] = True

    groups: dict[int, list[At]] = {}
    pairs: list[tuple[At, At]] = []
    ends = np.cumsum([len(digests[split].values) for split in splits])
    for split, chosen in zip(splits, np.split(several, ends[:-1]), strict=True):
        found = digests[split]
        for slot, value in zip(found.slots[chosen].tolist(), found.values[chosen].tolist(), strict=True):
            group = groups.setdefault(value, [])
            group.append((split, slot))
            if len(group) > 1:
                pairs.append((group[-1], group[0]))

    across: Counter[tuple[str, str]] = Counter()
    for group in groups.values():
        images = Counter(split for split, _ in group)
        across.update({pair: images[pair[0]] for pair in combinations(images, 2)})
    labels = [{digests[split].labels[slot] for split, slot in group} for group in groups.values()]
    return Duplicates(
        pairs=pairs,
        across={pair: across[pair] for pair in combinations(splits, 2) if across[pair]},
        several_labels=sum(len(of_group) > 1 for of_group in labels),
    )


class Overview:
    """The sums of a pack that is complete but for its header."""

    def __init__(self, source: Source, writer: PackWriter, same: Duplicates, *, dropped: bool) -> None:
        self._writer, self._same, self._dropped = writer, same, dropped
        self._files = _files(source, {at for pair in same.pairs for at in pair})
        self._copies = [len({self._files[at][1] for at in pair}) == 1 for pair in same.pairs]
        self._unused = source.catalog.unused()
        if dropped and same.pairs:
            self._unused.append(Unused(_DROPPED, len(same.pairs), self._files[min(same.pairs)[0]][0]))
        self._total = source.catalog.total()
        self._kept = {split: writer.kept_per_class(split) for split in source.catalog.counts()}
        self._notes = source.notes
        self._held_out = {split: _names(source, writer, split) for split in self._kept if split != "train"}

    def lines(self) -> Iterator[str]:
        """What to say at the end."""
        images, rejected = sum(int(kept.sum()) for kept in self._kept.values()), len(self._writer.rejected)
        left = sum(count for _, count, _ in self._unused)
        assert images + rejected + left == self._total
        yield f"{plural(images, 'image')} + {rejected:,} rejected + {left:,} not used = {plural(self._total, 'file')}"
        where = f"see {DUPLICATES}"
        what = "the training copies are left out" if self._dropped else "--drop-duplicates leaves them out"
        for (held, other), count in self._same.across.items():
            found = plural(count, f"image of {held} is", f"images of {held} are")
            yield f"{found} in {other} too, with the same pixels: {where}; {what}"
        within = sum(image[0] == first[0] for image, first in self._same.pairs)
        if within:
            found = plural(within, "image has", "images have")
            yield f"{found} the same pixels as another one of the split: {where}"
        if self._copies:
            copies, other = sum(self._copies), "the others decode and scale to the same"
            yield f"{copies:,} of {len(self._copies):,} such images are copies, byte for byte; {other}"
        if self._same.several_labels:
            yield f"{plural(self._same.several_labels, 'image has', 'images have')} several classes by such copies"

    def write(self) -> None:
        """Write the lists, the page and the sheet."""
        folder = self._writer.folder
        same = (
            f"{self._files[image][0]}\t{self._files[first][0]}\tsame {'bytes' if copy else 'pixels'}"
            for (image, first), copy in zip(self._same.pairs, self._copies, strict=True)
        )
        unused = (f"{kind}\t{count}\t{printable(example)}" for kind, count, example in self._unused)
        for file, lines in ((DUPLICATES, same), (UNUSED, unused), (SUMMARY, self._page())):
            text = "".join(f"{line}\n" for line in lines)
            if text:
                (folder / file).write_text(text, encoding="utf-8")
        (folder / SHEET).write_bytes(self._sheet())
        for split, names in self._held_out.items():
            np.save(folder / f"{split}-names.npy", names)

    def _page(self) -> Iterator[str]:
        writer, names = self._writer, self._writer.class_names
        yield f"# {plural(len(names), 'class', 'classes')}, images of {writer.image_size} x {writer.image_size}\n"
        yield from _table(
            ("split", "images", "classes", "fewest and most of a class"),
            (
                (split, f"{kept.sum():,}", f"{(kept > 0).sum():,}", f"{kept[kept > 0].min():,} to {kept.max():,}")
                for split, kept in self._kept.items()
            ),
        )
        yield from (f"{line}.\n" for line in (*self.lines(), *self._notes))
        few = [name for name, count in zip(names, self._kept["train"].tolist(), strict=True) if count < FEW]
        if few:
            more = f" and {len(few) - _LISTED:,} more" if len(few) > _LISTED else ""
            listed = ", ".join(map(_code, few[:_LISTED]))
            yield f"{plural(len(few), 'class has', 'classes have')} fewer than {FEW} training images: {listed}{more}.\n"
        yield from _table(
            ("not used", "files", "such as"), ((kind, f"{count:,}", _code(name)) for kind, count, name in self._unused)
        )
        yield from _table(
            ("unusual", "images"), ((kind, f"{count:,}") for kind, count in writer.unusual_counts.items())
        )
        rejected = ((_code(name), reason) for name, reason in sorted(writer.rejected.items())[:_LISTED])
        yield from _table(("rejected, the first of them", "reason"), rejected)
        yield f"Some images of each class, as the pack holds them: ![contact sheet]({SHEET})"

    def _sheet(self) -> bytes:
        """Draw some training images of each class, or of every n-th class, as PNG."""
        writer, split = self._writer, self._writer.opened("train")
        step = -(-len(writer.class_names) // _ROWS)
        shown = range(0, len(writer.class_names), step)
        sheet = Image.new("RGB", (_TEXT + _PER_CLASS * _SIDE, len(shown) * _SIDE), "white")
        # The font of the charts, as Pillow's has English letters alone; matplotlib itself would take 9 MB.
        fonts = [str(one.locate()) for one in files("matplotlib") or () if one.name == "DejaVuSans.ttf"]
        draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(fonts[0], 11) if fonts else ImageFont.load_default(11)
        for row, label in enumerate(shown):
            name = printable(writer.class_names[label])[:22]
            draw.text((4, row * _SIDE + _SIDE // 3), name, fill="black", font=font)
            of_class = np.arange(*np.searchsorted(split.labels, [label, label + 1]))
            for column, pixels in enumerate(split.gather(of_class[:_PER_CLASS])):
                image = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
                sheet.paste(image, (_TEXT + column * _SIDE, row * _SIDE))
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()


def _files(source: Source, wanted: set[At]) -> dict[At, tuple[str, bytes]]:
    """Names of some images in the source, and hashes of their files."""
    found: dict[At, tuple[str, bytes]] = {}
    if wanted:
        with closing(source.images()) as images:
            for image in images:
                if (at := (image.split, image.place)) in wanted:
                    found[at] = printable(image.name), _digest(image)
    return found


def _digest(image: SourceImage) -> bytes:
    try:
        return hashlib.blake2b(file_bytes(image.encoded)).digest()
    except UserError:  # it has gone or changed since it was read; so it is no copy
        return image.name.encode(errors="surrogateescape")


def _names(source: Source, writer: PackWriter, split: str) -> npt.NDArray[np.bytes_]:
    """The names in the source of the images of a split, which is not large."""
    _, slots = writer.kept_slots(split)
    return np.array([name.encode(errors="surrogateescape") for name in source.catalog.images(split)], np.bytes_)[slots]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table in Markdown; none if it has no rows."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    if lines:
        yield f"| {' | '.join(head)} |"
        yield f"|{' --- |' * len(head)}"
        yield from lines
        yield ""


def _code(name: str) -> str:
    return "`" + printable(name).replace("`", "'") + "`"
