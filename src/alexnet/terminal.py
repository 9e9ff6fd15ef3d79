"""What reaches the terminal: names and messages may be a stranger's, and must not steer it."""

from collections.abc import Iterable
from shutil import get_terminal_size
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from alexnet.errors import printable


class Terminal(Console):
    """A console that shows control characters escaped, and text as it is: without markup and emoji codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)
        if "width" not in options and self.is_dumb_terminal:  # whose size rich does not ask for
            self.size = get_terminal_size()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape the texts of a renderable; the control codes of rich itself are marked as such."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))
