"""Where a sweep stands, in one line at a time, and how long the rest may take."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from rich.console import Console

from alexnet.sweep.planned import PlannedRun

LOOK_EVERY_SECONDS = 1.0


class Progress:
    """Says which run begins or ends, the time elapsed, and the time left by the runs finished so far."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        *,
        weights: Mapping[Path, float],
        expected_seconds: float | None,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`weights` is the work in each run, in any unit; `expected_seconds` what is known before the first ends."""
        self.runs = runs
        self.weights = weights
        self.expected_seconds = expected_seconds
        self.console = console
        self._clock = clock
        self._started = clock()
        self._settled: set[Path] = set()
        self._measured_weight = self._measured_seconds = 0.0

    @contextmanager
    def one_by_one(self, run: PlannedRun) -> Iterator[None]:
        """Announces a run and times it. A failed one says nothing about the speed of the others."""
        self._say(f"run {self.runs.index(run) + 1} of {len(self.runs)}, {run}")
        began = self._clock()
        try:
            yield
            self._measured_weight += self.weights[run.directory]
            self._measured_seconds += self._clock() - began
        finally:
            self._settled.add(run.directory)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Announces runs that other processes end, by looking for their result files now and then."""
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
        while not stop.wait(LOOK_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Say which runs have ended since the last look."""
        for run in self.runs:
            if run.directory in self._settled or not run.is_settled:
                continue
            self._settled.add(run.directory)
            self._measured_weight += self.weights[run.directory]
            self._measured_seconds = self._clock() - self._started
            outcome = run.outcome
            assert outcome is not None
            self._say(f"{len(self._settled)} of {len(self.runs)} done: {run} {outcome.status}")

    def _say(self, what: str) -> None:
        elapsed = self._clock() - self._started
        times = [f"{shown_time(elapsed)} elapsed"] if elapsed >= 1 else []
        left = self.seconds_left
        times += [f"about {shown_time(left)} left"] if left else []
        self.console.print("; ".join([what, ", ".join(times)]) if times else what, highlight=False, soft_wrap=True)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the sweep, by the speed so far; None before anything is known about it."""
        waiting = sum(self.weights[run.directory] for run in self.runs if run.directory not in self._settled)
        if self._measured_weight:
            return waiting * self._measured_seconds / self._measured_weight
        if self.expected_seconds is None:
            return None
        return self.expected_seconds * waiting / sum(self.weights.values())


def shown_time(seconds: float) -> str:
    """A duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
