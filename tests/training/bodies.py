"""What the processes of a run do in tests of how they end; nothing heavy, as each imports this module."""

import os
import signal
import time
from pathlib import Path

from rich.console import Console

from alexnet.config.job import Job
from alexnet.errors import UserError


def fail_in_one(_job: Job, _directory: Path, _at_once: int, _console: Console) -> None:
    """Let the second process find a mistake of the user's while the first waits for it."""
    if os.environ["RANK"] == "1":
        raise UserError("training diverged")
    time.sleep(60)


def die_in_one(_job: Job, _directory: Path, _at_once: int, _console: Console) -> None:
    """Let the second process be killed while the first waits for it."""
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
