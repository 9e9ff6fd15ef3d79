"""What reaches a terminal, and what a pipe."""

import io
import time

import pytest

from alexnet.terminal import Terminal, busy


def test_words_are_whole_on_a_terminal_and_lines_in_a_pipe() -> None:
    line, path = "the first words and", "/a/path/that/is/copied"
    shown = {}
    for terminal in (True, False):
        console = Terminal(file=io.StringIO(), width=12, force_terminal=terminal, color_system=None)
        console.print(f"{line} {path}")
        console.print("a command is copied", soft_wrap=True)
        shown[terminal] = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [text.rstrip() for text in shown[True]] == ["the first", "words and", path, "a command is copied"]
    assert shown[False] == [f"{line} {path}", "a command is copied"]


def test_a_long_silence_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.terminal.QUIET_SECONDS", 0.01)
    console = Terminal(file=io.StringIO())
    with busy("waiting", console):
        time.sleep(0.1)
    assert console.file.getvalue().startswith("waiting: 0 s\nwaiting: 0 s\n")  # type: ignore[attr-defined]
