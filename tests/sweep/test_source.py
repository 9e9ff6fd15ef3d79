"""Queued jobs use the code and choices of the moment at which they were queued, or refuse."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet.errors import UserError
from alexnet.sweep.study import QUEUED_SOURCE, check_source, note_source


def test_queued_job_refuses_choices_that_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SimpleNamespace(path=str(tmp_path), schema="file")
    hydra = SimpleNamespace(runtime=SimpleNamespace(config_sources=[source]))
    choice = tmp_path / "lrn" / "mine.yaml"
    choice.parent.mkdir()
    choice.write_text("size: 5")
    monkeypatch.setenv(QUEUED_SOURCE, "")
    note_source(hydra)
    check_source(hydra)
    choice.write_text("size: 7")
    with pytest.raises(UserError, match="changed after this job was queued"):
        check_source(hydra)
