"""The making of a pack, by `alexnet prepare SOURCE PACK` or by the first use of `data=...`."""

import hashlib
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from heapq import nsmallest
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

import alexnet
from alexnet.config.schema import DOWNLOADS
from alexnet.config.values import ENCODINGS, DataConfig
from alexnet.data.pack.overview import Overview, find_duplicates
from alexnet.data.pack.pack import LARGEST_IMAGE, VERSION, Pack, fingerprint, is_pack, open_pack
from alexnet.data.pack.writer import PackWriter
from alexnet.data.sources import shapes
from alexnet.data.sources.archives import Entry
from alexnet.data.sources.catalog import File
from alexnet.data.sources.downloads import PUBLISHED, fetch
from alexnet.data.sources.file_names import suffix_of
from alexnet.data.sources.file_tree import FileTree, contents
from alexnet.data.sources.images import RESIZE, JpegQuality, convert_file, suppress_pil_warnings
from alexnet.data.sources.layouts import Source, SourceImage, open_source
from alexnet.data.sources.tables import SUFFIXES
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.errors import UserError, plural
from alexnet.files import exclusive
from alexnet.terminal import print_status, progress

RAW_BYTES = 2**32
"""Up to this size `auto` stores pixels: they stay in the page cache, and reading them costs nothing."""


def prepare(
    source: str | Path,
    pack: str | Path,
    *,
    size: int = 256,
    splits: Mapping[str, str] | None = None,
    drop_duplicates: bool = False,
    val_fraction: float = 0.1,
    test_fraction: float = 0.0,
    seed: int = 0,
    encoding: str = "auto",
    jpeg: JpegQuality | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> Pack:
    """Make a pack of `size` x `size` images from a folder or an archive (layouts: `data.sources.layouts`).

    `splits` has the splits that the user names, by folder (`none`: left out). If the source has no test split,
    `test_fraction` of each class is held out of the training images first; if it has no validation split,
    `val_fraction` of those that remain. Both are drawn by `seed`. `drop_duplicates` keeps one of the images of the same
    pixels, a held-out one if there is one. `encoding` is `raw`, `jpeg` (compressed by `jpeg`) or `auto`: raw if that is
    small. `workers` threads convert images (None: one per CPU); the pack has the same bytes for any number. Unreadable
    images are left out and listed in `rejected.txt`, unusual ones in `unusual.txt`. After an interruption the same call
    resumes; if another process makes the same pack, it waits and opens that.

    Raises:
        UserError: the source or the target cannot be used.
    """
    source, pack = Path(source), Path(pack)
    _check_arguments(source, pack, size, val_fraction, test_fraction, encoding, workers)
    threads, start = workers or available_cpus(), time.perf_counter()
    say = partial(print_status, show=show_progress)
    with open_source(source, splits) as listed:
        images = listed.catalog
        if test_fraction and "test" in images.counts():
            what = "the source has a test split already; leave test_fraction out"
            raise UserError(f"test_fraction={test_fraction}: {what}")
        for split, fraction, word in (("test", test_fraction, "test"), ("val", val_fraction, "validation")):
            if not fraction or split in images.counts():
                continue
            images.hold_out(split, fraction, seed)
            classes, held = len(listed.class_names), len(np.unique(images.labels(split)))
            if held < classes:
                none = plural(classes - held, "class has", "classes have")
                what = f"{none} no {word} image" if held else f"no {word} split is made"
                say(f"note: classes with a single training image keep it for training: {what}")
        for note in listed.notes:
            say(f"note: {note}")
        for kind, count, example in images.unused():
            say(f"not used as images: {kind}: {count:,}, such as {example}")
        shares = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": seed}
        versions = {"alexnet": alexnet.__version__, **{name: version(name) for name in ("pillow", "simplejpeg")}}
        made = {"source": source.resolve().name, "resize": RESIZE, **shares, "versions": versions}
        raw = encoding == "raw" or (encoding == "auto" and sum(images.counts().values()) * size**2 * 3 <= RAW_BYTES)
        listing = hashlib.sha256()  # also of the order, in which unfinished work is taken up
        for split, place, name, file in images.located():
            listing.update(f"{split}/{place}/{file.size}/{name}\n".encode(errors="surrogateescape"))
        writer = PackWriter(
            pack,
            image_size=size,
            class_names=listed.class_names,
            labels={split: images.labels(split) for split in images.counts()},
            jpeg=None if raw else jpeg or JpegQuality(),
            job={**made, "names": listing.hexdigest()},
        )
        try:
            pack.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the pack {pack} cannot be written: {error.strerror or error}") from None
        lock = pack.parent / f".{pack.name}.lock"
        with exclusive(lock, str(pack), wait=lambda by: say(f"{pack} is being prepared by {by}; waiting for it")):
            if is_pack(pack):  # another process has made it, while this one waited
                return _made_meanwhile(pack, writer, made)
            try:
                with writer:
                    _write_images(listed, writer, threads, show_progress)
                    listed.check_unchanged()
                    if lost := _lost(listed, writer):
                        name, reason = min(writer.rejected.items())
                        example = f"{len(writer.rejected)} unreadable in all, such as {name}: {reason}"
                        raise UserError(f"{source}: {lost} can be read; {example}")
                    same = find_duplicates(writer.digests(threads))
                    if drop_duplicates:
                        writer.drop(image for image, _ in same.pairs)
                        if lost := _lost(listed, writer):
                            what = "is left without duplicates; do without --drop-duplicates"
                            raise UserError(f"{source}: {lost} {what}")
                    overview = Overview(listed, writer, same, dropped=drop_duplicates)
                    overview.write()
                    with progress("statistics", images.counts()["train"], show=show_progress) as advance:
                        done = writer.finish(made, threads=threads, advance=advance)
            except KeyboardInterrupt:
                say(f"interrupted: {plural(writer.done, 'image is', 'images are')} done; repeat the command to resume")
                raise
            _report(done, writer, overview, time.perf_counter() - start, say)
    return done


def _made_meanwhile(path: Path, writer: PackWriter, made: Mapping[str, Any]) -> Pack:
    """Open the pack that another process has made of the same source with the same options."""
    pack, header = open_pack(path), json.loads((path / "pack.json").read_bytes())
    form = asdict(writer.jpeg) if writer.jpeg else None
    wanted = (writer.encoding, form, writer.image_size, writer.class_names)
    is_wanted = wanted == (pack.encoding, header.get("jpeg"), pack.image_size, pack.class_names)
    if not (is_wanted and made.items() <= header["made"].items()):
        raise UserError(f"{path} has been made meanwhile, with other options; delete it or give another target")
    return pack


def _check_arguments(
    source: Path, pack: Path, size: int, val_fraction: float, test_fraction: float, encoding: str, workers: int | None
) -> None:
    """Refuse at once what would fail or surprise after hours."""
    made = f"is a pack already (alexnet verify {shlex.quote(str(pack))} says whether it is sound)"
    in_use = pack.is_dir() and any(pack.iterdir())
    problems = {
        f"size={size}: the side of the images must be 1 to {LARGEST_IMAGE:,} pixels": not 1 <= size <= LARGEST_IMAGE,
        f"val_fraction={val_fraction} must lie in [0, 1)": not 0 <= val_fraction < 1,
        f"test_fraction={test_fraction} must lie in [0, 1)": not 0 <= test_fraction < 1,
        f"workers={workers}: at least 1 is needed": workers is not None and workers < 1,
        f"encoding={encoding} is not one of: {', '.join(ENCODINGS)}": encoding not in ENCODINGS,
        f"{source} is a pack already; give the folder or archive of images that it was made from": is_pack(source),
        f"{pack} {made}; delete it or give another target": is_pack(pack),
        f"{pack} is a file; give a new directory as the target": pack.exists() and not pack.is_dir(),
        f"{pack} is a directory that holds something else; give a new directory as the target": in_use,
    }
    for problem, found in problems.items():
        if found:
            raise UserError(problem)


def _write_images(source: Source, writer: PackWriter, threads: int, show: bool) -> None:
    """Convert what has not come yet, in the order of the source, several at a time."""
    total = sum(source.catalog.counts().values())
    if writer.discarded:
        print_status(f"{writer.path}: an earlier attempt with other options is discarded", show=show)
    if writer.done:
        print_status(f"{writer.path}: {writer.done:,} of {total:,} images are done already", show=show)

    def convert(image: SourceImage) -> tuple[SourceImage, tuple[bytes, tuple[str, ...]] | str]:
        """Its bytes in the pack and what is unusual about it, or the reason why it cannot be used."""
        found = convert_file(image.encoded, writer.image_size, image.name)
        return image, found if isinstance(found, str) else (writer.encode(found.square), found.notes)

    with (
        progress(f"preparing {writer.path.name}", total, show=show) as advance,
        closing(source.images()) as images,
        suppress_pil_warnings(),
        closing(ParallelMap(convert, islice(images, writer.done, None), threads)) as converted,
    ):
        advance(writer.done)
        for image, found in converted:
            if isinstance(found, str):
                writer.reject(image.name, found)
            else:
                data, notes = found
                writer.put(image.split, image.place, data, name=image.name, unusual=notes)
            advance(1)


def _lost(source: Source, writer: PackWriter) -> str | None:
    """A split that is empty, or a class that cannot be learned."""
    for split in source.catalog.counts():
        kept = writer.kept_per_class(split)
        if not kept.any():
            return f"none of the images for {split}"
        if split == "train" and not kept.all():
            return f"none of the training images of class {source.class_names[int(kept.argmin())]!r}"
    return None


def _report(pack: Pack, writer: PackWriter, overview: Overview, seconds: float, say: Callable[[str], None]) -> None:
    counts = ", ".join(f"{name} {len(split):,}" for name, split in pack.splits.items())
    form = f"{pack.image_size} x {pack.image_size}, {plural(len(pack.class_names), 'class', 'classes')}"
    say(f"{pack.path}: {counts} images of {form}, {pack.encoding}, in {seconds:.1f} s")
    for line in overview.lines():
        say(line)
    if writer.unusual:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in writer.unusual_counts.items())
        count = plural(len(writer.unusual), "image was", "images were")
        say(f"{count} unusual ({kinds}): see {pack.path / 'unusual.txt'}")
    if writer.rejected:
        say(f"{plural(len(writer.rejected), 'image')} could not be read: see {pack.path / 'rejected.txt'}")


_READ = 100
"""Files whose contents tell whether a source has changed."""
_UNCOMPRESSED = (".bmp", ".pgm", ".pnm", ".ppm", ".tga", ".tif", ".tiff")
_REGISTER = "register at https://image-net.org/download.php"
_BY_HAND = {
    "fall2009": "the tars of the 10,184 synsets of the Fall 2009 release, class folders, or a pack of them",
    "fall2011": f"fall11_whole.tar, the tars of its synsets, class folders, or a pack of them; {_REGISTER}",
    "folder": "a folder or archive of train/<class>/*.jpg, or a pack",
    "ilsvrc2010": f"a folder of the published archives of ILSVRC-2010, class folders, or a pack of them; {_REGISTER}",
    "ilsvrc2012": f"a folder of the published archives of ILSVRC-2012, class folders, or a pack of them; {_REGISTER}",
}


def check_root(data: DataConfig) -> None:
    """Raise a UserError if `data.root` is needed and missing, or there is nothing of that name."""
    if data.root is None and data.name != "shapes" and data.name not in DOWNLOADS:
        raise UserError(f"data={data.name} needs data.root=PATH: {_BY_HAND[data.name]}")
    if data.root is not None and not Path(data.root).expanduser().exists():
        raise UserError(f"data.root={data.root}: there is no such pack, folder or archive")


def open_data(data: DataConfig, image_size: int, *, show_progress: bool = True) -> Pack:
    """Open the pack of `data`, its images `image_size` pixels wide and high.

    A pack is made on first use under `data.packs`, and found there afterwards.

    Raises:
        UserError: `data.root` is missing, cannot be used, or is a pack of another size; or a download fails.
    """
    check_root(data)
    changed: list[float] = []
    if data.root is not None:
        root = Path(data.root).expanduser()
        if is_pack(root):
            pack = open_pack(root)
            if pack.image_size != image_size:
                what = f"{root} holds images of {pack.image_size} pixels, but scale.image_size={image_size}"
                remedy = f"make a pack of that size from its source: alexnet prepare SOURCE PACK --size {image_size}"
                raise UserError(f"{what}; {remedy}")
            return pack
        name, identity = root.resolve().name.split(".")[0], _listing(root, changed)
    elif data.name == "shapes":
        name, identity = "shapes", iter([json.dumps([shapes.VERSION, asdict(data.shapes)], sort_keys=True)])
    else:
        url = DOWNLOADS[data.name]
        md5 = PUBLISHED[url.rpartition("/")[2]]
        name, identity = data.name, iter([json.dumps(md5)])
    place = _place(data, name, image_size, identity)
    if is_pack(place):
        if any(time > (place / "pack.json").stat().st_mtime for time in changed):
            what = f"note: files of {root} have been changed since {place} was made of it, and are as long as they were"
            remedy = f"delete the pack if the images are others; touch {place}/pack.json if not"
            print_status(f"{what}; {remedy}", show=show_progress)
        return open_pack(place)
    with tempfile.TemporaryDirectory() as temporary:
        if data.root is not None:
            path = root
        elif data.name == "shapes":
            path = Path(temporary, "shapes")
            shapes.draw(path, data.shapes, show_progress=show_progress)
        else:
            path = fetch(url, md5, Path(data.packs) / "downloads", show_progress=show_progress)
        return prepare(
            path,
            place,
            size=image_size,
            val_fraction=data.val_fraction,
            test_fraction=data.test_fraction,
            encoding=data.encoding,
            jpeg=JpegQuality(quality=data.quality, subsampling=data.chroma_subsampling),
            show_progress=show_progress,
        )


def holds_other_images(data: DataConfig, image_size: int, seen: str) -> bool:
    """Whether `data.root` is known to hold other images now than those of the fingerprint that a run has `seen`."""
    if data.root is None:
        return False
    root = Path(data.root).expanduser()
    try:
        if is_pack(root):
            return fingerprint(root) != seen
        name = root.resolve().name.split(".")[0]
        place = _place(data, name, image_size, _listing(root, []))
        if is_pack(place):
            return fingerprint(place) != seen
        # Nothing is made of what is there now; the pack that the run used may have been deleted or lie elsewhere.
        return any(is_pack(one) and fingerprint(one) == seen for one in place.parent.glob(f"{name}-{image_size}-*"))
    except (UserError, OSError):  # gone, or damaged: a finished run is shown all the same
        return False


def _listing(root: Path, changed: list[float]) -> Iterator[str]:
    """List names and sizes, of an archive its own, as pieces of JSON: they tell whether a source has changed.

    The last time at which it did is appended to `changed`.

    A table in which a label has changed may be as long as it was, and uncompressed images of one form always are: of
    the first of these the contents count too.
    """
    yield "{"
    if root.is_dir():
        with closing(FileTree(root)) as tree:
            telling = filter(_tells, tree.files.files())
            near = nsmallest(_READ, telling, key=lambda file: (file.unused is None, file.name.count("/")))
            sums = [_checksum(entry) for entry in tree.read(near)]
            for place, file in enumerate(tree.files.files()):
                yield f"{', ' if place else ''}{json.dumps(file.name)}: {file.size}"
            yield f", {json.dumps(sums)}" if sums else ""
            changed.append(tree.changed)
    else:
        changed.append(root.stat().st_ctime)
        yield f"{json.dumps(root.name)}: {root.stat().st_size}"
    yield "}"


def _checksum(entry: Entry) -> str:
    try:
        return hashlib.sha256(contents(entry)).hexdigest()
    except UserError:  # preparing says so, if it needs the file
        return "unreadable"


def _tells(file: File) -> bool:
    """Whether a file is an uncompressed image or a text; not a link that leads nowhere, or a pipe, of such a name."""
    suffix = suffix_of(file.name)
    return file.unused in (None, f"{suffix} files") and suffix in (*SUFFIXES, *_UNCOMPRESSED)


def _place(data: DataConfig, name: str, size: int, identity: Iterable[str]) -> Path:
    """Name the place of a pack by its source (`identity`, pieces of JSON), fractions and format."""
    shares = [data.val_fraction, *([data.test_fraction] if data.test_fraction else [])]
    form = {key: getattr(data, key) for key in ("encoding", "quality", "chroma_subsampling")}
    others = {key: value for key, value in form.items() if value != getattr(DataConfig, key)}
    form_of_pack = json.dumps([VERSION, *shares, *([others] if others else [])])
    digest = hashlib.sha256(form_of_pack.removesuffix("]").encode())
    for piece in chain([", "], identity, ["]"]):
        digest.update(piece.encode())
    return Path(data.packs) / f"{name}-{size}-{digest.hexdigest()[:10]}"
