"""The LightningDataModule: batches of a pack, planned epoch by epoch."""

from collections.abc import Iterator

import lightning as L
import numpy as np
import torch
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.data.augment import Batch, CropGeometry
from alexnet.data.pack import Pack, Split
from alexnet.data.plan import EpochPlan, draw_epoch


class TrainingBatches:
    """The batches of one planned epoch; the last may be smaller, as in the 2012 source."""

    def __init__(self, split: Split, plan: EpochPlan, batch_size: int) -> None:
        self.split = split
        self.plan = plan
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.split), self.batch_size):
            part = slice(start, start + self.batch_size)
            indices = self.plan.order[part]
            yield Batch(
                images=torch.from_numpy(self.split.gather(indices)),
                labels=torch.from_numpy(self.split.labels[indices]),
                offsets=torch.from_numpy(self.plan.offsets[part]),
                flips=torch.from_numpy(self.plan.flips[part]),
                colors=torch.from_numpy(self.plan.colors[part]),
            )


class EvaluationBatches:
    """Every image of a split once, in order: uint8 images [n, S, S, 3] and int64 labels [n]."""

    def __init__(self, split: Split, batch_size: int) -> None:
        self.split = split
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.split), self.batch_size):
            indices = np.arange(start, min(start + self.batch_size, len(self.split)))
            yield torch.from_numpy(self.split.gather(indices)), torch.from_numpy(self.split.labels[indices])


def validated_splits(pack: Pack, config: Config) -> list[str]:
    """Splits that the network is evaluated on after every epoch, in order; `train` only where the schedule asks."""
    wanted = ["val", *(["train"] if config.schedule.until_train_error is not None else [])]
    return [name for name in wanted if name in pack.splits]


def evaluated_splits(pack: Pack) -> list[str]:
    """Splits that a trained network is judged on."""
    return [name for name in ("val", "test") if name in pack.splits]


class PackDataModule(L.LightningDataModule):
    """Augmentation happens on the device: batches hold whole uint8 images and their draws.

    The trainer must reload the training batches every epoch, since each epoch has a plan of its own.
    """

    def __init__(self, pack: Pack, config: Config) -> None:
        super().__init__()
        self.pack = pack
        self.config = config
        self.geometry = CropGeometry(image_size=config.scale.image_size, crop_size=config.scale.crop_size)

    @property
    def evaluated(self) -> list[str]:
        """Splits that a finished run is evaluated on."""
        return evaluated_splits(self.pack)

    def train_dataloader(self) -> TrainingBatches:
        assert self.trainer is not None
        split = self.pack.splits["train"]
        plan = draw_epoch(
            seed=self.config.seed,
            epoch=self.trainer.current_epoch,
            images=len(split),
            positions=self.geometry.positions(self.config.crops),
            images_per_draw=self.config.crops.images_per_draw,
            reshuffle=self.config.shuffle.every_epoch,
        )
        return TrainingBatches(split, plan, self.config.optimizer.batch_size)

    def val_dataloader(self) -> list[EvaluationBatches]:
        splits = [self.pack.splits[name] for name in validated_splits(self.pack, self.config)]
        return [EvaluationBatches(split, self.config.hardware.eval_batch_size) for split in splits]

    def test_dataloader(self) -> list[EvaluationBatches]:
        batch_size = max(1, self.config.hardware.eval_batch_size // 10)  # ten crops of each image
        return [EvaluationBatches(self.pack.splits[name], batch_size) for name in self.evaluated]
