"""What reaches the terminal: names and messages may be a stranger's, and must not steer it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from textwrap import fill
from threading import Event, Thread
from time import monotonic
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from alexnet.errors import printable

QUIET_SECONDS = 4.0
"""Time between two lines about something that takes long; with a busy machine's delay no silence is over five."""
IMPORTING = "importing torch"
WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


class Terminal(Console):
    """A console that shows control characters escaped, and text as it is: without markup, emoji codes and colors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if "width" not in options and self.is_dumb_terminal:  # whose size rich does not ask for
            self.size = get_terminal_size()

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


@contextmanager
def busy(what: str, console: Console) -> Iterator[None]:
    """Say every few seconds what the block does, if it takes so long."""
    done, begun = Event(), monotonic()

    def repeat() -> None:
        while not done.wait(QUIET_SECONDS):
            console.print(f"{what}: {monotonic() - begun:.0f} s")

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
