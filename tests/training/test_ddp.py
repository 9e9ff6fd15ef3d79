"""Several processes train the network of one, on the images of one, and count every image once."""

import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from alexnet.config.job import Job
from alexnet.data.loading import batch_parts
from alexnet.data.pack.prepare import open_data
from alexnet.errors import UserError
from alexnet.net.dropout import NonInvertedDropout
from alexnet.processes import Preempted
from alexnet.runs.result import read_result
from alexnet.sharding import Replica
from alexnet.training.datamodule import PackDataModule
from alexnet.training.distributed import DistributedContext, detect, external_launch
from alexnet.training.history import EpochRecord
from alexnet.training.module import AlexNetModule
from tests.training import bodies
from tests.training.conftest import MakeJob, checkpoint, epochs, execute, state
from tests.training.test_preemption import signal_in

STEADY = ("optimizer.lr=0.001", "data.shapes.val_per_class=1", "hardware.threads=1", "optimizer.batch_size=17")
"""60 images in batches of 17, the last of 9: no two or three processes get equal parts. Without a gentle rate, rounding
grows to anything within an epoch, as between one thread and two."""


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
@pytest.mark.parametrize(("images", "batch_size"), [(60, 17), (8, 3), (7, 7), (1, 4)])
def test_every_image_is_in_one_part_of_its_batch(images: int, batch_size: int, replicas: int) -> None:
    parts = [batch_parts(images, batch_size, Replica(index=index, count=replicas)) for index in range(replicas)]
    places = list(range(images))
    for number, first in enumerate(range(0, images, batch_size)):
        seen = [place for mine in parts for place in places[mine[number]]]
        assert seen == places[first : first + batch_size]
    assert {len(mine) for mine in parts} == {math.ceil(images / batch_size)}


@pytest.fixture(scope="module")
def alone(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("alone")
    execute(tiny(*STEADY), directory)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 3])
def test_several_processes_are_one_network(tiny: MakeJob, alone: Path, tmp_path: Path, replicas: int) -> None:
    result, _ = execute(tiny(*STEADY, "devices=ddp", f"devices.replicas={replicas}"), tmp_path)
    assert result.status == "finished" and result.device.startswith(f"{replicas} processes, each on cpu: ")
    expected, moved = state(alone), state(tmp_path)
    for name, value in moved.items():
        assert float((value - expected[name]).abs().max()) <= 1e-5 * float(value.abs().max()), name
    names = list(EpochRecord.__dataclass_fields__)
    for mine, theirs in zip(epochs(tmp_path)[1:], epochs(alone)[1:], strict=True):
        record, other = (dict(zip(names, row, strict=False)) for row in (mine, theirs))
        assert float(record["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-5)
        assert float(record["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-5)
        for error in ("train_top1_error", "train_top5_error", "val_top1_error", "val_top5_error"):
            assert float(record[error]) == float(other[error])
    with np.load(tmp_path / "predictions.npz") as mine, np.load(alone / "predictions.npz") as theirs:
        assert mine.files == theirs.files
        for name in mine.files:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4)
    assert read_result(tmp_path).errors == read_result(alone).errors


@pytest.mark.slow
def test_more_processes_than_images_in_the_last_batch(tiny: MakeJob, tmp_path: Path) -> None:
    """Of 60 images in batches of 59 one is left for the last: a process with none of it goes along."""
    short = ("optimizer.lr=0.001", "optimizer.batch_size=59", "schedule.epochs=1", "schedule.milestones=[]")
    execute(tiny(*short), tmp_path / "one")
    execute(tiny(*short, "devices=ddp"), tmp_path / "two")
    expected, moved = state(tmp_path / "one"), state(tmp_path / "two")
    for name, value in moved.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.slow  # 5 and 8 s
@pytest.mark.parametrize(
    ("body", "message"),
    [(bodies.fail_in_one, "training diverged"), (bodies.die_in_one, r"process 1 of 2 was killed \(SIGKILL\)")],
)
def test_run_one_process_fails_or_dies_is_one_line(
    tiny: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[[Job, Path, int, Console], None],
    message: str,
) -> None:
    monkeypatch.setattr("alexnet.training.run._run_rank", body)
    with pytest.raises(UserError, match=message):
        execute(tiny("devices=ddp"), tmp_path)
    stopped = read_result(tmp_path)
    assert stopped.status == "failed" and stopped.message is not None and re.search(message, stopped.message)


def test_loss_of_two_copies_has_the_gradient_of_one_network(tiny: MakeJob) -> None:
    """The mean over copies, as DDP takes it, under the same dropout masks; the second batch leaves one copy nothing.

    The same of one copy that computes each batch in two turns, whose mean Lightning takes.
    """
    pack = None

    def gradients(replica: Replica, *, turns: int = 1) -> list[list[torch.Tensor]]:
        nonlocal pack
        job = tiny("optimizer.batch_size=59", f"hardware.accumulate_grad_batches={turns}")
        pack = pack or open_data(job.config.data, job.config.scale.image_size, show_progress=False)
        module = AlexNetModule(job.config, job.tree, pack, replica)
        data = PackDataModule(pack, job.config, replica)
        module._trainer = SimpleNamespace(global_step=0)  # type: ignore[assignment]
        found = []
        for index, batch in enumerate(data.train_dataloader()):
            module.zero_grad()
            module.training_step(batch, index).backward()
            found.append([weight.grad.clone() for weight in module.net.parameters() if weight.grad is not None])
        return found

    first, second = (gradients(Replica(index=index, count=2)) for index in range(2))
    turns = gradients(Replica(), turns=2)
    for number, whole in enumerate(gradients(Replica())):
        for parts in ((first[number], second[number]), turns[2 * number : 2 * number + 2]):
            for expected, one, other in zip(whole, *parts, strict=True):
                tolerance = {"rtol": 1e-4, "atol": 1e-6 * float(expected.abs().max())}
                torch.testing.assert_close((one + other) / 2, expected, **tolerance)


def drawn_masks(module: AlexNetModule, data: PackDataModule) -> list[torch.Tensor]:
    """The dropout masks of an epoch of one update, one for each layer, of this process's images."""
    masks: list[list[torch.Tensor]] = []
    for layer in (one for one in module.net.modules() if isinstance(one, NonInvertedDropout)):
        masks.append([])
        layer.register_forward_pre_hook(lambda _, inputs: torch.ones_like(inputs[0]))
        layer.register_forward_hook(lambda *call, kept=masks[-1]: kept.append(call[-1].detach()))
    for index, batch in enumerate(data.train_dataloader()):
        module.training_step(batch, index)
    return [torch.cat(kept) for kept in masks]


def test_masks_are_those_of_one_process_however_a_batch_is_divided(
    tiny: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 images at once; 16 in each of two processes; 16 in each of two turns; and on a device without loops."""

    def masks(*overrides: str, replica: Replica = Replica()) -> list[torch.Tensor]:
        few = "data.shapes.train_per_class=2"  # 40 images, of which 32 and 8 make a batch
        job = tiny("optimizer.batch_size=32", few, *overrides)
        pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
        module = AlexNetModule(job.config, job.tree, pack, replica)
        module._trainer = SimpleNamespace(global_step=7)  # type: ignore[assignment]
        return drawn_masks(module, PackDataModule(pack, job.config, replica))

    expected = masks()
    assert [len(kept) for kept in expected] == [40, 40] and 0.4 < float(expected[0].mean()) < 0.6
    halves = [masks(replica=Replica(index=index, count=2)) for index in range(2)]
    for layer, whole in enumerate(expected):
        for first, size in ((0, 32), (32, 8)):
            half = slice(first // 2, (first + size) // 2)
            together = torch.cat([mine[layer][half] for mine in halves])
            assert torch.equal(together, whole[first : first + size])
    in_turns = masks("hardware.accumulate_grad_batches=2")
    monkeypatch.setattr("alexnet.net.dropout.numba_available", lambda: False)
    for other in (in_turns, masks()):
        assert all(torch.equal(one, whole) for one, whole in zip(other, expected, strict=True))


@pytest.mark.parametrize("then", [2, 3])
def test_run_in_two_turns_makes_the_updates_of_one(tiny: MakeJob, tmp_path: Path, then: int) -> None:
    """Also if it is stopped between the turns of an update, and resumed in as many or in more, for less memory."""
    short = (*STEADY, "schedule.epochs=1", "schedule.milestones=[]")
    execute(tiny(*short), tmp_path / "one")
    with pytest.MonkeyPatch.context() as patch:
        signal_in("training_step", 0, 2, signal.SIGTERM, patch)
        with pytest.raises(Preempted):
            execute(tiny(*short, "hardware.accumulate_grad_batches=2"), tmp_path / "two")
    assert checkpoint(tmp_path / "two")["global_step"] == 2
    execute(tiny(*short, f"hardware.accumulate_grad_batches={then}"), tmp_path / "two")
    expected, moved = state(tmp_path / "one"), state(tmp_path / "two")
    for name, value in moved.items():  # rounding is that of the largest terms of the sums: some 1e-6 of them
        most = 4e-6 * float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], rtol=0, atol=most, msg=name)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, None),
        (
            {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"},
            DistributedContext(rank=5, size=8, local_size=4),
        ),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_ID": "77"}, None),  # a batch script without srun
        (
            {
                "SLURM_STEP_NUM_TASKS": "6",
                "SLURM_PROCID": "4",
                "SLURM_LOCALID": "1",
                "SLURM_STEP_TASKS_PER_NODE": "3(x2)",
                "SLURM_STEP_NODELIST": "node[07-08]",
                "SLURM_JOB_ID": "123456",
            },
            DistributedContext(rank=4, size=6, local_size=3),
        ),
    ],
    ids=["nobody", "torchrun with one", "torchrun", "sbatch", "srun"],
)
def test_the_world_that_others_made(
    environment: dict[str, str], expected: DistributedContext | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    assert external_launch() == expected
    if "SLURM_STEP_NODELIST" in environment:
        named = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")
        assert [environment[name] for name in named] == ["node07", "18456", "1"]


def test_unequal_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "a,b"}
    monkeypatch.setattr(os, "environ", {**step, "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_JOB_ID": "5"})
    with pytest.raises(UserError, match="the same number on each"):
        external_launch()
    torchrun = dict.fromkeys(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"), "1")
    monkeypatch.setattr(os, "environ", {**torchrun, "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "none"})
    with pytest.raises(
        UserError, match="MASTER_PORT=none: torchrun or srun would set it to a number; unset MASTER_PORT"
    ):
        external_launch()
    for lone in ("RANK", "SLURM_PROCID"):  # by which Lightning would take itself for another than the first process
        monkeypatch.setattr(os, "environ", {lone: "1"})
        with pytest.raises(UserError, match=r"incomplete .*: unset RANK, LOCAL_RANK, SLURM_PROCID"):
            external_launch()


def test_a_run_for_one_process_started_by_several_is_refused(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    with pytest.raises(UserError, match="devices=ddp"):
        detect(tiny().config)
    assert detect(tiny("devices=ddp").config).rank == 1
