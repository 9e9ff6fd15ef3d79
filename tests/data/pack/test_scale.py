"""A pack of the size of Fall 2011, 15 million images in 300 GB, is opened and read; its files are nearly all holes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.pack.pack import header_checksum
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.untrusted import file_sha256

IMAGES, CLASSES, SIZE, PER_SHARD = 15_000_000, 21_841, 256, 50_000
LENGTH = 20_000
"""Bytes of every image."""
WRITTEN = {0: 10, 7_654_321: 120, 14_999_999: 230}
"""Images that are there, and how grey they are."""

READER = rf"""
import json, re, sys, time
from pathlib import Path
import numpy as np
from alexnet.data.pack.pack import open_pack

def peak_kilobytes():
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])

before, start = peak_kilobytes(), time.perf_counter()
pack = open_pack(Path(sys.argv[1]))
seconds = time.perf_counter() - start
grown = peak_kilobytes() - before
split = pack.splits["train"]
images = split.gather(np.array({list(WRITTEN)}))
print(json.dumps([seconds, grown * 1024, len(split), images.min((1, 2, 3)).tolist(), images.max((1, 2, 3)).tolist()]))
"""


def write_huge_pack(pack: Path) -> None:
    pack.mkdir()
    shards = [f"train-{number:05d}.jpeg" for number in range(IMAGES // PER_SHARD)]
    for shard in shards:
        with (pack / shard).open("wb") as file:
            file.truncate(PER_SHARD * LENGTH)
    for index, grey in WRITTEN.items():
        with (pack / shards[index // PER_SHARD]).open("r+b") as file:
            file.seek(index % PER_SHARD * LENGTH)
            file.write(encode(np.full((SIZE, SIZE, 3), grey, np.uint8), JpegQuality()))
    spans = np.full((IMAGES, 2), LENGTH, np.int64)
    spans[:, 0] = np.arange(IMAGES) * LENGTH
    np.save(pack / "train-spans.npy", spans)
    np.save(pack / "train-labels.npy", np.arange(IMAGES) * CLASSES // IMAGES)
    np.save(pack / "mean.npy", np.zeros((SIZE, SIZE, 3), np.float32))
    split = {"images": IMAGES, "labels": "train-labels.npy", "spans": "train-spans.npy", "shards": shards}
    arrays = {file.name: file_sha256(file) for file in pack.glob("*.npy")}
    header = {
        "format": "alexnet pack",
        "version": 2,
        "encoding": "jpeg",
        "image_size": SIZE,
        "splits": {"train": split},
        "statistics": {"covariance": [1.0] * 9, "eigenvalues": [1.0] * 3, "eigenvectors": [1.0] * 9},
        "class_names": [f"n{label:08d}" for label in range(CLASSES)],
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": arrays.get(file.name, "0" * 64)}
            for file in sorted(pack.iterdir())
        },
    }
    header["checksum"] = header_checksum(header)
    (pack / "pack.json").write_text(json.dumps(header))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_fifteen_million_images_open_in_a_moment(tmp_path: Path) -> None:
    """About 0.6 s and 0.5 GB, nearly all of it pages of the index; a busy machine may take ten times as long."""
    write_huge_pack(tmp_path / "pack")
    command = [sys.executable, "-c", READER, str(tmp_path / "pack")]
    seconds, grown, images, darkest, brightest = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    )
    print(f"{seconds:.2f} s, {grown / 1e6:.0f} MB")
    assert images == IMAGES
    assert darkest == brightest == list(WRITTEN.values())
    assert seconds < 7 and grown < 2**30
