"""Device-hours and energy, by counters that the test turns."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alexnet.training.distributed import DistributedContext
from alexnet.training.energy import EnergyMeter, rapl_counters

RANGE = 262_143_328_850  # microjoules, as on many servers


class Machine:
    """A clock, and a tree of counters as in /sys/class/powercap, of two packages, a part of one, and the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0
        for zone, name in (("0", "package-0"), ("0:0", "core"), ("1", "package-1"), ("2", "psys")):
            (folder / f"intel-rapl:{zone}").mkdir(parents=True)
            (folder / f"intel-rapl:{zone}" / "name").write_text(f"{name}\n")
            (folder / f"intel-rapl:{zone}" / "max_energy_range_uj").write_text(f"{RANGE}\n")
            self.set(zone, 5_000_000)

    def set(self, zone: str, microjoules: int) -> None:
        (self.folder / f"intel-rapl:{zone}" / "energy_uj").write_text(f"{microjoules}\n")

    def meter(self, **world: int) -> EnergyMeter:
        return EnergyMeter(DistributedContext(**world), powercap=self.folder, clock=lambda: self.now)


def start(meter: EnergyMeter, *, step: int = 0, device: str = "cpu") -> None:
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer: Any = SimpleNamespace(is_global_zero=True, global_step=step, strategy=strategy)
    meter.on_train_start(trainer, trainer)


def end(meter: EnergyMeter) -> None:
    stage: Any = None
    meter.on_train_end(stage, stage)


def test_packages_are_added_up_over_turns_of_their_counters_and_parts_of_a_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.meter(size=2, local_size=2)
    start(first)
    machine.now = 1800.0
    machine.set("0", 15_000_000)
    machine.set("1", RANGE - 1)
    machine.set("0:0", 999_000_000)
    first.on_train_batch_end()
    machine.set("1", 2_999_999)
    saved = first.state_dict()
    assert saved["cpu"] == pytest.approx(10 + RANGE / 1e6 - 5 + 3)

    machine.now = 9000.0
    second = machine.meter(size=2, local_size=2)
    second.load_state_dict(saved)
    start(second, step=100)
    machine.now += 900.0
    machine.set("0", 16_000_000)
    end(second)
    machine.set("0", 90_000_000)  # the test after it
    assert second.device_hours == pytest.approx(2 * 0.75)
    assert second.energy.cpu_joules == pytest.approx(saved["cpu"] + 1)
    assert second.energy.gpu_joules is None
    assert second.energy.source == "processors by RAPL: whole packages, with all that ran on them"


def test_what_cannot_be_read_is_null_and_said(tmp_path: Path) -> None:
    unmeasured = Machine(tmp_path / "a").meter()
    start(unmeasured, step=100)  # from the checkpoint of an earlier version
    end(unmeasured)
    assert unmeasured.device_hours is None and unmeasured.energy.cpu_joules is None
    assert "an earlier part of the run did not measure them" in unmeasured.energy.source

    absent = EnergyMeter(DistributedContext(), powercap=tmp_path / "none", clock=lambda: 0.0)
    start(absent, device="meta")
    end(absent)
    assert (absent.energy.cpu_joules, absent.energy.gpu_joules) == (None, None)
    assert "processors: unknown, no RAPL in " in absent.energy.source and "GPUs: unknown, " in absent.energy.source
    resumed = EnergyMeter(DistributedContext(), powercap=tmp_path / "none", clock=lambda: 0.0)
    resumed.load_state_dict(absent.state_dict())
    start(resumed, step=100)
    assert resumed.energy.source.startswith("processors: unknown, no RAPL in ")

    broken = Machine(tmp_path / "b")
    meter = broken.meter()
    start(meter)
    (tmp_path / "b" / "intel-rapl:0" / "energy_uj").unlink()
    end(meter)
    assert meter.energy.cpu_joules is None and "No such file" in meter.energy.source
    with pytest.raises(OSError):
        rapl_counters(tmp_path / "b")
