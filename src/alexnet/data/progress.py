"""What a long job says meanwhile: a bar with the time left on a terminal, otherwise nothing but its closing lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress(what: str, total: int | None, *, show: bool, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; the value is called with the steps done since the last call."""
    console = Console(stderr=True)
    count: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
    hidden = not (show and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


def print_status(text: str, *, show: bool) -> None:
    """One line on standard error, where the bar was."""
    if show:
        print(text, file=sys.stderr)
