"""Pillow's own test images, of its source package: `ALEXNET_PILLOW_IMAGES=pillow/Tests/images pytest -m slow`."""

import os
from pathlib import Path

import pytest
from PIL import Image

from alexnet.data.sources import file_names
from alexnet.data.sources.images import Converted, convert_file, suppress_pil_warnings

IMAGES = os.environ.get("ALEXNET_PILLOW_IMAGES")
MOST_WITH_A_REASON = 3
"""Images that Pillow reads and we do not, each with a reason: floats without a range, a negative tile, `.ara`."""


def readable(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except Exception:  # whatever a decoder raises
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(IMAGES is None, reason="needs the images of Pillow's source package")
def test_what_pillow_reads_is_read_or_has_a_reason() -> None:
    images, reasons = 0, {}
    with suppress_pil_warnings():
        for file in sorted(path for path in Path(str(IMAGES)).rglob("*") if path.is_file()):
            kind = file_names.kind_of(file.name)
            if kind == file_names.UNKNOWN and file_names.looks_like_image(file.read_bytes()[:32]):
                kind = None
            found = convert_file(file, 16, file.name) if kind is None else kind
            assert isinstance(found, Converted) or (found and "\n" not in found)
            if isinstance(found, Converted):
                images += 1
            elif readable(file):
                reasons[file.name] = found
    print(f"{images} images; {reasons}")
    assert images > 800 and len(reasons) <= MOST_WITH_A_REASON
