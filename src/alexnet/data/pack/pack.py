"""A pack, that is a packed dataset: square images of one size in one directory, read through memory maps.

    pack.json          what it is, for people and programs: format version, encoding, image size, class names, images
                       per split, how it was made, statistics, and the bytes and SHA-256 of every other file
    mean.npy           float32 [S, S, 3], the mean training image
    train-labels.npy   int64 [N], and one such file for every split (`train`; `val` and `test` where there are any)
    train-00000.raw    encoding "raw": uint8 [n, S, S, 3] without a header, image after image, at most 1 GiB a file
    train-order.npy    int64 [N], the place of each image in those files; only where it is not that of the labels
    train-00000.jpeg   encoding "jpeg": JPEG files one after another, at most 1 GiB a file
    train-spans.npy    int64 [N, 2], the first byte and the length of each image, counted through all of those files
    val-names.npy      bytes [N], the paths of the images in their source; only of held-out splits
    rejected.txt       images of the source that could not be read: path, tab, reason; only where there are any
    unusual.txt        images that were converted: path, tab, what was out of the ordinary; only where there are any
    unused.txt         what else the source holds: kind, tab, number of files, tab, an example; only where there is any
    duplicates.txt     images with the same pixels as another: path, tab, path of that, tab, "same bytes" or not
    summary.md         all of this and the sizes of the classes on a page
    contact.png        some training images of each class, as the pack holds them

Nothing in a pack is ever unpickled. `alexnet.data.pack.writer` makes packs.
"""

import hashlib
import json
import os
import shlex
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.pack.splits import JpegSplit, RawSplit, Split
from alexnet.data.pack.statistics import PixelStats
from alexnet.data.sources.catalog import SPLITS
from alexnet.data.threads import ParallelMap, available_cpus
from alexnet.errors import MEND, RefusedError, UserError, plural
from alexnet.terminal import progress
from alexnet.untrusted import LARGEST_FILE, MIB, Forms, damage_named, map_array, open_regular, parse_json, read_regular

FORMAT = "alexnet pack"
VERSION = 2
READABLE = (1, VERSION)  # version 1 knew raw images in the order of the labels, which version 2 writes alike
ENCODINGS = ("raw", "jpeg")
FOR_PEOPLE = ("rejected.txt", "unusual.txt", "unused.txt", "duplicates.txt", "summary.md", "contact.png")
"""Nothing depends on these files, and they may be deleted; `pack.json` lists them apart."""
LARGEST_HEADER = 64 * MIB
LARGEST_IMAGE = 2**14
"""Pixels a side."""
FULL_CHECK_BYTES = 2**30
"""Packs up to this size (a second of SHA-256) are compared with their checksums when opened, larger ones by size."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """An open pack."""

    path: Path
    encoding: str
    """`raw` or `jpeg`."""
    image_size: int
    """Side of the images, S, in pixels."""
    class_names: list[str]
    splits: dict[str, Split]
    """By name: "train", and "val" and "test" where the pack has them."""
    statistics: PixelStats
    fingerprint: str
    """Hexadecimal; equal for equal images, labels and class names in the same order and splits."""
    files: dict[str, dict[str, Any]]
    """By name of each file: `bytes` and `sha256`, as they were written."""


def is_pack(path: Path) -> bool:
    """Whether `path` is a directory that claims to be a pack; only `open_pack` finds out whether it is sound."""
    return (path / "pack.json").is_file()


def open_pack(path: str | Path) -> Pack:
    """Open a pack. Small ones are compared with their checksums, of large ones only the sizes and the index.

    Raises:
        UserError: a file is missing, short, half-written or altered, or the pack is of an unknown version.
    """
    header = _read_header(path := Path(path))
    try:
        in_full = _total_bytes(header["files"]) <= FULL_CHECK_BYTES
        for name, entry in header["files"].items():
            damage = _file_damage(path, name, entry, contents=in_full or name.endswith(".npy"))
            if damage:
                raise _damaged(path / name, damage)
        size, class_names = header["image_size"], header["class_names"]
        splits = {}
        for name, entry in header["splits"].items():
            splits[name] = split = _open_split(path, entry, header["encoding"], header["image_size"])
            if len(split) != entry["images"]:
                raise ValueError(f"{name} has {entry['images']} images and {len(split)} labels")
            if split.labels.min() < 0 or split.labels.max() >= len(class_names):
                raise ValueError(f"{name} has labels that name no class")
        mean_image = np.array(map_array(path / "mean.npy", f"float32 [{size}, {size}, 3]", Forms()))
        if not ((mean_image >= 0) & (mean_image <= 255)).all():  # also NaN
            raise ValueError("mean.npy is no mean of images")
        shapes = {"covariance": (3, 3), "eigenvalues": (3,), "eigenvectors": (3, 3)}
        colors = {key: np.array(header["statistics"][key], np.float64).reshape(shape) for key, shape in shapes.items()}
        if not all(np.isfinite(numbers).all() for numbers in colors.values()):
            raise ValueError("its statistics are not finite")
        return Pack(
            path=path,
            encoding=header["encoding"],
            image_size=size,
            class_names=class_names,
            splits=splits,
            statistics=PixelStats(mean_image=mean_image, **colors),
            fingerprint=_fingerprint(header),
            files=header["files"],
        )
    except UserError:
        raise
    except (OSError, MemoryError) as error:
        what = getattr(error, "strerror", None) or "not enough memory"
        raise UserError(f"{path}: cannot be read: {what}; {MEND}") from None
    except Exception as error:  # whatever numpy says of files that nobody wrote with it
        raise _damaged(path / "pack.json", f"it has an unusable entry ({type(error).__name__}: {error})") from None


def _open_split(path: Path, entry: dict[str, Any], encoding: str, image_size: int) -> Split:
    """Open a split from the files that its entry of `pack.json` names; ValueError if they do not fit each other."""
    forms, shards = Forms(), [path / shard for shard in entry["shards"]]
    labels = map_array(path / entry["labels"], "int64 [N]", forms)
    if encoding == "jpeg":
        return JpegSplit(shards, image_size, labels, map_array(path / entry["spans"], "int64 [N, 2]", forms))
    order = map_array(path / entry["order"], "int64 [N]", forms) if "order" in entry else None
    return RawSplit(shards, image_size, labels, order)


def verify(path: Path, *, show_progress: bool = True) -> tuple[int, int]:
    """Compare every file of a pack with its checksum, on all CPUs; return the number of files and of their bytes.

    Raises:
        UserError: there is no pack, its `pack.json` cannot be read, or its parts do not fit each other; or names the
            damaged files, and what is wrong with each.
    """
    header = _read_header(path)
    for_people = header.get("for_people", {})
    files = header["files"] | {name: entry for name, entry in for_people.items() if os.path.lexists(path / name)}
    total, damage = _total_bytes(files), {}

    def check(name: str) -> str | None:
        return _file_damage(path, name, files[name], contents=True)

    with (
        progress(f"verifying {path.name}", total, show=show_progress, in_bytes=True) as advance,
        closing(ParallelMap(check, files, available_cpus())) as checked,
    ):
        for name, what in zip(files, checked, strict=True):
            advance(files[name]["bytes"])
            if what:
                damage[name] = what
    if damage:
        named = "; ".join(f"{name}: {what}" for name, what in damage.items())
        raise UserError(f"{path}: {len(damage):,} of {plural(len(files), 'file')} damaged ({named})")
    open_pack(path)
    return len(files), total


class BackgroundVerifier:
    """Checks the files of a large pack on a thread while it is used; small packs are checked when opened.

    It reads every shard once from front to back, which also brings them into the page cache, where random reads of a
    cold disk would take hours. The thread ends with the process.
    """

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._damage: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun or everything was checked when the pack was opened."""
        if self._thread is None and _total_bytes(self._pack.files) > FULL_CHECK_BYTES:
            self._thread = threading.Thread(target=self._run, name="pack check", daemon=True)
            self._thread.start()

    def raise_if_damaged(self, *, wait: bool = False) -> None:
        """Raise if damage has been found; with `wait`, not before every file has been checked.

        Raises:
            UserError: a file differs from what was written.
        """
        if wait and self._thread is not None:
            self._thread.join()
        if self._damage:
            raise UserError(f"{self._damage}; stop using {self._pack.path}, and prepare or copy it again")

    def _run(self) -> None:
        path, files = self._pack.path, self._pack.files
        found = ((name, _file_damage(path, name, entry, contents=True)) for name, entry in files.items())
        self._damage = next((f"{path / name}: {damage}" for name, damage in found if damage), None)


def fingerprint(path: Path) -> str:
    """Return the fingerprint of a pack by its `pack.json` alone; UserError if that cannot be used."""
    return _fingerprint(_read_header(path))


def _fingerprint(header: dict[str, Any]) -> str:
    """Hash what a network can see: images in the order of their labels, labels, class names; not how it was made.

    An archive and a folder of the same images make packs that differ in the order of the bytes alone. `in_order` has
    the checksums that the shards would have in the order of the labels.
    """
    files = header["files"]
    splits = {
        name: [files[entry["labels"]]["sha256"]]
        + (entry.get("in_order") or [files[shard]["sha256"] for shard in entry["shards"]])
        for name, entry in header["splits"].items()
    }
    seen = [header["encoding"], header["image_size"], header["class_names"], splits]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    """Read `pack.json`; a `UserError` if it is missing, unreadable or of another program or version."""
    if not path.exists():
        raise UserError(f"{path}: there is no such pack")
    if path.name == "pack.json" and path.is_file():
        raise UserError(f"{path} is a file of a pack; give its folder, {path.parent}")
    if not is_pack(path):
        what = f"{path} is not a pack, or a half-copied one: it has no pack.json"
        raise UserError(f"{what}; to make one of images: alexnet prepare {shlex.quote(str(path))} PACK")
    file = path / "pack.json"
    try:
        with damage_named(file):
            header = parse_json(read_regular(file, most=LARGEST_HEADER))
    except RefusedError as error:  # it says nothing of the pack, which may have taken hours
        raise UserError(f"{error}; {MEND}") from None
    except UserError as error:
        raise _damaged(file, f"it cannot be read ({str(error).removeprefix(f'{file}: ')})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path}: its pack.json is not that of an {FORMAT}; give the path of another pack")
    if header.get("version") not in READABLE or header.get("encoding") not in ENCODINGS:
        form = f"version {header.get('version')}, encoding {header.get('encoding')!r}"
        readable = f"versions {READABLE[0]} to {READABLE[-1]}, {' or '.join(ENCODINGS)}"
        raise UserError(f"{path} is a pack of {form}; supported: {readable}; run `alexnet prepare` again")
    has_checksum = header["version"] > 1 or "checksum" in header
    if has_checksum and header.get("checksum") != header_checksum(header):
        raise _damaged(file, "its contents have changed since it was written (checksum differs)")
    try:
        _check_header(header)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, f"it has an unusable entry ({type(error).__name__}: {error})") from None
    return header


def _check_header(header: dict[str, Any]) -> None:
    """Check what the reading of the other files relies on: types, and that every file is in the pack and listed.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: an entry is missing or cannot be used.
    """
    size, names, files, splits = (header[key] for key in ("image_size", "class_names", "files", "splits"))
    if type(size) is not int or not 1 <= size <= LARGEST_IMAGE:
        raise ValueError(f"image_size {size!r}")
    if type(names) is not list or not names or any(type(name) is not str for name in names):
        raise ValueError("class_names are not a list of names")
    if len(set(names)) < len(names):
        raise ValueError("class_names have a name twice")
    for name, entry in [*files.items(), *header.get("for_people", {}).items()]:
        if name in ("", ".", "..", "pack.json") or set(name) & set("/\\:\0") or not name.isprintable():
            raise ValueError(f"{name!r} is no file inside of the pack")
        if type(entry["bytes"]) is not int or entry["bytes"] < 0 or type(entry["sha256"]) is not str:
            raise ValueError(f"the size or checksum of {name!r}")
    if "train" not in splits or not splits.keys() <= set(SPLITS):
        raise ValueError(f"splits {', '.join(map(repr, splits))}; known: {', '.join(SPLITS)}, the first is needed")
    used = ["mean.npy"]
    for entry in splits.values():
        if type(entry["images"]) is not int or type(entry["shards"]) is not list or not entry["shards"]:
            raise ValueError("images and shards of a split")
        arrays = ("labels", "spans") if header["encoding"] == "jpeg" else ("labels",)
        used += [*entry["shards"], *(entry[name] for name in arrays), *([entry["order"]] if "order" in entry else [])]
    if unlisted := [name for name in used if name not in files]:
        raise ValueError(f"{unlisted[0]!r} is used and not among its files: missing, or outside of the pack")


def _total_bytes(files: dict[str, dict[str, Any]]) -> int:
    return sum(entry["bytes"] for entry in files.values())


def _file_damage(path: Path, name: str, entry: dict[str, Any], *, contents: bool) -> str | None:
    """How a file of a pack differs from its entry in `pack.json`; None if it does not."""
    file = path / name
    try:
        with damage_named(file), open_regular(file, most=LARGEST_FILE) as stream:
            held = os.fstat(stream.fileno()).st_size
            if held != entry["bytes"]:
                return f"it has {held:,} bytes instead of {entry['bytes']:,}"
            if contents and hashlib.file_digest(stream, "sha256").hexdigest() != entry["sha256"]:
                return "its contents have changed since it was written (SHA-256 differs)"
    except UserError as error:
        what = str(error).removeprefix(f"{file}: ")
        return "the file is missing" if what == "missing" else what
    return None


def header_checksum(header: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 of all that `pack.json` says but its own checksum."""
    rest = {key: value for key, value in header.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _damaged(file: Path, what: str) -> UserError:
    return UserError(f"{file}: {what}; the pack is damaged or half-copied: delete {file.parent} and prepare it again")
