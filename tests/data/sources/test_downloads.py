import hashlib
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision.datasets.imagenet import ARCHIVE_META

from alexnet.data.sources import downloads
from alexnet.data.sources.downloads import PUBLISHED, check, fetch
from alexnet.errors import UserError

CONTENT = bytes(range(256)) * 3000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        Handler.requests += 1
        if self.path == "/none.zip":
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.path == "/slow.zip" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : {"/cut.zip": 1000, "/slow.zip": start + 300_000}.get(self.path)])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server: str, tmp_path: Path) -> None:
    before = Handler.requests
    for _ in range(2):
        found = fetch(f"{server}/good.zip", MD5, tmp_path / "downloads", show_progress=False)
        assert found == tmp_path / "downloads" / "good.zip" and found.read_bytes() == CONTENT
    assert Handler.requests == before + 1
    assert {file.name for file in (tmp_path / "downloads").iterdir()} <= {"good.zip", ".good.zip.lock"}


def test_a_download_that_stops_goes_on_where_it_was(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_PAUSES", (0.0,))
    (tmp_path / ".slow.zip.part").write_bytes(CONTENT[:100_000])  # what an earlier process left
    before = Handler.requests
    assert fetch(f"{server}/slow.zip", MD5, tmp_path, show_progress=False).read_bytes() == CONTENT
    assert Handler.requests == before + 3  # of 668,000 bytes that were missing, 300,000 a time


@pytest.mark.parametrize(
    ("file", "md5", "said"),
    [("good.zip", "0" * 32, "MD5"), ("cut.zip", MD5, "incomplete"), ("none.zip", MD5, "404")],
)
def test_a_failed_download_is_one_line_and_no_file(
    server: str, tmp_path: Path, file: str, md5: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_PAUSES", (0.0,))
    with pytest.raises(UserError, match=said) as caught:
        fetch(f"{server}/{file}", md5, tmp_path, show_progress=False)
    assert "\n" not in str(caught.value) and "data.root" in str(caught.value)
    assert not (tmp_path / file).exists() and (tmp_path / f".{file}.part").exists() == (file == "cut.zip")


def test_a_refused_connection_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PAUSES", (0.0,))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as free:
        port = free.server_port
    with pytest.raises(UserError, match=r"could not be downloaded.*refused"):
        fetch(f"http://127.0.0.1:{port}/x.zip", MD5, tmp_path, show_progress=False)


def test_the_proxy_of_the_environment_is_used(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("http_proxy", server)
        patch.delenv("no_proxy", raising=False)
        urllib.request.install_opener(urllib.request.build_opener())  # which reads the environment once
        found = fetch("http://elsewhere.invalid/good.zip", MD5, tmp_path, show_progress=False)
    urllib.request.install_opener(urllib.request.build_opener())
    assert found.read_bytes() == CONTENT


def test_published_sums_are_torchvision_s() -> None:
    assert dict(ARCHIVE_META.values()).items() <= PUBLISHED.items()


def test_check_finds_archives_in_subfolders_and_names_altered_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "below" / "x.tar"
    archive.parent.mkdir()
    archive.write_bytes(CONTENT)
    (tmp_path / "other.tar").write_bytes(b"not published")
    with pytest.raises(UserError, match="holds none of the archives"):
        check(tmp_path)
    monkeypatch.setitem(PUBLISHED, "x.tar", MD5)
    for source in (tmp_path, archive):
        check(source)
        assert capsys.readouterr().err == "x.tar: MD5 as published\n"
    archive.write_bytes(CONTENT[:-1])
    altered = hashlib.md5(CONTENT[:-1]).hexdigest()
    with pytest.raises(UserError, match=rf"x\.tar is incomplete or altered: MD5 {altered}"):
        check(tmp_path, show_progress=False)
