"""Saying where a run stands when it stands still."""

import faulthandler
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L

from alexnet.files import replace_file
from alexnet.runs.directory import STACKS_FILE

AT_LEAST_SECONDS = 120.0
FIRST_STEP_SECONDS = 600.0
"""Patience with the first step, in which a compiler may work."""
TIMES_THE_SLOWEST = 10
"""Patience with the others, in steps as slow as the slowest so far, without first ones."""


class Watchdog(L.Callback):
    """Prints and stores the stacks of all threads once when no step ends for a long time; the run goes on waiting.

    Steps are those of training, validation and testing. The time is that of the run's own steps, so that a slow machine
    is not taken for one that hangs.
    """

    def __init__(self, directory: Path, *, at_least: float = AT_LEAST_SECONDS) -> None:
        self._directory = directory
        self._at_least = at_least
        self._slowest: float | None = None
        self._last = time.monotonic()
        self._told = self._started = False
        self._ended = threading.Event()

    @property
    def patience(self) -> float:
        """Seconds without a step after which something is said."""
        if self._slowest is None or not self._started:
            return max(self._at_least, FIRST_STEP_SECONDS)
        return max(self._at_least, TIMES_THE_SLOWEST * self._slowest)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._last, self._told, self._started = time.monotonic(), False, False
        self._ended.set()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(self._ended, trainer.global_rank), daemon=True).start()

    def teardown(self, *_: Any, **__: Any) -> None:
        self._ended.set()

    on_exception = teardown

    def step(self, *_: Any, **__: Any) -> None:
        """Note that a step has ended."""
        now = time.monotonic()
        if self._started:
            self._slowest = max(self._slowest or 0.0, now - self._last)
        self._last, self._told, self._started = now, False, True

    on_train_batch_end = on_validation_batch_end = on_test_batch_end = step

    def _watch(self, ended: threading.Event, rank: int) -> None:
        while not ended.wait(self._at_least / 8):
            silence = time.monotonic() - self._last
            if not self._told and silence >= self.patience:
                self._told = True
                self._tell(silence, rank)

    def _tell(self, silence: float, rank: int) -> None:
        name = STACKS_FILE if rank == 0 else f"{rank}.{STACKS_FILE}"
        with suppress(OSError), tempfile.TemporaryFile(dir=self._directory) as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            stacks = file.read()
            replace_file(self._directory / name, stacks)
            text = f"no step for {silence:.0f} s; still waiting; what each thread is doing, also in {name}:"
            print(f"\n{text}\n{stacks.decode(errors='replace')}", file=sys.stderr, flush=True)
            return
        print(f"\nno step for {silence:.0f} s; still waiting; no stacks: no room", file=sys.stderr, flush=True)
