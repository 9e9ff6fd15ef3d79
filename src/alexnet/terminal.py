"""What reaches the terminal: names and messages may be a stranger's, and must not steer it."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout, suppress
from copy import copy
from dataclasses import replace
from errno import EIO, EPIPE
from os import strerror
from shutil import get_terminal_size
from textwrap import fill
from threading import Event, Thread
from time import monotonic
from typing import Any, NoReturn, TextIO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from alexnet.errors import discard, printable

QUIET_SECONDS = 4.0
"""Time between two lines about something that takes long; with a busy machine's delay no silence is over five."""
IMPORTING = "importing torch"
WIDE = 64
"""Characters of a terminal from which there is room for a bar."""
UNLIMITED = 1000
"""Characters of a line that no terminal has."""
WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


class Terminal(Console):
    """A console that shows control characters escaped, and text as it is: without markup, emoji codes and colors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if "width" not in options and self.is_dumb_terminal:  # whose size rich does not ask for
            self.size = get_terminal_size()

    def on_broken_pipe(self) -> NoReturn:
        """Hand the error on, which rich would turn into an exit with code 1."""
        raise BrokenPipeError(EPIPE, strerror(EPIPE))

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """Break texts between words on a terminal, but no word, which may be a path; elsewhere lines stay whole.
        `soft_wrap` leaves the breaking to the terminal, which then copies a command as one line.
        """
        if soft_wrap is None and all(isinstance(one, str) for one in objects):
            soft_wrap = True
            if self.is_terminal:
                objects = tuple(
                    "\n".join(fill(line, self.width, **WORDS) for line in one.split("\n")) for one in objects
                )
        super().print(*objects, soft_wrap=soft_wrap, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape the texts of a renderable; the control codes of rich itself are marked as such."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))


class Lasting:
    """An output that outlives its reader, a terminal or a pipe: what is written later goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._kept():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self._stream.flush()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (EPIPE, EIO):  # a closed pipe, and a terminal that has gone
                raise
            discard(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let the block continue when nobody reads any more what it prints."""
    out, err = (stream and cast(TextIO, Lasting(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


def fitted(table: Table, console: Console, leave_out: Sequence[str] = ()) -> Table:
    """Return a table that fits the terminal: a wider one loses its frame, has a word a line in headings, then columns.

    Columns of the headings `leave_out` go first, in this order, then those on the right; the first stays.
    """
    options = console.options.update(width=UNLIMITED)

    def is_wide(one: Table) -> bool:
        return Measurement.get(console, options, one).maximum > console.width

    headings = [str(column.header) for column in table.columns[1:]]
    order = [heading for heading in dict.fromkeys([*leave_out, *reversed(headings)]) if heading in headings]
    made = table
    for count in range(len(order) + 1):
        if not is_wide(made):
            break
        made = _narrow(table, order[:count])
    return made


def _narrow(table: Table, gone: Sequence[str]) -> Table:
    """Return a table without a frame and some columns; a line below it names those that are left out."""
    columns = [table.columns[0], *(column for column in table.columns[1:] if str(column.header) not in gone)]
    captions = [str(table.caption)] * bool(table.caption) + [f"not shown here: {', '.join(gone)}"] * bool(gone)
    made = copy(table)
    made.columns = [replace(column, header=str(column.header).replace(" ", "\n")) for column in columns]
    made.box, made.padding, made.pad_edge, made.show_edge = SIMPLE_HEAD, 0, False, False
    made.caption, made.caption_justify = "; ".join(captions) or None, "left"
    return made


def busy(what: str, console: Console) -> AbstractContextManager[None]:
    """Say every few seconds what the block does, if it takes so long."""
    begun = monotonic()
    return every(QUIET_SECONDS, lambda: console.print(f"{what}: {monotonic() - begun:.0f} s"))


@contextmanager
def every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call something on a thread now and then while the block runs."""
    done = Event()

    def repeat() -> None:
        with suppress(OSError):  # the reader is gone, as the block itself will find
            while not done.wait(seconds):
                call()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def progress(what: str, total: int | None, *, show: bool, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error during the block, or lines elsewhere; call the value with the steps just done."""
    console = Terminal(stderr=True)
    with_bar = console.is_terminal and not console.is_dumb_terminal
    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    wide = console.width >= WIDE
    name = TextColumn("{task.description}", markup=False)
    columns = (name, *[BarColumn()] * wide, count, *[TimeRemainingColumn()] * wide)
    with Progress(*columns, console=console, transient=True, disable=not (show and with_bar)) as bar:
        task, said = bar.add_task(what, total=total), monotonic()

        def advance(steps: int) -> None:
            nonlocal said
            bar.advance(task, steps)
            if not with_bar and monotonic() - said >= QUIET_SECONDS:
                said = monotonic()
                of_all = f" of {total:,}" if total else ""
                print_status(f"{what}: {bar.tasks[0].completed:,.0f}{of_all}{' bytes' * in_bytes}", show=show)

        yield advance


def print_status(text: str, *, show: bool) -> None:
    """Print one line on standard error."""
    if show:
        Terminal(stderr=True).print(text)
