"""What an offline W&B run holds, read from its own file: what `wandb sync` would send."""

import json
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 2**15


def records(directory: Path) -> list[Record]:
    """Everything in the one closed offline run at or below a directory.

    W&B's own process may still be writing when `finish` has returned, so the record of the exit is waited for.
    """
    (file,) = directory.rglob("*.wandb")
    deadline = time.monotonic() + 30
    while not exit_codes(found := _read(file)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _read(file: Path) -> list[Record]:
    """All whole records.

    The file is a LevelDB log behind 7 bytes of its own: blocks of 32 KiB, that hold chunks of 4 bytes of checksum,
    2 of length and 1 of kind (whole, first, middle, last part of a record).
    """
    content, at, found, record = file.read_bytes(), 7, [], b""
    assert content.startswith(b":W&B") or not content
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # no chunk begins so near to a block's end
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        if at + 7 + length > len(content):  # is being written
            break
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(Record.FromString(record))
            record = b""
    return found


def run_record(found: list[Record]) -> Any:
    """Name, group, tags and the like."""
    (run,) = {record.run.run_id: record.run for record in found if record.HasField("run")}.values()
    return run


def config(found: list[Record]) -> dict[str, Any]:
    """The configuration, by its first keys."""
    return _values(item for record in found for item in (*record.run.config.update, *record.config.update))


def summary(found: list[Record]) -> dict[str, Any]:
    """The summary as it stands at the end; the parts of a key are joined by slashes."""
    return _values(item for record in found for item in record.summary.update)


def history(found: list[Record]) -> list[dict[str, Any]]:
    """What was logged, in order."""
    return [_values(record.history.item) for record in found if record.HasField("history")]


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def exit_codes(found: list[Record]) -> list[int]:
    """One for every time that the run was closed."""
    return [record.exit.exit_code for record in found if record.HasField("exit")]


def table(directory: Path, found: list[Record], key: str) -> list[dict[str, Any]]:
    """The rows of a logged table, by column."""
    content = json.loads(media(directory, found, key))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def media(directory: Path, found: list[Record], key: str) -> str:
    """The text of a logged file, looked up as W&B does: by its path in the summary."""
    (run,) = directory.rglob("*.wandb")
    return (run.parent / "files" / summary(found)[f"{key}/path"]).read_text(encoding="utf-8")
