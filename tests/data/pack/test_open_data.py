import hashlib
import json
import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from alexnet.config.values import DataConfig, ShapesConfig
from alexnet.data.pack import prepare as preparing
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.archives import FileRange
from alexnet.data.sources.file_tree import FileTree
from alexnet.errors import UserError
from tests.data.samples import archive, class_folders, contents, noise


def opened(tmp_path: Path, name: str = "folder", size: int = 8, **options: object) -> Pack:
    data = DataConfig(name=name, packs=str(tmp_path / "packs"), **options)
    return preparing.open_data(data, size, show_progress=False)


def test_a_folder_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = class_folders(tmp_path / "images")
    first = opened(tmp_path, root=str(folder))
    assert first.path.parent == tmp_path / "packs" and first.path.name.startswith("images-8-")
    before = contents(tmp_path / "packs")
    monkeypatch.setattr(preparing, "prepare", None)
    assert opened(tmp_path, root=str(folder)).fingerprint == first.fingerprint
    assert contents(tmp_path / "packs") == before


def test_files_of_the_same_names_and_sizes_that_are_newer_than_the_pack_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "images")
    for root in (folder, archive(folder, tmp_path / "images.zip")):
        data = DataConfig(name="folder", packs=str(tmp_path / "packs"), root=str(root))
        pack = preparing.open_data(data, 8)
        preparing.open_data(data, 8)
        assert "note" not in capsys.readouterr().err
        os.utime(pack.path / "pack.json", (0, 0))
        preparing.open_data(data, 8)
        assert f"note: files of {root} have been changed since" in capsys.readouterr().err.replace("\n", " ")


def test_a_folder_that_has_been_renamed_is_newer(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    with closing(FileTree(folder)) as tree:
        before = tree.changed
    time.sleep(0.02)
    for old, new in (("a", "f"), ("b", "a"), ("f", "b")):
        (folder / "train" / old).rename(folder / "train" / new)
    with closing(FileTree(folder)) as tree:
        assert tree.changed > before


def test_another_source_size_or_fraction_is_another_pack(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", [""], count=8)
    packs = [opened(tmp_path, root=str(folder)), opened(tmp_path, root=str(folder), size=9)]
    packs.append(opened(tmp_path, root=str(folder), val_fraction=0.5))
    packs.append(opened(tmp_path, root=str(folder), test_fraction=0.5))
    assert list(packs[-1].splits) == ["train", "val", "test"]
    packs.append(opened(tmp_path, root=str(archive(folder, tmp_path / "images.zip"))))
    noise(1).save(folder / "a" / "new.png")
    packs.append(opened(tmp_path, root=str(folder)))
    assert len({pack.path for pack in packs}) == 6
    assert packs[0].fingerprint == packs[4].fingerprint


def test_it_is_known_which_sources_hold_other_images_than_a_run_saw(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images")
    seen = opened(tmp_path, root=str(folder))

    def holds_others(root: Path | None, packs: str = "packs") -> bool:
        data = DataConfig(name="folder", root=root and str(root), packs=str(tmp_path / packs))
        return preparing.holds_other_images(data, 8, seen.fingerprint)

    assert not any(map(holds_others, (folder, seen.path, tmp_path / "gone", None)))
    noise(1).save(folder / "train" / "a" / "new.png")
    assert holds_others(folder) and not holds_others(folder, "elsewhere")  # as if the run's pack had been deleted
    assert holds_others(folder) and holds_others(opened(tmp_path, root=str(folder)).path)
    (seen.path / "pack.json").write_text("{}")
    assert holds_others(folder) and not holds_others(seen.path)


def test_the_form_of_the_images_makes_another_pack(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images")
    forms: list[dict[str, object]] = [{}, {"encoding": "jpeg"}, {"encoding": "jpeg", "quality": 75}]
    forms.append({"encoding": "jpeg", "chroma_subsampling": "444"})
    packs = [opened(tmp_path, root=str(folder), **form) for form in forms]
    assert [pack.encoding for pack in packs] == ["raw", "jpeg", "jpeg", "jpeg"]
    assert len({pack.path for pack in packs}) == len({pack.fingerprint for pack in packs}) == 4
    assert json.loads((packs[2].path / "pack.json").read_text())["jpeg"] == {"quality": 75, "subsampling": "420"}


def test_a_table_with_another_label_makes_another_pack(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(4):
        noise(number).save(tmp_path / "images" / f"{number}.png")
    table = tmp_path / "images" / "labels.csv"
    for label in "ab":
        table.write_text(f"0.png,a\n1.png,b\n2.png,a\n3.png,{label}\n")
        pack = opened(tmp_path, root=str(table.parent), val_fraction=0.0)
        assert np.bincount(pack.splits["train"].labels).tolist() == ([3, 1] if label == "a" else [2, 2])


def test_other_images_of_the_same_names_and_sizes_make_another_pack(tmp_path: Path) -> None:
    packs = []
    for seed in range(2):
        (tmp_path / f"{seed}" / "set" / "a").mkdir(parents=True)
        noise(seed).save(tmp_path / f"{seed}" / "set" / "a" / "0.bmp")
        packs.append(opened(tmp_path, root=str(tmp_path / f"{seed}" / "set")))
    assert packs[0].fingerprint != packs[1].fingerprint


def test_a_text_that_may_not_be_read_does_not_matter_where_it_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "x")
    (next(root.rglob("*.png")).parent / "notes.txt").write_text("private")

    def refuse(self: FileRange) -> bytes:
        if self.file.suffix == ".txt":
            raise PermissionError(13, "Permission denied")
        return self.file.read_bytes()

    monkeypatch.setattr(FileRange, "_read", refuse)
    assert opened(tmp_path, root=str(root)).splits["train"]


def test_links_and_pipes_that_are_called_as_tables_are_not_read(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x")
    (root / "labels.csv").symlink_to("nowhere")
    os.mkfifo(root / "labels.txt")
    assert opened(tmp_path, root=str(root)).splits


def test_packs_of_earlier_versions_are_found_at_their_places(tmp_path: Path) -> None:
    """The name is that of all names and sizes in JSON, though they are never all in memory."""
    folder = class_folders(tmp_path / "x")
    (folder / 'é "quoted"').write_bytes(b"12345")
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    packed = archive(folder, tmp_path / "x.zip")
    for root, identity in ((folder, sizes), (packed, {"x.zip": packed.stat().st_size})):
        place = preparing._place(DataConfig(name="folder", packs="packs"), "x", 8, preparing._listing(root, []))
        digest = hashlib.sha256(json.dumps([2, 0.1, identity], sort_keys=True).encode()).hexdigest()
        assert place == Path("packs") / f"x-8-{digest[:10]}"


def test_a_pack_is_opened_in_place(tmp_path: Path) -> None:
    pack = prepare(class_folders(tmp_path / "images"), tmp_path / "pack", size=8, show_progress=False)
    assert opened(tmp_path, root=str(pack.path)).fingerprint == pack.fingerprint
    assert not (tmp_path / "packs").exists()
    with pytest.raises(UserError, match=r"8 pixels.*image_size=16.*alexnet prepare .* --size 16"):
        opened(tmp_path, size=16, root=str(pack.path))


def test_shapes_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ShapesConfig(train_per_class=2, val_per_class=1, test_per_class=1)
    first = opened(tmp_path, "shapes", 64, shapes=few)
    assert {name: len(split) for name, split in first.splits.items()} == {"train": 40, "val": 20, "test": 20}
    assert len(first.class_names) == 20 and len(np.unique(first.splits["train"].labels)) == 20
    monkeypatch.setattr(preparing.shapes, "draw", None)
    assert opened(tmp_path, "shapes", 64, shapes=few).path == first.path


def test_a_published_set_is_downloaded_and_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []

    def fetch(url: str, md5: str, folder: Path, *, show_progress: bool) -> Path:
        wanted.append((url, md5, folder, show_progress))
        return archive(class_folders(tmp_path / "images"), tmp_path / "x.zip", top="tiny/")

    monkeypatch.setattr(preparing, "fetch", fetch)
    first = opened(tmp_path, "tiny_imagenet")
    assert opened(tmp_path, "tiny_imagenet").path == first.path
    ((url, md5, folder, show),) = wanted
    assert url == "http://cs231n.stanford.edu/tiny-imagenet-200.zip" and md5 == "90528d7ca1a48142e341f4ef8d21d0de"
    assert folder == tmp_path / "packs" / "downloads" and not show


@pytest.mark.parametrize("name", ["folder", "ilsvrc2010", "ilsvrc2012"])
def test_sets_that_the_user_must_bring(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"data\.root=PATH") as caught:
        opened(tmp_path, name)
    assert ("image-net.org" in str(caught.value)) == (name != "folder")


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere.*no such"):
        opened(tmp_path, root=str(tmp_path / "nowhere"))
    assert not list(tmp_path.iterdir())
