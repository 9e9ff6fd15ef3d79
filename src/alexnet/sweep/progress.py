"""Where a study stands, in one line at a time, and how long the rest may take."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status
from rich.text import Text

from alexnet.errors import shown_time
from alexnet.terminal import QUIET_SECONDS, every

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
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`work` is that in each run, in any unit, and `seconds` the time that all of it takes, if it is foreseen."""
        self.runs, self.console = runs, console
        self._work = work or {run.directory: 1.0 for run in runs}
        self._finished_work, self._seconds_per_work = 0.0, seconds and seconds / sum(self._work.values())
        self._settled: set[Path] = set()
        self._status: Status | None = None
        self._epochs_before = {run.directory: run.epochs_done for run in runs}
        self._clock, self._started = clock, clock()
        self._last = self._started

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Report runs that other processes end, by looking for their result files now and then."""
        with self.displayed():
            try:
                with every(SECONDS_BETWEEN_LOOKS, self.look):
                    yield
            finally:
                self.look()

    @contextmanager
    def displayed(self) -> Iterator[None]:
        """Show on a terminal which runs are under way, in a line that every look renews."""
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            yield
            return
        with self.console.status("starting", refresh_per_second=4) as self._status:
            yield
        self._status = None

    def look(self) -> None:
        """Report the runs that have ended since the last look."""
        for run in self.runs:
            if run.directory in self._settled or not run.is_settled or (outcome := run.outcome) is None:
                continue
            self._settled.add(run.directory)
            elapsed = self._clock() - self._started
            if outcome.status == "finished":  # one that failed says nothing about the speed of the others
                self._finished_work += self._work[run.directory]
                self._seconds_per_work = elapsed / (self._finished_work + sum(self._under_way().values()))
            left = f"; about {shown_time(self.seconds_left)} left" if self.seconds_left else ""
            place = f"[{len(self._settled)} of {len(self.runs)}]"
            self.console.print(f"{place} {run} {outcome.status}; {shown_time(elapsed)} elapsed{left}")
            self._last = self._clock()
        now = self._clock()
        if self._status is not None:
            text = Text(self._shown_under_way())
            text.truncate(self.console.width - 3, overflow="ellipsis")  # beside the spinner; it would wrap
            self._status.update(text)
        elif now - self._last >= max(QUIET_SECONDS, (now - self._started) / 50):
            self.console.print(f"{self._shown_under_way()}; {shown_time(now - self._started)} elapsed")
            self._last = now

    def _shown_under_way(self) -> str:
        """Return a line such as `2 of 18 under way: baseline seed 0, epoch 3 of 20; ...`."""
        under_way, told = self._under_way(), list[str]()
        for run in self.runs:
            if run.directory in under_way:
                epochs = run.job.config.schedule.epochs
                told.append(f"{run}, epoch {min(run.epochs_done + 1, epochs)} of {epochs}")
        return f"{len(told)} of {len(self.runs)} under way: {'; '.join(told)}" if told else "starting"

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the study, by the speed so far; None before anything is known about it."""
        if self._seconds_per_work is None:
            return None
        waiting = sum(self._work[run.directory] for run in self.runs if run.directory not in self._settled)
        return self._seconds_per_work * (waiting - sum(self._under_way().values()))

    def _under_way(self) -> dict[Path, float]:
        """Return the work that is done of the runs that have begun and not ended, by their epochs."""
        done = {}
        for run in self.runs:
            if run.directory not in self._settled and run.outcome is not None:
                before, epochs = self._epochs_before[run.directory], run.job.config.schedule.epochs
                share = (run.epochs_done - before) / max(1, epochs - before)
                done[run.directory] = self._work[run.directory] * min(1.0, max(0.0, share))
        return done
