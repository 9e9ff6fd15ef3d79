"""MD5 sums that archives are published with, and whether the archives of a source have them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from alexnet.data.progress import print_status, progress
from alexnet.errors import UserError

PUBLISHED = {
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de",
}
"""By file name. ILSVRC-2012's are those of its download page, as torchvision's `ImageNet` has them too."""
_CHUNK = 2**22


def check(source: Path, *, show_progress: bool = True) -> None:
    """Compare the published archives in a folder, or the one that `source` is, with their MD5.

    A minute or more for every 50 GB. Raises `UserError` for an archive that differs, or if there is none to compare.
    """
    archives = _archives(source)
    if not archives:
        raise UserError(f"{source} holds none of the archives whose MD5 is known: {', '.join(PUBLISHED)}")
    for archive in archives:
        with progress(f"MD5 of {archive.name}", archive.stat().st_size, show=show_progress, in_bytes=True) as advance:
            found = _md5(archive, advance)
        if found != PUBLISHED[archive.name]:
            raise UserError(
                f"{archive} is incomplete or altered: MD5 {found} instead of {PUBLISHED[archive.name]}; "
                "download it again"
            )
        print_status(f"{archive.name}: MD5 as published", show=show_progress)


def _archives(source: Path) -> list[Path]:
    """In a folder and the folders in it, but no deeper: among class folders there are none."""
    if not source.is_dir():
        return [source] if source.name in PUBLISHED and source.is_file() else []
    return [file for name in PUBLISHED for file in (source / name, *sorted(source.glob(f"*/{name}"))) if file.is_file()]


def _md5(archive: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with archive.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                advance(len(chunk))
    except OSError as error:
        raise UserError(f"{archive}: cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()
