"""The loop that Lightning runs: one optimizer step per batch, and batches on the module's device."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partialmethod
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alexnet.data import loading
from alexnet.data.augment import RawBatch
from alexnet.data.pack.prepare import open_data
from alexnet.training.datamodule import PackDataModule
from alexnet.training.module import AlexNetModule
from alexnet.training.optimizer import SGD2012
from tests.training.conftest import MakeJob

BARE = {
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
    "reload_dataloaders_every_n_epochs": 1,
}
"""Any trainer will do: none of this project's callbacks is needed to train."""


def test_training_step_many_short_epochs_makes_one_update_per_batch(tiny: MakeJob) -> None:
    """Epochs of one update, far shorter than a display's refresh: their number must not matter."""
    job = tiny("optimizer.batch_size=64")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    module, trainer = AlexNetModule(job.config, job.tree, pack), L.Trainer(**BARE, accelerator="cpu", max_epochs=40)
    trainer.fit(module, PackDataModule(pack, job.config))
    assert trainer.global_step == trainer.current_epoch == 40


class StandIn(Accelerator):
    """The device `meta` in place of a GPU that is not NVIDIA's, such as Apple's: it refuses tensors of the CPU."""

    @staticmethod
    def name() -> str:
        return "stand-in"

    @staticmethod
    def parse_devices(devices: int) -> int:
        return devices

    @staticmethod
    def get_parallel_devices(devices: int) -> list[torch.device]:
        return [torch.device("meta")] * devices

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    def get_device_stats(self, device: object) -> dict[str, float]:
        return {}

    def setup_device(self, device: torch.device) -> None: ...

    def teardown(self) -> None: ...


class StandInStrategy(SingleDeviceStrategy):
    """Lightning counts batches on the device, and takes the module back to the CPU: neither can be done on `meta`."""

    def reduce(self, tensor: Tensor, *_: object, **__: object) -> Tensor:
        return torch.ones(())

    def teardown(self) -> None: ...


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_batches_other_device_than_cuda_arrive_there(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and validation; raw batches, which that device augments."""
    job = tiny()
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    seen: list[Tensor] = []
    monkeypatch.setattr(AlexNetModule, "training_step", lambda _module, batch, _batch_idx: seen.extend(batch))
    monkeypatch.setattr(AlexNetModule, "validation_step", lambda _module, batch, _batch_idx: seen.extend(batch))
    trainer = L.Trainer(
        **{**BARE, "limit_val_batches": 1.0},
        accelerator=StandIn(),
        strategy=StandInStrategy(device=torch.device("meta")),
        max_epochs=1,
    )
    trainer.fit(AlexNetModule(job.config, job.tree, pack), PackDataModule(pack, job.config))
    raw, evaluated = 4 * len(RawBatch._fields), 2
    assert len(seen) == raw + evaluated and {tensor.device.type for tensor in seen} == {"meta"}


class HostWork(TorchDispatchMode):
    """Notes operations that read a tensor of the CPU, besides numbers, which are arguments of kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations += 1
        read = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if any(tensor.device.type == "cpu" and tensor.ndim for tensor in read):
            self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


class Watched(L.Callback):
    """Watches every epoch's steps, and the test's."""

    def __init__(self) -> None:
        self.mode = HostWork()

    def on_train_epoch_start(self, *_: object) -> None:
        self.mode.__enter__()

    def on_train_epoch_end(self, *_: object) -> None:
        self.mode.__exit__(None, None, None)

    on_test_epoch_start, on_test_epoch_end = on_train_epoch_start, on_train_epoch_end


def unfused(module: AlexNetModule, configure: Callable[[AlexNetModule], SGD2012]) -> SGD2012:
    """The optimizer without the fused kernel, which `meta` lacks; the rest is the same."""
    optimizer = configure(module)
    for group in optimizer.param_groups:
        group["fused"] = False
    return optimizer


def test_resident_images_no_step_waits_for_its_device_or_copies_to_it(
    tiny: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the stand-in, which raises where the CPU would wait for a value: two epochs of steps; no stream is made."""
    job = tiny("optimizer.batch_size=64")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    monkeypatch.setattr(loading, "free_memory_bytes", lambda _: 2**40)
    streams: list[object] = []
    monkeypatch.setattr(torch.cuda, "Stream", streams.append)
    monkeypatch.setattr(
        AlexNetModule, "configure_optimizers", partialmethod(unfused, AlexNetModule.configure_optimizers)
    )
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # `meta` has none
    watched = Watched()
    trainer = L.Trainer(
        **BARE, accelerator=StandIn(), strategy=StandInStrategy(device=torch.device("meta")), max_epochs=2,
        callbacks=[watched],
    )  # fmt: skip
    module, data = AlexNetModule(job.config, job.tree, pack), PackDataModule(pack, job.config)
    trainer.fit(module, data)
    assert trainer.global_step == 2 and (trained := watched.mode.operations) > 2 * 50
    trainer.test(module, data, verbose=False)
    assert watched.mode.operations > trained + 2 * 10 * 10
    assert not watched.mode.seen and not streams


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_datamodule_training_that_fails_leaves_no_thread(tiny: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny("optimizer.batch_size=4")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)

    def fail(_module: AlexNetModule, _batch: object, batch_idx: int) -> None:
        if batch_idx == 2:
            raise ArithmeticError

    monkeypatch.setattr(AlexNetModule, "training_step", fail)
    before = set(threading.enumerate())
    with pytest.raises(ArithmeticError):
        L.Trainer(**BARE, accelerator="cpu", max_epochs=1).fit(
            AlexNetModule(job.config, job.tree, pack), PackDataModule(pack, job.config)
        )
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("ThreadPoolExecutor")}


def test_datamodule_without_a_trainer_gives_every_image(tiny: MakeJob) -> None:
    job = tiny()
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    data = PackDataModule(pack, job.config)
    labels = torch.cat([batch.labels for batch in data.train_dataloader()])
    assert sorted(labels.tolist()) == sorted(pack.splits["train"].labels.tolist())
    data.close()
