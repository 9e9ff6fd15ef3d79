"""Archives as strangers and bad disks leave them: a pack, or one line, in bounded memory. Minutes; `-m slow`."""

import gzip
import io
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.samples import archive, class_folders, encoded, noise

ARCHIVES, MOST_MEGABYTES = 500, 500
KINDS = (".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst")
ZEROS = 2**29
JOB = """
import re, shutil, sys
from pathlib import Path
from alexnet.data.pack.prepare import prepare
from alexnet.errors import UserError

packs = lines = 0
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        prepare(file, Path(sys.argv[2]), size=16, workers=1, show_progress=False)
        packs += 1
        shutil.rmtree(sys.argv[2])
    except UserError as error:
        assert "\\n" not in str(error) and len(str(error)) < 2**17, str(error)[:200]
        lines += 1
    except BaseException:
        print(file.name, file=sys.stderr)
        raise
# Not ru_maxrss, which a process inherits from the one that starts it.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(packs, lines, int(peak[1]) // 1024)
"""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change up to four places, mostly bytes of a header: near the start, the end, or a name."""
    for _ in range(chance.randint(1, 4)):
        marks = [data.find(mark, chance.randrange(len(data))) for mark in (b"PK", b"ustar", b"png", b"IHDR")]
        place = chance.choice([chance.randrange(len(data)), chance.randrange(min(600, len(data))), *marks])
        place = min(max(0, place + chance.randrange(-150, 60)), len(data) - 1)
        other = bytes(chance.choice([0, 255, 55, data[place] ^ 1 << chance.randrange(8)]) for _ in range(4))
        match chance.choice(["change", "change", "insert", "cut", "twice"]):
            case "change":
                data = data[:place] + other[: chance.randint(1, 4)] + data[place + 4 :]
            case "insert":
                data = data[:place] + other + data[place:]
            case "cut":
                data = data[:place] or data[:1]
            case "twice":
                data = data[:place] + data[chance.randrange(place + 1) :]
    return data


def huge_image() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    data = bytearray(encoded(noise(1), "PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def zeros(folder: Path) -> Path:
    """A member of half a gigabyte in a megabyte."""
    with zipfile.ZipFile(folder / "zeros.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name in ("a/0.png", "b/0.png"):
            with out.open(name, "w") as member:
                for _ in range(ZEROS // 2**24):
                    member.write(bytes(2**24))
    return folder / "zeros.zip"


def tar_of(file: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(file, "w:gz", compresslevel=1) as out:
        for member, data in members:
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return file


def long_name(folder: Path) -> Path:
    return tar_of(folder / "name.tar.gz", [(tarfile.TarInfo("n" * 2**27), b"")])


def deep_folders(folder: Path) -> Path:
    return tar_of(folder / "deep.tar.gz", [(tarfile.TarInfo("d/" * 20_000 + "0.png"), encoded(noise(1), "PNG"))])


def many_members(folder: Path) -> Path:
    return tar_of(folder / "many.tar.gz", [(tarfile.TarInfo(f"c{n % 2}/{n}.png"), b"") for n in range(100_000)])


def nested(folder: Path) -> Path:
    data = encoded(noise(1), "PNG")
    for _ in range(60):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            member = tarfile.TarInfo("in.tar")
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
        data = buffer.getvalue()
    (folder / "nested.tar").write_bytes(data)
    return folder / "nested.tar"


def huge_images(folder: Path) -> Path:
    images = [(tarfile.TarInfo(f"{label}/{n}.png"), huge_image()) for label in "ab" for n in range(3)]
    return tar_of(folder / "images.tar.gz", images)


def gzip_in_gzip(folder: Path) -> Path:
    bomb = gzip.compress(gzip.compress(bytes(ZEROS), 1))
    return tar_of(folder / "gzip.tar.gz", [(tarfile.TarInfo(f"{label}/0.png"), bomb) for label in "ab"])


BOMBS: tuple[Callable[[Path], Path], ...] = (
    *(zeros, long_name, deep_folders, many_members, nested, huge_images, gzip_in_gzip),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
def test_every_archive_is_a_pack_or_one_line_in_bounded_memory(tmp_path: Path) -> None:
    chance, folder = random.Random(500), tmp_path / "archives"
    folder.mkdir()
    images = class_folders(tmp_path / "images", [""], count=2)
    sound = {kind: archive(images, tmp_path / f"sound{kind}").read_bytes() for kind in KINDS}
    for bomb in BOMBS:
        bomb(folder)
    for number in range(ARCHIVES - len(BOMBS)):
        kind = KINDS[number % len(KINDS)]
        (folder / f"{number}{kind}").write_bytes(mutated(sound[kind], chance))
    done = subprocess.run(
        [sys.executable, "-c", JOB, folder, tmp_path / "pack"], capture_output=True, text=True, timeout=6000
    )
    assert done.returncode == 0, done.stderr[-2000:]
    packs, lines, megabytes = map(int, done.stdout.split())
    assert packs + lines == ARCHIVES and min(packs, lines) > ARCHIVES / 50
    assert megabytes < MOST_MEGABYTES
    print(f"{packs} packs, {lines} refused, peak {megabytes} MB")
