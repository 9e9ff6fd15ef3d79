"""Fetching a published archive once, checked against its published checksum."""

import hashlib
import http.client
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

from alexnet.data.progress import progress
from alexnet.errors import UserError

_CHUNK = 2**18
_TIMEOUT_S = 30.0
"""Without a byte from the server."""


def fetch(url: str, md5: str, folder: Path, *, show_progress: bool) -> Path:
    """The file at `url` in `folder`, downloaded unless it is there already.

    It gets its name only when complete and its MD5 is `md5`, so what is there is sound. Raises `UserError` if it cannot
    be had, with the two ways to go on without this download.
    """
    target = folder / url.rsplit("/", 1)[-1]
    if target.exists():
        return target
    part = folder / f".{target.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _download(url, part, show_progress)
        if found != md5:
            raise OSError(f"incomplete or altered: MD5 {found} instead of {md5}")
        part.rename(target)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise UserError(
            f"{url} could not be downloaded ({error}); try again, put the file at {target} by hand, "
            "or give images of your own with data.root=..."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _download(url: str, part: Path, show: bool) -> str:
    """Write the file and return its MD5."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, part.open("wb") as file:
        length = response.headers["Content-Length"]
        total = int(length) if length else None
        with progress(f"downloading {url.rsplit('/', 1)[-1]}", total, show=show, in_bytes=True) as advance:
            return _copy(response, file, advance)


def _copy(response: IO[bytes], file: IO[bytes], advance: Callable[[int], None]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        digest.update(chunk)
        advance(len(chunk))
    return digest.hexdigest()
