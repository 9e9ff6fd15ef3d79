"""Runs whose network lies on two processes: the numbers, the files and the checkpoints of one device."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.errors import UserError
from alexnet.runs.directory import RESULT_FILE
from alexnet.training.distributed import check_gpus, detect, requested_world_size
from alexnet.training.fit import preflight
from alexnet.training.module import AlexNetModule
from tests.training.conftest import MakeJob, checkpoint, execute, state
from tests.training.test_wandb_server import stop_after_the_first_epoch

TWO, BOTH = "devices=model_parallel", "devices=[model_parallel,ddp]"
CLOSE = 1e-5


def assert_close(one: Path, other: Path) -> None:
    """Two runs ended alike but for rounding: weights, velocities and probabilities, over the largest of each."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert float((value - second[key]).abs().max()) <= CLOSE * float(value.abs().max()), key
    for file in ("first_layer.npz", "probabilities.npz"):
        with np.load(one / file) as mine, np.load(other / file) as theirs:
            assert mine.files == theirs.files
            for name in (name for name in mine.files if mine[name].dtype.kind == "f"):
                np.testing.assert_allclose(theirs[name], mine[name], rtol=0, atol=CLOSE)


def kept(directory: Path) -> list[str]:
    """The rows of metrics.csv with their times, which tell whether an epoch was trained again."""
    (directory / RESULT_FILE).unlink()
    return (directory / "metrics.csv").read_text().splitlines()


def groups(directory: Path) -> Any:
    return checkpoint(directory)["optimizer_states"][0]["param_groups"]


@pytest.mark.slow
def test_two_devices_continue_what_one_began_and_the_reverse(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed, alone = tmp_path / "mixed", tmp_path / "alone"
    stop_after_the_first_epoch(tiny(), mixed, monkeypatch)
    before = kept(mixed)
    result, _ = execute(tiny(TWO), mixed)
    assert result.device.startswith("2 processes, each on cpu")
    expected, _ = execute(tiny(), alone)
    assert result.errors == expected.errors and result.parameters == expected.parameters
    assert groups(mixed) == groups(alone)
    assert_close(alone, mixed)

    after = kept(mixed)
    assert len(after) == len(before) + 1 and after[: len(before)] == before
    tested, _ = execute(tiny(), mixed)
    assert tested.device.startswith("cpu: ") and tested.errors == expected.errors
    assert kept(mixed) == after
    assert_close(alone, mixed)


def test_a_half_takes_the_whole_networks_checkpoint(tiny: MakeJob) -> None:
    job = tiny(TWO)
    module = AlexNetModule(job.config, job.tree, preflight(job))
    whole = module.state_dict()
    module.keep_half(1)
    assert whole["net.conv1.weight"].shape != module.state_dict()["net.conv1.weight"].shape
    module.on_load_checkpoint({"state_dict": whole})


OTHERS = {
    "two copies": (BOTH, "devices.replicas=2"),
    "three copies, few images": (BOTH, "devices.replicas=3", "optimizer.batch_size=29"),  # the last has two
    "source": (TWO, "columns=isolated", "recipe=source_2012", "schedule=epochs_20", "schedule.rescale_to_epochs=2"),
    "compiled": (TWO, "classifier.bottleneck=true", "depth=six", "hardware.compile=true"),
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", OTHERS.values(), ids=OTHERS)
def test_other_runs_on_two_devices(tiny: MakeJob, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    on_two_and_on_one(tiny, tmp_path, overrides)
    assert_close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_bfloat16_differs_within_its_rounding(tiny: MakeJob, tmp_path: Path) -> None:
    """As one device in bfloat16 differs from itself in float32: by some percent of conv1's weights, less elsewhere."""
    on_two_and_on_one(tiny, tmp_path, (TWO, "hardware.precision=bf16-mixed"))
    one, two = (checkpoint(tmp_path / name)["state_dict"] for name in ("one", "two"))
    for name in (name for name in one if name.endswith(".weight")):
        assert float((one[name] - two[name]).abs().max()) < 0.1 * float(one[name].abs().max()), name


def on_two_and_on_one(tiny: MakeJob, folder: Path, overrides: tuple[str, ...]) -> None:
    result, _ = execute(tiny(*overrides), folder / "two")
    assert result.status == "finished"
    execute(tiny(*(override for override in overrides if not override.startswith("devices"))), folder / "one")


def test_a_net_with_one_column_is_refused(tiny: MakeJob) -> None:
    with pytest.raises(UserError, match="columns=one has one: choose columns=two"):
        preflight(tiny(TWO, "columns.kind=one"))


@pytest.mark.parametrize(
    ("overrides", "gpus", "processes"),
    [
        ((), 0, 2),
        ((), 8, 2),
        (("devices.replicas=null",), 0, 4),
        (("devices.replicas=null",), 8, 8),
        (("devices.replicas=3",), 0, 6),
    ],
)
def test_a_run_starts_two_processes_for_each_copy(
    overrides: tuple[str, ...], gpus: int, processes: int, tiny: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert requested_world_size(tiny(TWO, *overrides, "hardware.accelerator=auto").config) == processes


def test_one_gpu_does_not_hold_two_columns(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for replicas in ("1", "null"):
        with pytest.raises(UserError, match=r"devices\.replicas=1, 2 for each: this takes 2 GPUs, and there is 1"):
            check_gpus(tiny(TWO, f"devices.replicas={replicas}", "hardware.accelerator=auto").config)
    check_gpus(tiny(TWO).config)  # on the CPU
    check_gpus(tiny("hardware.accelerator=auto").config)


def test_more_processes_than_a_machine_can_hold_are_one_line(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"devices\.replicas=1000: this machine.s CPUs can hold \d+ at most"):
        check_gpus(tiny("devices=ddp", "devices.replicas=1000").config)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"Apple's GPU.*devices=single or hardware.accelerator=cpu"):
        check_gpus(tiny("devices=ddp", "hardware.accelerator=auto").config)


def test_neighbours_hold_one_network(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for rank in range(4):
        monkeypatch.setattr(os, "environ", started(rank, 4))
        world = detect(tiny(TWO, "devices.replicas=null").config)
        places.append((world.replica.index, world.replica.count, world.column))
    assert places == [(0, 2, 0), (0, 2, 1), (1, 2, 0), (1, 2, 1)]


@pytest.mark.parametrize(
    ("size", "overrides", "wrong"),
    [(3, ("devices.replicas=null",), "cannot be divided into pairs"), (4, (), "wants devices.replicas=1, 2 for each")],
)
def test_processes_that_are_no_pairs_are_refused(
    size: int, overrides: tuple[str, ...], wrong: str, tiny: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", started(0, size))
    with pytest.raises(UserError, match=wrong):
        detect(tiny(TWO, *overrides).config)


def started(rank: int, size: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {"RANK": f"{rank}", "WORLD_SIZE": f"{size}", "LOCAL_RANK": f"{rank}", "LOCAL_WORLD_SIZE": f"{size}"}
