"""Whole files, and locks between processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.files import LogFile, check_writable, exclusive, replace_file, write_file

HOLD = """
import sys, time
from pathlib import Path
from alexnet.files import exclusive
with exclusive(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for name in ("out/table.md", "out/deeper/table.md"):
        with pytest.raises(UserError, match=f"{name}: cannot be written: a file is where its folder should be"):
            write_file(tmp_path / name, "")
        with pytest.raises(UserError, match=f"{name}: cannot be written: a file is where its folder should be"):
            check_writable(tmp_path / name)
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "table.md")
    assert {file.name for file in tmp_path.glob("**/*")} == {"out", "new"}


def test_exclusive_held_by_another_process_names_it_and_waits_for_its_death(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused = pytest.raises(UserError, match=f"the run is in use by process {holder.pid} on ")
        with refused, exclusive(lock, "the run"):
            pytest.fail("two at once")
        told: list[str] = []

        def wait(who: str) -> None:
            told.append(who)
            holder.kill()

        with exclusive(lock, "the run", wait=wait):
            assert len(told) == 1 and told[0].startswith(f"process {holder.pid} on ")
    finally:
        holder.kill()
        holder.communicate()


def test_exclusive_after_an_error_is_free_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / ".lock", "it"):
        raise ZeroDivisionError
    with exclusive(tmp_path / ".lock", "it"):
        pass


def test_exclusive_never_follows_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / ".lock").symlink_to(precious)
    with pytest.raises(UserError, match="cannot be locked"), exclusive(tmp_path / ".lock", "it"):
        pytest.fail("locked through a link")
    assert precious.read_text() == "mine"


def test_replace_file_over_links_leaves_their_targets_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "result.json").symlink_to(precious)
    (tmp_path / f".result.json.{os.getpid()}").symlink_to(precious)
    replace_file(tmp_path / "result.json", b"new")
    assert (tmp_path / "result.json").read_bytes() == b"new" and not (tmp_path / "result.json").is_symlink()
    assert precious.read_text() == "mine"


def test_replace_file_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replace_file(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_replace_file_over_a_folder_names_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(OSError) as refused:
        replace_file(tmp_path / "metrics.csv", b"new")
    assert refused.value.filename == str(tmp_path / "metrics.csv")


def test_a_log_file_that_cannot_be_looked_at_is_left_to_the_run(tmp_path: Path) -> None:
    LogFile(str(tmp_path / ("x" * 300)), "utf-8").close()
