"""Where a study stands, in one line at a time, and how long the rest may take."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from alexnet.sweep.study import PlannedRun

SECONDS_BETWEEN_LOOKS = 1.0


class Progress:
    """Reports runs as they end, the time elapsed, and an estimate of the time left.

    The result files are all that it looks at, so it is the same for every launcher.
    """

    def __init__(
        self,
        runs: Sequence["PlannedRun"],
        *,
        console: Console,
        work: Mapping[Path, float] | None = None,
        seconds_per_work: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`work` is that in each run, in any unit, and `seconds_per_work` what one unit takes, if it is foreseen."""
        self.runs, self.console = runs, console
        self._work = work or {run.directory: 1.0 for run in runs}
        self._finished_work, self._seconds_per_work = 0.0, seconds_per_work
        self._settled: set[Path] = set()
        self._clock, self._started = clock, clock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Report runs that other processes end, by looking for their result files now and then."""
        stop = Event()

        def watch() -> None:
            while not stop.wait(SECONDS_BETWEEN_LOOKS):
                self.look()

        thread = Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.look()

    def look(self) -> None:
        """Report the runs that have ended since the last look."""
        for run in self.runs:
            if run.directory in self._settled or not run.is_settled or (outcome := run.outcome) is None:
                continue
            self._settled.add(run.directory)
            elapsed = self._clock() - self._started
            if outcome.status == "finished":  # one that failed says nothing about the speed of the others
                self._finished_work += self._work[run.directory]
                self._seconds_per_work = elapsed / self._finished_work
            left = f"; about {shown_time(self.seconds_left)} left" if self.seconds_left else ""
            place = f"[{len(self._settled)} of {len(self.runs)}]"
            line = f"{place} {run} {outcome.status}; {shown_time(elapsed)} elapsed{left}"
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the study, by the speed so far; None before anything is known about it."""
        waiting = sum(self._work[run.directory] for run in self.runs if run.directory not in self._settled)
        return None if self._seconds_per_work is None else self._seconds_per_work * waiting


def shown_time(seconds: float) -> str:
    """Return a duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
