"""Published archives: their MD5 sums, the check of archives at hand, and downloads.

The loop is our own: torchvision's `download_url` imports torch, and waits for a silent server for ever.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from alexnet.errors import UserError
from alexnet.files import exclusive
from alexnet.terminal import print_status, progress
from alexnet.untrusted import damage_named

PUBLISHED = {
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de",
}
"""MD5 by file name. ILSVRC-2012's are those of its download page, which torchvision's `ImageNet` has too."""
_TIMEOUT_SECONDS = 30.0  # without a byte from the server
_PAUSES = (1.0, 4.0, 15.0)  # seconds, between attempts that bring nothing


def check(source: Path, *, show_progress: bool = True) -> None:
    """Compare the published archives in a folder and its subfolders, or the one that `source` is, with their MD5.

    Takes a minute or more for every 50 GB.

    Raises:
        UserError: an archive differs or cannot be read, or there is none to compare.
    """
    inside = [file for name in PUBLISHED for file in (source / name, *sorted(source.glob(f"*/{name}")))]
    archives = [file for file in (source, *inside) if file.name in PUBLISHED and file.is_file()]
    if not archives:
        raise UserError(f"{source} holds none of the archives whose MD5 is known: {', '.join(PUBLISHED)}")
    for archive in archives:
        wanted = PUBLISHED[archive.name]
        with damage_named(archive):
            md5 = _md5(archive, archive.name, show_progress)
        if md5 != wanted:
            raise UserError(f"{archive} is incomplete or altered: MD5 {md5} instead of {wanted}; download it again")
        print_status(f"{archive.name}: MD5 as published", show=show_progress)


def fetch(url: str, md5: str, folder: Path, *, show_progress: bool) -> Path:
    """Download the file at `url` into `folder`, unless it is there already; it gets its name once its MD5 is `md5`.

    What has come is kept as `.NAME.part`, and the next attempt goes on behind it. Proxies are those of the environment.

    Raises:
        UserError: the download failed; the message names the two ways without it.
    """
    target = folder / url.rsplit("/", 1)[-1]
    part = folder / f".{target.name}.part"
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        say = partial(print_status, show=show_progress)
        with exclusive(folder / f".{target.name}.lock", str(target), wait=lambda by: say(f"{by} downloads {target}")):
            if target.exists():
                return target
            _download(url, part, show_progress)
            found = _md5(part, target.name, show_progress)
            if found != md5:
                part.unlink()
                raise OSError(f"altered: MD5 {found} instead of {md5}")
            part.rename(target)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        ways = f"try again, put the file at {target} by hand, or give images of your own with data.root=..."
        raise UserError(f"{url} could not be downloaded ({error}); {ways}") from None
    return target


def _download(url: str, part: Path, show: bool) -> None:
    """Append what is missing; try again while the server goes on, and a few times when it does not."""
    pauses = list(_PAUSES)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _append(url, part, before, show):
                return
            problem: Exception = OSError(f"incomplete: the server stopped after {part.stat().st_size:,} bytes")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is missing; the checksum tells
            raise
        except (OSError, http.client.HTTPException) as error:
            problem = error
        if part.exists() and part.stat().st_size > before:
            pauses = list(_PAUSES)
        if not pauses:
            raise problem
        time.sleep(pauses.pop(0))


def _append(url: str, part: Path, start: int, show: bool) -> bool:
    """Ask for the bytes from `start` on, and append what comes; whether that is all."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # the server gives files whole
        length = int(response.headers["Content-Length"] or 0)
        total = start + length if length else None
        with (
            part.open("r+b" if part.exists() else "wb") as file,
            progress(f"downloading {part.name[1:-5]}", total, show=show, in_bytes=True) as advance,
        ):
            file.truncate(start)
            file.seek(start)
            advance(start)
            while chunk := response.read(2**20):
                file.write(chunk)
                advance(len(chunk))
    return total is None or part.stat().st_size == total


def _md5(path: Path, name: str, show: bool) -> str:
    digest, size = hashlib.md5(usedforsecurity=False), path.stat().st_size
    with path.open("rb") as file, progress(f"MD5 of {name}", size, show=show, in_bytes=True) as advance:
        while chunk := file.read(2**20):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()
