"""`alexnet prepare`: images in class folders or archives -> a pack."""

from pathlib import Path
from typing import Any

from alexnet.data.jpeg import JpegQuality
from alexnet.data.pack.prepare import prepare
from alexnet.data.sources.downloads import check


def run(source: Path, pack: Path, *, quality: int, chroma_subsampling: str, md5: bool, **options: Any) -> None:
    """Make a pack; the other options are those of `prepare`."""
    if md5:
        check(source)
    prepare(source, pack, jpeg=JpegQuality(quality=quality, subsampling=chroma_subsampling), **options)
