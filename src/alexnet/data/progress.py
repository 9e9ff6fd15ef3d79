"""Progress of long jobs on standard error: a bar with the time left on a terminal, and single lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet.terminal import QUIET_SECONDS, Terminal

WIDE = 64
"""Characters of a terminal from which there is room for a bar."""


@contextmanager
def progress(what: str, total: int | None, *, show: bool, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs, or lines elsewhere; call the value with the steps just done."""
    console = Terminal(stderr=True)
    with_bar = console.is_terminal and not console.is_dumb_terminal
    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    wide = console.width >= WIDE
    name = TextColumn("{task.description}", markup=False)
    columns = (name, *[BarColumn()] * wide, count, *[TimeRemainingColumn()] * wide)
    with Progress(*columns, console=console, transient=True, disable=not (show and with_bar)) as bar:
        task, said = bar.add_task(what, total=total), time.monotonic()

        def advance(steps: int) -> None:
            nonlocal said
            bar.advance(task, steps)
            if not with_bar and time.monotonic() - said >= QUIET_SECONDS:
                said = time.monotonic()
                of_all = f" of {total:,}" if total else ""
                print_status(f"{what}: {bar.tasks[0].completed:,.0f}{of_all}{' bytes' * in_bytes}", show=show)

        yield advance


def print_status(text: str, *, show: bool) -> None:
    """Print one line on standard error."""
    if show:
        Terminal(stderr=True).print(text)
