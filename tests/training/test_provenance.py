"""Which code a run notes: that of the checkout that it is in, and no other."""

import subprocess
from pathlib import Path

import pytest

from alexnet.training import provenance
from alexnet.training.provenance import PATCH_BYTES, PATCH_FILE, environment, git_state, write_provenance


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *author, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init")
    (folder / "code.py").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    monkeypatch.setattr(provenance, "CHECKOUT", folder)
    return folder


def test_uncommitted_changes_are_kept_as_a_patch(checkout: Path, tmp_path: Path) -> None:
    state, patch = git_state()
    assert state is not None and len(state.revision) == 40 and not state.dirty and not patch
    write_provenance(tmp_path, patch)
    assert "numpy==" in (tmp_path / "packages.txt").read_text() and not (tmp_path / PATCH_FILE).exists()
    (checkout / "code.py").write_text("two\n")
    state, patch = git_state()
    assert state is not None and state.dirty
    write_provenance(tmp_path, patch)
    assert "-one\n+two\n" in (tmp_path / PATCH_FILE).read_text()


def test_new_sources_are_in_the_patch(checkout: Path) -> None:
    (checkout / "conf").mkdir()
    (checkout / "notes.txt").write_text("no source\n")
    assert git_state()[1] == ""
    (checkout / "conf" / "mine.yaml").write_text("a: 1\n")
    (checkout / "conf" / "huge.yaml").write_bytes(bytes(PATCH_BYTES + 1))
    state, patch = git_state()
    assert state is not None and state.dirty and len(patch) < 1000 and "notes" not in patch
    git(checkout, "stash", "--include-untracked")
    subprocess.run(["git", "-C", checkout, "apply"], input=patch, text=True, check=True)
    assert (checkout / "conf" / "mine.yaml").read_text() == "a: 1\n"


def test_a_repository_around_the_code_is_not_its_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = checkout / "lib" / "site-packages"
    inner.mkdir(parents=True)
    monkeypatch.setattr(provenance, "CHECKOUT", inner)
    assert git_state() == (None, "")


def test_a_refusal_of_git_is_noted(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    state, _ = git_state()
    assert state is not None and state.revision == "" and state.problem


def test_a_variable_that_changes_rounding_is_a_fact_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert environment()["variables"] == "ATEN_CPU_CAPABILITY=default"
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")
    assert environment()["variables"] == "none"  # a fact as well: it differs from that of a run with one
