"""What reaches a terminal, and what a pipe."""

import io
import os
import time

import pytest
from rich.table import Table

from alexnet.terminal import Terminal, busy, fitted, lasting_output, progress


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


def test_what_is_printed_while_training_outlives_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        os.close(read)
        with pytest.raises(BrokenPipeError):
            Terminal().print("to nobody")
        with lasting_output():
            Terminal().print("to nobody")
            print("to nobody", flush=True)


def test_a_long_silence_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.terminal.QUIET_SECONDS", 0.01)
    console = Terminal(file=io.StringIO())
    with busy("waiting", console):
        time.sleep(0.1)
    assert console.file.getvalue().startswith("waiting: 0 s\nwaiting: 0 s\n")  # type: ignore[attr-defined]


def test_without_a_terminal_progress_is_a_line_after_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("reading", 3000, show=True) as advance:
        advance(1000)
        monkeypatch.setattr("alexnet.terminal.QUIET_SECONDS", 0.0)
        advance(1000)
    assert capsys.readouterr().err == "reading: 2,000 of 3,000\n"


def test_a_table_that_is_too_wide_loses_its_frame_and_then_columns() -> None:
    table = Table("layer", "window", "kernel size", title="net", show_footer=True)
    table.columns[0].footer = "total"
    table.add_row("conv1", "11/4/2", "64 x 3 x 11")
    shown = {}
    for width in (60, 26, 22, 16):
        console = Terminal(file=io.StringIO(), width=width)
        console.print(fitted(table, console, ["window"]))
        shown[width] = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert "┃" in "".join(shown[60])
    assert shown[26][1:5] == [
        "             kernel",
        "layer window size",
        "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 24,
        "conv1 11/4/2 64 x 3 x 11",
    ]
    assert shown[22][4] == "conv1 64 x 3 x 11" and shown[22][-2:] == ["not shown here:", "window"]
    assert shown[16][3] == "conv1" and all(len(line) <= 16 for line in shown[16])
