"""What processes side by side do in tests; nothing heavy, as each imports this module."""

import os
import time
from pathlib import Path


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def meet(mine: Path, other: Path) -> None:
    """End once the other process has begun too."""
    mine.touch()
    deadline = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
