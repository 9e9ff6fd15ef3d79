"""`alexnet prepare`: images in class folders or archives -> a pack; `alexnet verify`: a pack against its checksums."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet.data.pack import pack as packs
from alexnet.data.pack import prepare as preparing
from alexnet.data.sources.catalog import LEFT_OUT, SPLITS
from alexnet.data.sources.downloads import check
from alexnet.data.sources.images import JpegQuality
from alexnet.errors import UserError, print_line


def prepare(
    source: Path, pack: Path, *, quality: int, chroma_subsampling: str, md5: bool, split: list[str], **options: Any
) -> None:
    """Make a pack; the other options are those of `prepare`."""
    splits = _splits(split)
    jpeg = JpegQuality(quality=quality, subsampling=chroma_subsampling)
    if md5:
        check(source)
    preparing.prepare(source, pack, jpeg=jpeg, splits=splits, **options)


def _splits(choices: Iterable[str]) -> dict[str, str]:
    """Return splits by folder, of choices such as `val=dev`."""
    splits: dict[str, str] = {}
    for choice in choices:
        split, _, folder = choice.partition("=")
        if split not in (*SPLITS, LEFT_OUT) or not folder:
            known = f"{', '.join(SPLITS)} or {LEFT_OUT}"
            raise UserError(f"--split {choice}: give {known}, then = and a folder, as in val=dev")
        if folder in splits:
            raise UserError(f"--split {choice}: {folder} is {splits[folder]} already; name each folder once")
        if split != LEFT_OUT and split in splits.values():
            raise UserError(f"--split {choice}: {split} has a folder already; name one for each split")
        splits[folder] = split
    return splits


def verify(pack: Path) -> None:
    """Compare every file of a pack with its checksum; UserError names the damaged ones."""
    files, size = packs.verify(pack)
    print_line(f"{pack}: {files:,} files, {size / 1e6:,.1f} MB, all as they were written")
