"""The LightningDataModule: batches of a pack, planned epoch by epoch."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import lightning as L
import torch
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.config.values import limited_images
from alexnet.data.augment import AugmentedBatch, CropGeometry, EpochPlan, NumbaAugmenter, RawBatch, draw_epoch
from alexnet.data.loading import (
    AugmentedBatches,
    Loader,
    Made,
    NvjpegDecoder,
    Reader,
    Resident,
    batch_parts,
    loader_threads,
    test_batch_size,
    test_splits,
    val_splits,
)
from alexnet.data.pack.pack import BackgroundVerifier, Pack
from alexnet.sharding import Replica


class PackDataModule(L.LightningDataModule):
    """Batches of a pack for any trainer, or for none.

    For a CPU, the threads that load a batch also augment it, in one pass. For other devices batches are whole uint8
    images with their random draws: Lightning moves them, and the module augments them there.

    Each epoch has its own plan: give the trainer `reload_dataloaders_every_n_epochs=1`.
    """

    def __init__(self, pack: Pack, config: Config, replica: Replica = Replica(), *, processes: int = 1) -> None:
        """`processes` is the number of processes that load batches on this machine."""
        super().__init__()
        self.pack, self.config = pack, config
        self.replica, self.processes = replica, processes
        self.geometry = CropGeometry(image_size=config.scale.image_size, crop_size=config.scale.crop_size)
        self.evaluated = test_splits(pack)
        """Splits on which a finished run is evaluated."""
        self.watch = BackgroundVerifier(pack)
        self._loaders: dict[str, Loader[Any]] = {}
        self._residents: dict[str, Resident | None] = {}

    def epoch_plan(self, epoch: int) -> EpochPlan:
        """Draw what happens to the training images in an epoch, counted from 0."""
        return draw_epoch(
            seed=self.config.seed,
            epoch=epoch,
            images=len(self.pack.splits["train"]),
            positions=self.geometry.positions(self.config.crops),
            images_per_crop=self.config.crops.images_per_crop,
            reshuffle=self.config.shuffle.each_epoch,
        )

    def train_dataloader(self) -> Loader[RawBatch | AugmentedBatch]:
        """Return the batches of the trainer's current epoch; without a trainer, of the first."""
        self.watch.start()
        epoch = 0 if self.trainer is None else self.trainer.current_epoch
        plan = self.epoch_plan(epoch)
        turns = self.config.hardware.accumulate_grad_batches
        parts = batch_parts(self.images("train", "train"), self.config.optimizer.batch_size, self.replica, turns=turns)
        if self._device.type == "cpu":
            return self._loader("training", self._augmented(plan, epoch, parts), parts)
        source = self._source("train")
        return self._loader("training", source.training(plan), parts, resident=isinstance(source, Resident))

    def _augmented(self, plan: EpochPlan, epoch: int, parts: list[slice]) -> AugmentedBatches:
        augment = NumbaAugmenter(
            self.pack.statistics,
            self.geometry,
            crops=self.config.crops,
            color=self.config.color,
            color_on=self.config.color_is_on(epoch),
        )
        threads = self.config.hardware.loader_threads or 1
        return AugmentedBatches(self.pack.splits["train"], plan, augment, parts=parts, threads=threads)

    def val_dataloader(self) -> list[Loader[tuple[Tensor, Tensor]]]:
        batch_size = self.config.hardware.eval_batch_size
        return [self._plain(name, batch_size, "val") for name in val_splits(self.pack, self.config)]

    def test_dataloader(self) -> list[Loader[tuple[Tensor, Tensor]]]:
        batch_size = test_batch_size(self.config.hardware.eval_batch_size, self._device)
        return [self._plain(name, batch_size, "test") for name in self.evaluated]

    def _plain(self, name: str, batch_size: int, stage: str) -> Loader[tuple[Tensor, Tensor]]:
        parts, source = batch_parts(self.images(name, stage), batch_size, self.replica), self._source(name)
        return self._loader(name, source.evaluation, parts, resident=isinstance(source, Resident))

    def images(self, split: str, stage: str) -> int:
        """Return how many images of a split the stage `train`, `val` or `test` uses.

        Lightning's own limits would count batches of the hardware's size, and leave a loader within its epoch, where a
        resumed run would continue.
        """
        limit = getattr(self.config.trainer, f"limit_{stage}_batches")
        return limited_images(len(self.pack.splits.get(split, ())), limit, batch_size=self.config.optimizer.batch_size)

    def _source(self, name: str) -> Reader | Resident:
        """Return what makes the batches of a split: the GPU's memory, if the split is small enough to stay there."""
        split = self.pack.splits[name]
        if name not in self._residents:
            self._residents[name] = Resident.if_fitting(split, self._device)
        return self._residents[name] or Reader(split, self._device, self._decoder)

    def _loader(
        self, use: str, make: Callable[[slice], Made], parts: list[slice], *, resident: bool = False
    ) -> Loader[Made]:
        """Make a loader, which ends the one before it for the same use."""
        if use in self._loaders:
            self._loaders[use].close()
        wanted, nvjpeg = self.config.hardware.loader_threads, not resident and self._decoder is not None
        threads = 1 if resident else loader_threads(wanted, self._device, processes=self.processes, nvjpeg=nvjpeg)
        loader = Loader(make, parts=parts, threads=threads, stop=self.watch.raise_if_damaged)
        self._loaders[use] = loader
        return loader

    def close(self, *_: Any, **__: Any) -> None:
        """Stop the threads of all loaders; those of an unfinished epoch would otherwise outlive it."""
        for loader in self._loaders.values():
            loader.close()
        self._loaders.clear()

    teardown = on_exception = close

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    @cached_property
    def _decoder(self) -> NvjpegDecoder | None:
        """The GPU's decoder, for all splits; None if the CPU decodes."""
        return NvjpegDecoder(self._device) if self.config.data.decoder == "nvjpeg" else None
