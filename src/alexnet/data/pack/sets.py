"""The pack of `data=...`: drawn, downloaded or found, and prepared on first use."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from heapq import nsmallest
from itertools import chain
from pathlib import Path

from alexnet.config.schema import DOWNLOADS
from alexnet.config.values import DataConfig
from alexnet.data.jpeg import JpegQuality
from alexnet.data.pack.pack import VERSION, Pack, is_pack, open_pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources import shapes
from alexnet.data.sources.catalog import File
from alexnet.data.sources.downloads import PUBLISHED, fetch
from alexnet.data.sources.file_tree import Entry, FileTree, contents
from alexnet.data.sources.names import suffix_of
from alexnet.data.sources.tables import SUFFIXES
from alexnet.errors import UserError
from alexnet.terminal import print_status

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


def open_data(data: DataConfig, image_size: int, *, show_progress: bool = True) -> Pack:
    """Open the pack of `data`, its images `image_size` pixels wide and high.

    A pack is made on first use under `data.packs`, and found there afterwards.

    Raises:
        UserError: `data.root` is missing, cannot be used, or is a pack of another size; a download fails; or no source
            is known.
    """
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
        if not root.exists():
            raise UserError(f"data.root={root}: there is no such pack, folder or archive")
        name, identity = root.resolve().name.split(".")[0], _listing(root, changed)
    elif data.name == "shapes":
        name, identity = "shapes", iter([json.dumps([shapes.VERSION, asdict(data.shapes)], sort_keys=True)])
    elif data.name in DOWNLOADS:
        url = DOWNLOADS[data.name]
        md5 = PUBLISHED[url.rpartition("/")[2]]
        name, identity = data.name, iter([json.dumps(md5)])
    else:
        raise UserError(f"data={data.name} needs data.root=PATH: {_BY_HAND[data.name]}")
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
    except OSError:  # preparing says so, if it needs the file
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
