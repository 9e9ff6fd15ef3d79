"""Preparing that is killed, and packs that are damaged, at many random places. Minutes; run with `-m slow`."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.pack.pack import FOR_PEOPLE, open_pack, verify
from alexnet.data.pack.prepare import prepare
from alexnet.data.pack.splits import Split
from alexnet.data.sources.images import JpegQuality
from alexnet.errors import UserError
from tests.data.samples import class_folders, contents

pytestmark = pytest.mark.slow
KILLS, CORRUPTIONS = 20, 1000

JOB = """
import sys
from pathlib import Path
from alexnet.data.pack import writer
from alexnet.data.pack.prepare import prepare

writer.JOURNAL_SECONDS, writer.SHARD_BYTES = 0.05, 2**20
prepare(Path(sys.argv[1]), Path(sys.argv[2]), size=96, encoding=sys.argv[3], workers=2, show_progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path, encoding: str) -> None:
    folder = class_folders(tmp_path / "images", [""], count=400)
    (folder / "c" / "7.png").write_bytes(b"damaged")
    command = [sys.executable, "-c", JOB, folder, tmp_path / "whole", encoding]
    start = time.monotonic()
    subprocess.run(command, check=True)
    usual = time.monotonic() - start
    whole = contents(tmp_path / "whole")
    command[-2] = tmp_path / "pack"
    chance, killed, finished = random.Random(encoding), 0, 0
    while killed < KILLS:
        job = subprocess.Popen(command, start_new_session=True)
        try:
            job.wait(chance.uniform(0, usual))
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            killed += job.wait() == -signal.SIGKILL
        if (tmp_path / "pack").exists():
            finished += 1
            assert contents(tmp_path / "pack") == whole
            shutil.rmtree(tmp_path / "pack")
    subprocess.run(command, check=True)
    assert contents(tmp_path / "pack") == whole
    left = sorted(entry.name for entry in tmp_path.iterdir() if entry.suffix != ".lock")
    assert left == ["images", "pack", "whole"]


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_no_damage_goes_unnoticed(tmp_path: Path, encoding: str) -> None:
    """A bit flipped, an end cut off, a file gone: `verify` finds it, or the pixels are what they were."""
    folder = class_folders(tmp_path / "images", ("train", "val"), count=6)
    pack = prepare(folder, tmp_path / "pack", size=24, encoding=encoding, jpeg=JpegQuality(), show_progress=False)
    sound, before = contents(pack.path), {name: seen(split) for name, split in pack.splits.items()}
    chance, noticed = random.Random(1), 0
    for _ in range(CORRUPTIONS):
        name = chance.choice(sorted(sound))
        damage(pack.path / name, sound[name], chance)
        found = False
        try:
            verify(pack.path, show_progress=False)
        except UserError:
            found = True
        try:
            opened = open_pack(pack.path)
        except UserError:
            noticed += 1
        else:  # what nothing depends on, such as a word in the header about how the pack was made
            noticed += found
            assert found or name == "pack.json" or (name in FOR_PEOPLE and not (pack.path / name).exists())
            after = {split: seen(opened.splits[split]) for split in opened.splits}
            assert after == before
        (pack.path / name).write_bytes(sound[name])
    assert noticed > 0.9 * CORRUPTIONS


def seen(split: Split) -> tuple[bytes, bytes]:
    """All that a network would see of a split."""
    return split.gather(np.arange(len(split))).tobytes(), np.asarray(split.labels).tobytes()


def damage(file: Path, data: bytes, chance: random.Random) -> None:
    kind, place = chance.choice(["bit", "cut", "gone"]), chance.randrange(len(data))
    if kind == "gone":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(data[:place])
    else:
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
