"""What training takes: device-hours, and energy by the counters of the machine where they can be read."""

import ctypes
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from alexnet.devices import gpu_names
from alexnet.errors import first_line
from alexnet.runs.result import Energy
from alexnet.training.distributed import DistributedContext

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
        try:
            self._counters = open_counters()
            if before is None:
                raise OSError("an earlier part of the run did not measure them")
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
        self._begun = False

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
        device = trainer.strategy.root_device  # at the end of a fit the module is on the CPU again
        if trainer.is_global_zero:
            for name in ("cpu",) if device.type == "cpu" else ("cpu", "gpu"):
                self._parts[name] = _Part(SOURCES[name], partial(self._open, name, device), before.get(name))
        self._last, self._begun = self._clock(), True

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._last is not None and self._clock() - self._last > SECONDS_BETWEEN_READINGS:
            self._take()

    on_validation_batch_end = on_train_batch_end

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take()
        self._last = None

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._begun:  # resumed after its last step: what earlier parts took is all
            self.on_train_start(trainer, pl_module)
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
