"""Progress where there is no terminal for a bar."""

import pytest

from alexnet.data import progress as module
from alexnet.data.progress import progress


def test_without_a_terminal_a_line_comes_after_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("reading", 3000, show=True) as advance:
        advance(1000)
        monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
        advance(1000)
    assert capsys.readouterr().err == "reading: 2,000 of 3,000\n"
