"""Progress of long jobs on standard error: a bar with the time left on a terminal, and single lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet.errors import printable
from alexnet.terminal import Terminal


@contextmanager
def progress(what: str, total: int | None, *, show: bool, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs, if standard error is a terminal; call the value with the steps just done."""
    console = Terminal(stderr=True)
    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


def print_status(text: str, *, show: bool) -> None:
    """Print one line on standard error."""
    if show:
        print(printable(text, lines=True), file=sys.stderr)
