import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.data.pack import prepare as preparing
from alexnet.data.pack.pack import Pack, open_pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources import images
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.errors import UserError
from alexnet.files import exclusive
from tests.data.samples import archive, class_folders, contents, noise


def make(source: Path, pack: Path, size: int = 8, **options: object) -> Pack:
    return prepare(source, pack, size=size, show_progress=False, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", ("train", "val", "test"))


def test_images_land_where_they_belong(folder: Path, tmp_path: Path) -> None:
    pack = make(folder, tmp_path / "pack", size=16)
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 15, "val": 15, "test": 15}
    np.testing.assert_array_equal(pack.splits["test"].labels, np.repeat(np.arange(5), 3))
    found = pack.splits["val"].gather(np.array([7]))[0]
    with Image.open(folder / "val" / "c" / "1.png") as image:
        np.testing.assert_array_equal(found, np.asarray(image)[:, 2:18])
    train = pack.splits["train"].gather(np.arange(15))
    np.testing.assert_array_equal(pack.statistics.mean_image, train.mean(axis=0, dtype=np.float64).astype(np.float32))


def test_any_number_of_workers_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "b" / "1.png").write_bytes(b"")
    (folder / "train" / "d" / "0.png").write_bytes((folder / "train" / "d" / "0.png").read_bytes()[:300])
    make(folder, tmp_path / "one", workers=1)
    make(folder, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert "rejected.txt" in contents(tmp_path / "one")


def test_unreadable_images_are_left_out_and_listed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train" / "b" / "1.png").write_bytes(b"")
    (folder / "val" / "a" / "2.png").write_text("words")
    pack = prepare(folder, tmp_path / "pack", size=16, show_progress=True)
    assert (pack.path / "rejected.txt").read_text() == "train/b/1.png\tempty file\nval/a/2.png\tnot an image\n"
    assert pack.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    with Image.open(folder / "train" / "b" / "2.png") as image:
        np.testing.assert_array_equal(pack.splits["train"].gather(np.array([4]))[0], np.asarray(image)[:, 2:18])
    said = capsys.readouterr().err
    assert "train 14, val 14, test 15 images of 16 x 16, 5 classes" in said
    assert "2 images could not be read" in said and "rejected.txt" in said


def test_a_validation_split_is_held_out(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", [""], count=10)
    packs = [make(folder, tmp_path / f"{seed}", val_fraction=0.2, seed=seed) for seed in (0, 1)]
    for pack in packs:
        assert np.bincount(pack.splits["val"].labels).tolist() == [2] * 5
        assert np.bincount(pack.splits["train"].labels).tolist() == [8] * 5
        assert list(pack.splits) == ["train", "val"]
    assert packs[0].fingerprint != packs[1].fingerprint


def test_half_of_the_images_are_held_out_for_testing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", [""], count=10)
    packs = [make(folder, tmp_path / f"{n}", test_fraction=0.5, val_fraction=0.2, seed=n // 2) for n in range(4)]
    pack = packs[0]
    assert {name: np.bincount(split.labels).tolist() for name, split in pack.splits.items()} == {
        "train": [4] * 5,
        "val": [1] * 5,
        "test": [5] * 5,
    }
    pixels = np.concatenate([split.gather(np.arange(len(split))) for split in pack.splits.values()])
    assert len({image.tobytes() for image in pixels}) == 50  # each in one split
    assert [p.fingerprint == pack.fingerprint for p in packs] == [True, True, False, False]


def test_a_test_split_of_the_source_is_not_divided(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has a test split already"):
        make(folder, tmp_path / "pack", test_fraction=0.5)


def test_a_class_of_one_image_keeps_it_for_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = prepare(class_folders(tmp_path / "images", ["train"], count=1), tmp_path / "single", size=8)
    assert list(single.splits) == ["train"] and len(single.splits["train"]) == 5
    assert "no validation split" in capsys.readouterr().err
    noise(1).save(tmp_path / "images" / "train" / "b" / "another.png")
    mixed = prepare(tmp_path / "images", tmp_path / "mixed", size=8)
    assert mixed.splits["val"].labels.tolist() == [1] and len(mixed.splits["train"]) == 5
    assert "4 classes have no validation image" in capsys.readouterr().err
    prepare(tmp_path / "images", tmp_path / "tested", size=8, test_fraction=0.5)
    said = capsys.readouterr().err
    assert "4 classes have no test image" in said and "no validation split is made" in said


def break_all(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:60])


def left(folder: Path) -> list[str]:
    """What lies in a folder, lock files aside: they stay, so that no two processes can lock two files of one name."""
    return sorted(entry.name for entry in folder.glob("*") if entry.suffix != ".lock")


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "all unreadable": (break_all, "none of the images for train can be read; 45 unreadable"),
    "a class unreadable": (lambda folder: break_all(folder / "train" / "c"), "training images of class 'c'"),
    "a split unreadable": (lambda folder: break_all(folder / "val"), "none of the images for val"),
    "words only": (lambda folder: [file.rename(f"{file}.txt") for file in folder.rglob("*.png")], "no images"),
    "missing": (lambda folder: folder.rename(folder.with_name("elsewhere")), "no such folder or archive"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_source_leaves_nothing(folder: Path, tmp_path: Path, case: str) -> None:
    damage, said = REFUSALS[case]
    damage(folder)
    with pytest.raises(UserError, match=said):
        make(folder, tmp_path / "packs" / "pack")
    assert left(tmp_path) in (["images", "packs"], ["elsewhere", "packs"], ["images"], ["elsewhere"])
    assert left(tmp_path / "packs") == []


def test_a_target_that_holds_something_is_left_alone(folder: Path, tmp_path: Path) -> None:
    made = make(folder, tmp_path / "pack")
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    refused = {"pack": r"is a pack already \(alexnet verify", "file": "is a file", "images": "holds something else"}
    for target, said in refused.items():
        with pytest.raises(UserError, match=said):
            make(folder, tmp_path / target)
    with pytest.raises(UserError, match="is a pack already; give the folder"):
        make(made.path, tmp_path / "another")
    assert contents(tmp_path) == before
    (tmp_path / "void").mkdir()
    assert make(folder, tmp_path / "void").fingerprint == made.fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": 16385},
        {"val_fraction": -0.1},
        {"val_fraction": 1.0},
        {"val_fraction": float("nan")},
        {"test_fraction": 1.0},
        {"workers": 0},
    ],
)
def test_numbers_without_meaning_are_refused(folder: Path, tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(options))}={next(iter(options.values()))}"):
        make(folder, tmp_path / "pack", **options)
    assert not (tmp_path / "pack").exists()


def test_several_at_once_give_one_sound_pack(folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(make, folder, tmp_path / "pack") for _ in range(4)]
        results = [job.exception() or job.result() for job in jobs]
    # One that starts when another has finished is told so; the others wait for the first one's pack.
    assert all("already" in str(result) for result in results if not isinstance(result, Pack))
    assert {result.fingerprint for result in results if isinstance(result, Pack)} == {
        open_pack(tmp_path / "pack").fingerprint
    }
    assert left(tmp_path) == ["images", "pack"]


INTERRUPTED = """
import signal, sys
from pathlib import Path
from alexnet.data.pack import writer
from alexnet.data.pack.prepare import prepare

signal.signal(signal.SIGINT, signal.default_int_handler)  # which nohup ignores
writer.JOURNAL_SECONDS = 0.05
prepare(Path(sys.argv[1]), Path(sys.argv[2]), size=300, encoding=sys.argv[3], workers=2, show_progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("encoding", "stop"), [("raw", signal.SIGINT), ("jpeg", signal.SIGKILL)])
def test_prepare_interrupted_resumes_and_ends_with_the_same_bytes(
    tmp_path: Path, encoding: str, stop: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "images", [""], count=100)
    (folder / "a" / "0.png").write_bytes(b"")
    make(folder, tmp_path / "whole", size=300, encoding=encoding)
    command = [sys.executable, "-c", INTERRUPTED, folder, tmp_path / "pack", encoding]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    journal = tmp_path / ".pack.partial" / "journal.jsonl"
    while not (journal.exists() and b"\n" in journal.read_bytes()):
        assert job.poll() is None
        time.sleep(0.005)
    os.killpg(job.pid, stop)  # as a terminal does: to every process of the job
    _, said = job.communicate(timeout=20)
    assert job.returncode == -stop and (stop == signal.SIGKILL or said.strip().endswith(b"KeyboardInterrupt"))
    assert not (tmp_path / "pack").exists()
    prepare(folder, tmp_path / "pack", size=300, encoding=encoding)
    assert "of 500 images are done already" in capsys.readouterr().err
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")
    assert left(tmp_path) == ["images", "pack", "whole"]


def test_prepare_discards_the_unfinished_work_of_another_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, calls = class_folders(tmp_path / "images", [""], count=10), iter(range(100))

    def interrupted(*arguments: object) -> object:
        if next(calls) == 40:
            raise KeyboardInterrupt
        return images.convert_file(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("alexnet.data.pack.prepare.convert_file", interrupted)
        prepare(folder, tmp_path / "pack", size=8, workers=1)
    assert "interrupted: 40 images are done; repeat the command to resume" in capsys.readouterr().err
    noise(7).save(folder / "b" / "another.png")
    pack = prepare(folder, tmp_path / "pack", size=8)
    assert "an earlier attempt with other options is discarded" in capsys.readouterr().err
    assert sum(len(split) for split in pack.splits.values()) == 51
    assert contents(tmp_path / "pack") == contents(make(folder, tmp_path / "anew", size=8).path)


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_second_process_waits_for_the_first(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool, exclusive(tmp_path / ".pack.lock", "pack"):
        waiting = pool.submit(prepare, folder, tmp_path / "pack", size=8)
        while "waiting for it" not in capsys.readouterr().err:
            assert not waiting.done()
            time.sleep(0.02)
        make(folder, tmp_path / "made")
        (tmp_path / "made").rename(tmp_path / "pack")
    assert waiting.result().path == tmp_path / "pack"
    assert left(tmp_path) == ["images", "pack"]


@pytest.mark.parametrize("options", [{"size": 9}, {"encoding": "jpeg"}, {"val_fraction": 0.2}])
def test_a_pack_that_was_made_meanwhile_with_other_options_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    make(folder, tmp_path / "pack")
    monkeypatch.setattr(preparing, "_check_arguments", lambda *_: None)  # which looked before the pack was there
    assert make(folder, tmp_path / "pack").path == tmp_path / "pack"
    with pytest.raises(UserError, match="made meanwhile, with other options"):
        make(folder, tmp_path / "pack", **options)


def test_unfinished_work_of_an_archive_in_another_order_is_discarded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names, calls = sorted(file for file in folder.rglob("*") if file.is_file()), iter(range(1000))

    def packed(files: list[Path]) -> Path:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for file in files:
                tar.add(file, file.relative_to(folder))
        return tmp_path / "x.tar"

    def interrupted(*arguments: object) -> object:
        if next(calls) == len(names) - 1:
            raise KeyboardInterrupt
        return images.convert_file(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preparing, "convert_file", interrupted)
        make(packed(names), tmp_path / "pack", workers=1)
    prepare(packed(names[::-1]), tmp_path / "pack", size=8)
    assert "an earlier attempt with other options is discarded" in capsys.readouterr().err
    assert contents(tmp_path / "pack") == contents(make(tmp_path / "x.tar", tmp_path / "whole").path)


def test_jpeg_packs_hold_the_pixels_that_the_decoder_gives(folder: Path, tmp_path: Path) -> None:
    raw = make(folder, tmp_path / "raw", size=16)
    pack = make(folder, tmp_path / "jpeg", size=16, encoding="jpeg", jpeg=JpegQuality(quality=80, subsampling="444"))
    assert pack.encoding == "jpeg" and pack.fingerprint != raw.fingerprint
    for name, split in pack.splits.items():
        np.testing.assert_array_equal(split.labels, raw.splits[name].labels)
        files = (pack.path / f"{name}-00000.jpeg").read_bytes()
        spans = np.load(pack.path / f"{name}-spans.npy").tolist()
        before = raw.splits[name].gather(np.arange(15))
        for found, original, (start, length) in zip(split.gather(np.arange(15)), before, spans, strict=True):
            with Image.open(io.BytesIO(files[start : start + length])) as stored:
                np.testing.assert_array_equal(found, np.asarray(stored))
                assert stored.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # colours as fine as brightness
            assert np.abs(found.astype(int) - original).mean() < 16  # noise is the worst that there is
    train = pack.splits["train"].gather(np.arange(15))
    np.testing.assert_array_equal(pack.statistics.mean_image, train.mean(axis=0, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_an_archive_in_another_order_is_the_same_data(folder: Path, tmp_path: Path, encoding: str) -> None:
    first = make(folder, tmp_path / "one", encoding=encoding)
    second = make(archive(folder, tmp_path / "x.tar"), tmp_path / "two", encoding=encoding)
    assert contents(first.path)["train-00000." + encoding] != contents(second.path)["train-00000." + encoding]
    assert first.fingerprint == second.fingerprint
    for name, split in first.splits.items():
        np.testing.assert_array_equal(split.gather(np.arange(15)), second.splits[name].gather(np.arange(15)))


def test_oddities_are_counted_and_listed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(1).convert("L").save(folder / "train" / "a" / "0.png")
    (folder / "train" / "c" / "2.jpg").write_bytes((folder / "train" / "c" / "2.png").read_bytes())
    prepare(folder, tmp_path / "pack", size=8)
    assert (tmp_path / "pack" / "unusual.txt").read_text() == "train/a/0.png\tgreyscale\ntrain/c/2.jpg\tPNG\n"
    assert json.loads((tmp_path / "pack" / "pack.json").read_text())["made"]["unusual"] == {"PNG": 1, "greyscale": 1}
    assert "2 images were unusual (1 PNG, 1 greyscale)" in capsys.readouterr().err


PEAK = """
import re, sys, threading, time
from pathlib import Path
from alexnet.data.pack.prepare import prepare

def own_bytes():
    return 1024 * int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

def watch():
    while True:
        peaks[0] = max(peaks[0], own_bytes())
        time.sleep(0.05)

peaks = [0]
threading.Thread(target=watch, daemon=True).start()
pack = prepare(Path(sys.argv[1]), Path(sys.argv[2]), size=8, encoding="jpeg", workers=2, show_progress=False)
print(sum(map(len, pack.splits.values())), peaks[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("images", [3000, pytest.param(1_000_000, marks=pytest.mark.slow)])  # 5 minutes
def test_prepare_a_million_images_stays_under_150_mb(tmp_path: Path, images: int) -> None:
    """From listing a tar, whose order is not that of the pack, to the finished pack; names have 30 letters."""
    rng = np.random.default_rng(0)
    with (tmp_path / "all.tar").open("wb") as tar:
        for number in range(images):
            jpeg = encode(rng.integers(0, 256, (8, 8, 3), np.uint8), JpegQuality())  # no two have the same pixels
            member = tarfile.TarInfo(f"n{number * 100 // images:08d}/n{number * 37 % images:014d}.JPEG")
            member.size = len(jpeg)
            tar.write(member.tobuf(tarfile.GNU_FORMAT) + jpeg + bytes(-len(jpeg) % tarfile.BLOCKSIZE))
        tar.write(bytes(2 * tarfile.BLOCKSIZE))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "all.tar"), str(tmp_path / "pack")]
    prepared, peak = map(int, subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split())
    assert prepared == images and 0 < peak < 150e6 - 50 * (1_000_000 - images)
