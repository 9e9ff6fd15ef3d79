"""What watches a run from a thread while it trains: whether it still moves, and what it takes.

That is device-hours, and energy by the counters of the machine where they can be read.
"""

import ctypes
import faulthandler
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from alexnet.devices import gpu_names
from alexnet.errors import first_line
from alexnet.files import replace_file
from alexnet.runs.directory import STACKS_FILE
from alexnet.runs.result import Energy
from alexnet.training.world import DistributedContext

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


POWERCAP = Path("/sys/class/powercap")
SECONDS_BETWEEN_READINGS = 60.0
"""The counter of a processor starts over after some ten minutes at the earliest, and each turn must be seen."""
SOURCES = {
    "cpu": "processors by RAPL: whole packages, with all that ran on them",
    "gpu": "GPUs by NVML: whole ones, with all that ran on them",
}
UNREADABLE = (OSError, ValueError, AttributeError)
"""What reading a counter raises where there is none, or it may not be read, or a driver is too old to have it."""


class Counter:
    """A counter of microjoules that rises, and starts over from 0 beyond its largest value."""

    def __init__(self, read: Callable[[], int], largest: int = 0) -> None:
        self._read, self._largest, self._last = read, largest, read()

    def joules(self) -> float:
        """Return what was counted since the last call; raises UNREADABLE."""
        before, self._last = self._last, self._read()
        counted = self._last - before
        return (counted if counted >= 0 else counted + self._largest) / 1e6


def rapl_counters(powercap: Path = POWERCAP) -> list[Counter]:
    """Return a counter for each processor package; their parts, and the machine as a whole, would count twice.

    OSError: there are none, or root alone may read them, as on most systems.
    """
    zones = sorted(name.parent for name in powercap.glob("intel-rapl:*/name") if name.read_text().startswith("package"))
    if not zones:
        raise OSError(f"no RAPL in {powercap}")
    return [Counter(partial(_number, zone / "energy_uj"), _number(zone / "max_energy_range_uj")) for zone in zones]


def _number(file: Path) -> int:
    return int(file.read_text())


def nvml_counters(gpus: Sequence[str]) -> list[Counter]:
    """Return a counter for each NVIDIA GPU of these names, by the library of the driver.

    OSError: there is no such library, or a GPU does not count, as those before Volta and parts of one.
    """
    library = ctypes.CDLL("libnvidia-ml.so.1")
    _check(library.nvmlInit_v2())
    counters = []
    for gpu in gpus:
        handle = ctypes.c_void_p()
        _check(library.nvmlDeviceGetHandleByUUID(gpu.encode(), ctypes.byref(handle)))
        counters.append(Counter(partial(_gpu_microjoules, library, handle)))
    return counters


def _gpu_microjoules(library: ctypes.CDLL, handle: ctypes.c_void_p) -> int:
    millijoules = ctypes.c_ulonglong()
    _check(library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)))
    return millijoules.value * 1000


def _check(code: int) -> None:
    if code:
        raise OSError(f"NVML answers with error {code}")


class _Part:
    """The processors, or the GPUs: what their counters have counted, or why that is not known."""

    def __init__(self, name: str, open_counters: Callable[[], list[Counter]], before: float | None) -> None:
        self.source, self.joules = name, before
        if before is None:
            self.source = f"{name.partition(' ')[0]}: unknown, since an earlier part of the run has not measured them"
            return
        try:
            self._counters = open_counters()
        except UNREADABLE as error:
            self._give_up(error)

    def take(self) -> None:
        """Add what was counted since the last call."""
        if self.joules is not None:
            try:
                self.joules += sum(counter.joules() for counter in self._counters)
            except UNREADABLE as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.source, self.joules = f"{self.source.partition(' ')[0]}: unknown, {first_line(error)}", None


class EnergyMeter(L.Callback):
    """Measures training from its first step to its last, validation included; a resumed run adds up its parts.

    The first process counts for all. Must come before the callbacks that save checkpoints.
    """

    def __init__(
        self, world: DistributedContext, *, powercap: Path = POWERCAP, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._world, self._powercap, self._clock = world, powercap, clock
        self._loaded: dict[str, float | None] | None = None
        self._device_seconds: float | None = 0.0
        self._parts: dict[str, _Part] = {}
        self._last: float | None = None

    @property
    def device_hours(self) -> float | None:
        """Devices times hours; None if an earlier part of the run was not measured."""
        return None if self._device_seconds is None else self._device_seconds / 3600

    @property
    def energy(self) -> Energy:
        """What the counters have counted, in joules."""
        joules = {f"{name}_joules": part.joules for name, part in self._parts.items()}
        return Energy(**joules, source="; ".join(part.source for part in self._parts.values()))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        before = self._loaded
        if before is None:
            before = {"device_seconds": 0.0, "cpu": 0.0, "gpu": 0.0} if trainer.global_step == 0 else {}
        self._device_seconds = before.get("device_seconds")
        if trainer.is_global_zero:
            for name in ("cpu",) if pl_module.device.type == "cpu" else ("cpu", "gpu"):
                self._parts[name] = _Part(SOURCES[name], partial(self._open, name, pl_module.device), before.get(name))
        self._last = self._clock()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._last is not None and self._clock() - self._last > SECONDS_BETWEEN_READINGS:
            self._take()

    on_validation_batch_end = on_train_batch_end

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take()
        self._last = None

    def state_dict(self) -> dict[str, Any]:
        self._take()
        return {"device_seconds": self._device_seconds, **{name: part.joules for name, part in self._parts.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def _open(self, name: str, device: torch.device) -> list[Counter]:
        if self._world.size > self._world.local_size:
            raise OSError("the run is on several machines, and one cannot read the others' counters")
        if name == "cpu":
            return rapl_counters(self._powercap)
        gpus = gpu_names(device, self._world.local_size)
        if len(gpus) < self._world.local_size:
            raise OSError("one process does not see all GPUs of the run, or they are not NVIDIA's")
        return nvml_counters(gpus)

    def _take(self) -> None:
        """Add what was used since the last call, while training."""
        if self._last is None:
            return
        before, self._last = self._last, self._clock()
        if self._device_seconds is not None:
            self._device_seconds += self._world.size * (self._last - before)
        for part in self._parts.values():
            part.take()
