import errno
import gzip
import io
import os
import random
import tarfile
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from alexnet.data.pack.prepare import prepare
from alexnet.data.sources import archives
from alexnet.data.sources.archives import LINKS, SPECIAL, FileRange, members
from alexnet.data.sources.catalog import SUPERSEDED, File
from alexnet.data.sources.file_tree import FileTree, contents
from alexnet.data.sources.layouts import open_source
from alexnet.errors import UserError
from tests.data.replicas import TRAIN_PER_CLASS, WNIDS, class_tars, tar_of, train_images, unpack
from tests.data.samples import images, splits

FORMS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
ODD_NAMES = ("plain", "with space", "nested/folder/file", "./dot//slashes", "é" * 40, f"{'long' * 20}/{'er' * 20}")


def everything(path: Path) -> dict[str, bytes]:
    with closing(FileTree(path)) as tree:
        files = [file for file in tree.files.files() if file.unused not in (LINKS, SPECIAL, SUPERSEDED)]
        read = {file.name: contents(entry) for file, entry in zip(files, tree.read(files), strict=True)}
    assert [len(data) for data in read.values()] == [file.size for file in files]
    return read


@pytest.mark.parametrize("form", FORMS)
def test_files_are_those_that_tarfile_finds(tmp_path: Path, form: str) -> None:
    rng = random.Random(0)
    files = [(name, rng.randbytes(rng.choice([0, 1, 511, 512, 513, 5000]))) for name in ODD_NAMES]
    (tmp_path / "x.tar").write_bytes(tar_of(files, form=FORMS[form]))
    with tarfile.open(tmp_path / "x.tar", "a", format=FORMS[form]) as archive:
        for kind, name in ((tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link"), (tarfile.FIFOTYPE, "pipe")):
            member = tarfile.TarInfo(name)
            member.type = kind
            archive.addfile(member)
    with tarfile.open(tmp_path / "x.tar") as archive:
        expected = [(member.offset_data, member.size) for member in archive if member.isfile()]
    listed = [member for member, _ in members(tmp_path / "x.tar")]
    assert [(file.place, file.size) for file in listed if not file.unused and file.name != "folder/"] == expected
    others = {file.name: file.unused for file in listed[len(expected) :]}
    assert others == {"folder/": None, "link": LINKS, "pipe": SPECIAL}
    names = ["plain", "with space", "nested/folder/file", "dot/slashes", *ODD_NAMES[4:]]
    assert list(everything(tmp_path / "x.tar").items()) == list(zip(names, dict(files).values(), strict=True))


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.tar.xz"])
def test_tars_in_tars_are_folders(tmp_path: Path, kind: str) -> None:
    inner = tar_of([("deep.tar", tar_of([("a.JPEG", b"a")])), ("b.JPEG", b"b")])
    mode = {"tar": "w", "gz": "w:gz", "xz": "w:xz"}[kind.rpartition(".")[2]]
    (tmp_path / kind).write_bytes(tar_of([("in/one.TAR", inner), ("none.tar", tar_of([])), ("c", b"c")], mode))
    assert everything(tmp_path / kind) == {"in/one/deep/a.JPEG": b"a", "in/one/b.JPEG": b"b", "c": b"c"}


def test_a_drive_that_fails_is_asked_again_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_PAUSES", (0.0, 0.0))
    answers = iter(
        [OSError(errno.EIO, "?"), OSError(errno.ESTALE, "?"), b"bytes", *[OSError(errno.EIO, "answered no")] * 9]
    )
    asked = []

    def attempt() -> bytes:
        asked.append(answer := next(answers))
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert archives.patiently(attempt) == b"bytes" and len(asked) == 3
    with pytest.raises(OSError, match="answered no"):
        archives.patiently(attempt)
    assert len(asked) == 6


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "all.tar").write_bytes(tar_of(class_tars()))
    with open_source(tmp_path / "all.tar") as source:
        located = {image.name: image.encoded for image in source.images()}
    name, data = train_images(WNIDS[2])[1]
    place = located[f"{WNIDS[2]}/{name}"]
    assert isinstance(place, FileRange) and place.size == len(data) and place.read_bytes() == data
    archive = (tmp_path / "all.tar").read_bytes()
    assert archive[place.offset :].startswith(data)
    (tmp_path / "all.tar").write_bytes(archive[: place.offset + 10])
    with pytest.raises(UserError, match=r"all\.tar has become shorter"):
        place.read_bytes()
    (tmp_path / "all.tar").unlink()
    with pytest.raises(UserError, match=r"all\.tar: cannot be read"):
        place.read_bytes()


@pytest.mark.parametrize("layout", ["folder of tars", "one tar in a folder", "one tar", "compressed tars"])
def test_class_tars_are_class_folders(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "fall11"
    root.mkdir()
    for name, data in class_tars():
        if layout == "folder of tars":
            (root / name).write_bytes(data)
        elif layout == "compressed tars":
            (root / name).write_bytes(tar_of(train_images(name[:-4]), "w:gz"))  # told by contents, not by name
    if layout.startswith("one"):
        (root / "fall11_whole.tar").write_bytes(tar_of(class_tars()))
    path = root / "fall11_whole.tar" if layout == "one tar" else root
    with open_source(path) as source:
        assert source.class_names == sorted(WNIDS) and list(source.catalog.counts()) == ["train"]
    expected = {f"{wnid}/{name}": data for wnid in WNIDS for name, data in train_images(wnid)}
    assert images(path) == expected


def test_halves_of_class_tars_are_those_of_class_folders(tmp_path: Path) -> None:
    """Fall 2009: half of each class for testing, drawn by the names of the images."""
    (tmp_path / "all.tar").write_bytes(tar_of(class_tars()))
    for wnid in WNIDS:
        unpack(tmp_path / "folders" / wnid, train_images(wnid))
    packs = [
        prepare(tmp_path / name, tmp_path / f"pack-{name}", size=8, test_fraction=0.5, show_progress=False)
        for name in ("all.tar", "folders")
    ]
    assert packs[0].fingerprint == packs[1].fingerprint
    assert len(packs[0].splits["test"]) == round(TRAIN_PER_CLASS / 2) * len(WNIDS)


def test_class_folders_beside_class_tars_are_refused(tmp_path: Path) -> None:
    for name, data in class_tars():
        (tmp_path / name).write_bytes(data)
    (tmp_path / WNIDS[0]).mkdir()
    (tmp_path / WNIDS[0] / "1.JPEG").write_bytes(b"?")
    with pytest.raises(UserError, match="class folders as well as class tars"):
        splits(tmp_path)


def test_other_tars_beside_class_folders_are_left_alone(tmp_path: Path) -> None:
    for wnid in WNIDS:
        (tmp_path / wnid).mkdir()
        (tmp_path / wnid / "1.JPEG").write_bytes(b"?")
    (tmp_path / "features.tar").write_bytes(b"?")
    assert len(splits(tmp_path)["train"]) == len(WNIDS)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("outer", [True, False])
def test_a_cut_class_tar_is_named(tmp_path: Path, share: float, outer: bool) -> None:
    tars = dict(class_tars())
    name = f"{WNIDS[3]}.tar"
    with tarfile.open(fileobj=io.BytesIO(tars[name])) as archive:
        length = archive.getmembers()[-1].offset_data + 512
    tars[name] = tars[name][: int(share * length)]
    if outer:
        (tmp_path / "x.tar").write_bytes(tar_of(tars.items()))
    else:
        for file, data in tars.items():
            (tmp_path / file).write_bytes(data)
    with pytest.raises(UserError, match=rf"{name}.*(unexpected end|cut short)") as caught:
        splits(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_header_is_refused_wherever_it_is(tmp_path: Path) -> None:
    sound = tar_of(class_tars()[:2])
    headers = [file.place - 512 for file in _listed(tmp_path, sound)]
    for header in headers:
        for place in (0, 124, 150, 156):
            damaged = bytearray(sound)
            damaged[header + place] ^= 0x55
            (tmp_path / "x.tar").write_bytes(damaged)
            with pytest.raises(UserError, match=r"x\.tar"):
                everything(tmp_path / "x.tar")


def _listed(folder: Path, data: bytes) -> list[File]:
    (folder / "sound.tar").write_bytes(data)
    return [member for member, _ in members(folder / "sound.tar")]


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz"])
@pytest.mark.parametrize("size", [-512, -1, -2000])
def test_a_header_that_leads_back_is_refused(tmp_path: Path, kind: str, size: int) -> None:
    header = bytearray(tarfile.TarInfo("image.jpg").tobuf())
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * ord(" ") + sum(header[156:]))
    data = bytes(header) + bytes(4096)
    (tmp_path / kind).write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    with pytest.raises(UserError, match=rf"{kind}.* damaged"):
        splits(tmp_path / kind)


def test_an_inner_tar_may_lack_the_zeros_at_its_end(tmp_path: Path) -> None:
    image = tar_of([("1.JPEG", b"x" * 600)])[: 512 + 1024]
    (tmp_path / "x.tar").write_bytes(tar_of([("a.tar", image), ("b.tar", b"")]))
    assert everything(tmp_path / "x.tar") == {"a/1.JPEG": b"x" * 600}
    (tmp_path / "a.tar").write_bytes(image)
    with pytest.raises(UserError, match="unexpected end"):
        everything(tmp_path / "a.tar")


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz"])
def test_an_archive_behind_another_in_one_file_is_refused(tmp_path: Path, kind: str, inner: bool) -> None:
    one, two = tar_of([("a/1.JPEG", b"1")]), tar_of([("b/2.JPEG", b"2")])
    data = tar_of([("in.tar", one + two), ("in2.tar", one)]) if inner else one + two
    (tmp_path / kind).write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    with pytest.raises(UserError, match=rf"{kind}.*another archive follows"):
        everything(tmp_path / kind)
    (tmp_path / kind).write_bytes(one + bytes(2**20) + b"what a tape held before")
    assert list(everything(tmp_path / kind)) == ["a/1.JPEG"]
    (tmp_path / "x.tar").write_bytes(one)
    os.truncate(tmp_path / "x.tar", 2**42)  # a sparse file, whose zeros would take hours
    assert list(everything(tmp_path / "x.tar")) == ["a/1.JPEG"]


def test_the_last_of_a_name_counts_across_kinds(tmp_path: Path) -> None:
    files = [("a", b"old"), ("b", b"b"), ("a", b"newer"), ("c", b"c"), ("b", b"newest")]
    for kind, mode in (("x.tar", "w"), ("x.tar.gz", "w:gz")):
        (tmp_path / kind).write_bytes(tar_of(files, mode))
        assert everything(tmp_path / kind) == {"a": b"newer", "c": b"c", "b": b"newest"}


def test_a_stream_is_listed_without_a_memory_of_headers(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_of([(str(number), b"") for number in range(50)], "w:gz"))
    readers = [reader for _, reader in members(tmp_path / "x.tar.gz")]
    (archive,) = {reader.args[0] for reader in readers}  # type: ignore[attr-defined]
    assert len(readers) == 50 and len(archive.members) <= 1


def test_a_tar_tree_keeps_the_order_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_of(class_tars()))
    with closing(FileTree(tmp_path / "x.tar")) as tree:
        offsets = [entry.offset for entry in tree.read(tree.files.files()) if isinstance(entry, FileRange)]
    assert len(offsets) == len(WNIDS) * TRAIN_PER_CLASS and offsets == sorted(offsets)


def test_listing_takes_less_than_a_hundred_bytes_an_image(tmp_path: Path) -> None:
    """At its peak, names of 30 letters included: 15 million images take 1.5 GB."""
    wnids = [f"n{label:08d}" for label in range(20)]
    tars = ((f"{wnid}.tar", tar_of((f"{wnid}_{number}.JPEG", b"") for number in range(500))) for wnid in wnids)
    (tmp_path / "all.tar").write_bytes(tar_of(tars))
    splits(tmp_path / "all.tar")
    tracemalloc.start()
    with open_source(tmp_path / "all.tar") as source:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert source.catalog.counts() == {"train": 10_000} and peak < 100 * 10_000
