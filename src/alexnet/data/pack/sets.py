"""From `data=...` to an open pack: drawn, downloaded or found, and prepared on first use."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from alexnet.config.groups import DataConfig
from alexnet.data.jpeg import JpegQuality
from alexnet.data.pack.pack import VERSION, Pack, is_pack, open_pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources import shapes
from alexnet.data.sources.downloads import PUBLISHED, fetch
from alexnet.data.sources.folders import FileTree
from alexnet.errors import UserError

_ADDRESSES = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "tiny_imagenet": "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
}
"""Addresses of the sets that anyone may download."""
_REGISTER = "register at https://image-net.org/download.php"
_BY_HAND = {
    "fall2009": "the tars of the 10,184 synsets of the Fall 2009 release, class folders, or a pack of them",
    "fall2011": f"fall11_whole.tar, the tars of its synsets, class folders, or a pack of them; {_REGISTER}",
    "folder": "a folder or archive of train/<class>/*.jpg, or a pack",
    "ilsvrc2010": f"a folder of the published archives of ILSVRC-2010, class folders, or a pack of them; {_REGISTER}",
    "ilsvrc2012": f"a folder of the published archives of ILSVRC-2012, class folders, or a pack of them; {_REGISTER}",
}


def open_data(data: DataConfig, image_size: int, *, show_progress: bool = True) -> Pack:
    """The pack of `data`, its images `image_size` pixels wide and high.

    A pack is made on first use under `data.packs`, and found there afterwards. Raises `UserError` where `data.root` is
    missing, cannot be used, or is a pack of another size; where a download fails; or where no source is known.
    """
    if data.root is not None:
        return _open_root(data, Path(data.root).expanduser(), image_size, show_progress)
    if data.name == "shapes":
        return _open_shapes(data, image_size, show_progress)
    if data.name not in _ADDRESSES:
        raise UserError(f"data={data.name} needs data.root=PATH: {_BY_HAND[data.name]}")
    url = _ADDRESSES[data.name]
    md5 = PUBLISHED[url.rpartition("/")[2]]

    def download_and_prepare(pack: Path) -> Pack:
        archive = fetch(url, md5, Path(data.packs) / "downloads", show_progress=show_progress)
        return _prepare(archive, pack, data, image_size, show_progress)

    return _reuse(_place(data, data.name, image_size, [json.dumps(md5)]), download_and_prepare)


def _open_root(data: DataConfig, root: Path, size: int, show: bool) -> Pack:
    if is_pack(root):
        pack = open_pack(root)
        if pack.image_size != size:
            raise UserError(
                f"{root} holds images of {pack.image_size} pixels, but scale.image_size={size}; make a pack of that "
                f"size from its source: alexnet prepare SOURCE PACK --size {size}"
            )
        return pack
    if not root.exists():
        raise UserError(f"data.root={root}: there is no such pack, folder or archive")
    place = _place(data, root.resolve().name.split(".")[0], size, _listing(root))
    return _reuse(place, lambda pack: _prepare(root, pack, data, size, show))


def _listing(root: Path) -> Iterator[str]:
    """What tells whether a source has changed: names and sizes, of an archive its own, as pieces of JSON."""
    yield "{"
    if root.is_dir():
        with closing(FileTree(root)) as tree:
            for place, file in enumerate(tree.files.files()):
                yield f"{', ' if place else ''}{json.dumps(file.name)}: {file.size}"
    else:
        yield f"{json.dumps(root.name)}: {root.stat().st_size}"
    yield "}"


def _open_shapes(data: DataConfig, size: int, show: bool) -> Pack:
    def draw_and_prepare(pack: Path) -> Pack:
        with tempfile.TemporaryDirectory() as folder:
            shapes.draw(Path(folder) / "shapes", data.shapes, show_progress=show)
            return _prepare(Path(folder) / "shapes", pack, data, size, show)

    identity = json.dumps([shapes.VERSION, asdict(data.shapes)], sort_keys=True)
    return _reuse(_place(data, "shapes", size, [identity]), draw_and_prepare)


def _place(data: DataConfig, name: str, size: int, identity: Iterable[str]) -> Path:
    """Where the pack is kept; another source (`identity`, pieces of JSON), fraction or format gets another place."""
    shares = [data.val_fraction, *([data.test_fraction] if data.test_fraction else [])]
    form = {key: getattr(data, key) for key in ("encoding", "quality", "subsampling")}
    others = {key: value for key, value in form.items() if value != getattr(DataConfig, key)}
    form_of_pack = json.dumps([VERSION, *shares, *([others] if others else [])])
    digest = hashlib.sha256(form_of_pack.removesuffix("]").encode())
    for piece in chain([", "], identity, ["]"]):
        digest.update(piece.encode())
    return Path(data.packs) / f"{name}-{size}-{digest.hexdigest()[:10]}"


def _reuse(place: Path, make: Callable[[Path], Pack]) -> Pack:
    return open_pack(place) if is_pack(place) else make(place)


def _prepare(source: Path, pack: Path, data: DataConfig, size: int, show: bool) -> Pack:
    return prepare(
        source,
        pack,
        size=size,
        val_fraction=data.val_fraction,
        test_fraction=data.test_fraction,
        encoding=data.encoding,
        jpeg=JpegQuality(quality=data.quality, subsampling=data.chroma_subsampling),
        show_progress=show,
    )
