"""Where a study stands, in one line at a time, and how long the rest may take."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
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
        weights: Mapping[Path, float] | None = None,
        expected_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`weights` is the work in each run, in any unit; `expected_seconds` what is known before the first ends."""
        self.runs = runs
        self.weights = weights or {run.directory: 1.0 for run in runs}
        self.expected_seconds = expected_seconds
        self.console = console
        self._clock = clock
        self._started = clock()
        self._settled: set[Path] = set()
        self._finished_weight = self._finished_after = 0.0
        self._looking = Lock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Report runs that other processes end, by looking for their result files now and then."""
        stop = Event()
        thread = Thread(target=self._watch, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.look()

    def _watch(self, stop: Event) -> None:
        while not stop.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Report the runs that have ended since the last look."""
        with self._looking:
            for run in self.runs:
                if run.directory not in self._settled and run.is_settled:
                    self._report(run)

    def _report(self, run: "PlannedRun") -> None:
        outcome, elapsed = run.outcome, self._clock() - self._started
        assert outcome is not None
        self._settled.add(run.directory)
        if outcome.status == "finished":  # one that failed says nothing about the speed of the others
            self._finished_weight += self.weights[run.directory]
            self._finished_after = elapsed
        parts = [f"[{len(self._settled)} of {len(self.runs)}] {run} {outcome.status}", f"{shown_time(elapsed)} elapsed"]
        if left := self.seconds_left:
            parts.append(f"about {shown_time(left)} left")
        self.console.print("; ".join(parts), highlight=False, soft_wrap=True, markup=False)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the study, by the speed so far; None before anything is known about it."""
        waiting = sum(self.weights[run.directory] for run in self.runs if run.directory not in self._settled)
        if self._finished_weight:
            return waiting * self._finished_after / self._finished_weight
        if self.expected_seconds is None:
            return None
        return self.expected_seconds * waiting / sum(self.weights.values())


def shown_time(seconds: float) -> str:
    """Return a duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
