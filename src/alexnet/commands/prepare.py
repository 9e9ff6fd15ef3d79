"""`alexnet prepare`: images in class folders or archives -> a pack."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet.data.jpeg import JpegQuality
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.catalog import LEFT_OUT, SPLITS
from alexnet.data.sources.downloads import check
from alexnet.errors import UserError


def run(
    source: Path, pack: Path, *, quality: int, chroma_subsampling: str, md5: bool, split: list[str], **options: Any
) -> None:
    """Make a pack; the other options are those of `prepare`."""
    splits = _splits(split)
    if md5:
        check(source)
    prepare(source, pack, jpeg=JpegQuality(quality=quality, subsampling=chroma_subsampling), splits=splits, **options)


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
