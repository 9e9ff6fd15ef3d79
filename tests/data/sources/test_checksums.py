import hashlib
from pathlib import Path

import pytest
from torchvision.datasets.imagenet import ARCHIVE_META

from alexnet.data.sources import checksums
from alexnet.errors import UserError


def test_the_sums_are_torchvision_s() -> None:
    assert dict(ARCHIVE_META.values()).items() <= checksums.PUBLISHED.items()


def test_archives_are_compared_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytes(range(256)) * 40000
    archive = tmp_path / "below" / "x.tar"
    archive.parent.mkdir()
    archive.write_bytes(data)
    (tmp_path / "other.tar").write_bytes(b"not published")
    with pytest.raises(UserError, match="holds none of the archives"):
        checksums.check(tmp_path)
    monkeypatch.setitem(checksums.PUBLISHED, "x.tar", hashlib.md5(data).hexdigest())
    for source in (tmp_path, archive):
        checksums.check(source)
        assert capsys.readouterr().err == "x.tar: MD5 as published\n"
    archive.write_bytes(data[:-1])
    with pytest.raises(UserError, match=rf"x\.tar is incomplete or altered: MD5 {hashlib.md5(data[:-1]).hexdigest()}"):
        checksums.check(tmp_path, show_progress=False)
