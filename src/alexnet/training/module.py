"""The LightningModule: the network, its augmentation on a GPU, its optimizer, and exact counts of its errors."""

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from alexnet.config.identity import NUMERICS
from alexnet.config.schema import Config, ConfigTree
from alexnet.config.values import limited_images
from alexnet.data.augment import AugmentedBatch, Augmenter, CropGeometry, RawBatch
from alexnet.data.loading import test_splits, val_splits
from alexnet.data.pack.pack import Pack
from alexnet.errors import START_OVER, UserError
from alexnet.evaluation import VIEWS, MeanLoss, PredictionStore, TopKErrors, center_logits, probabilities
from alexnet.net.alexnet import AlexNet
from alexnet.net.compilers import triton_available
from alexnet.net.dropout import set_position
from alexnet.net.layers import at_least_float32
from alexnet.net.two_devices import ColumnShard
from alexnet.sharding import Replica
from alexnet.training.optimizer import SGD2012, parameter_groups

KEPT_BYTES = 2**26
"""Runs keep the probabilities of all classes up to this size; `alexnet evaluate` writes larger ones."""


class AlexNetModule(L.LightningModule):
    """Trains on the planned batches, augmenting raw ones; tests on the center crop and the ten patches."""

    def __init__(self, config: Config, tree: ConfigTree, pack: Pack, replica: Replica = Replica()) -> None:
        super().__init__()
        self.config = config
        self.replica = replica
        self.counts = True
        """Whether this process counts what the network says."""
        self.turns = config.hardware.accumulate_grad_batches
        self.training_images = limited_images(
            len(pack.splits["train"]), config.trainer.limit_train_batches, batch_size=config.optimizer.batch_size
        )
        self.description = {
            "config": tree,
            "class_names": pack.class_names,
            "data_fingerprint": pack.fingerprint,
            "numerics": NUMERICS,
        }
        classes = len(pack.class_names)
        self.net: AlexNet | ColumnShard = AlexNet(config, num_classes=classes, seed=config.seed)
        geometry = CropGeometry(image_size=config.scale.image_size, crop_size=config.scale.crop_size)
        self.augmenter = Augmenter(pack.statistics, geometry, crops=config.crops, color=config.color)
        self.train_loss, self.val_loss = MeanLoss(), MeanLoss()
        self.train_errors, self.val_errors, self.train_set_errors = (TopKErrors(classes) for _ in range(3))
        self.epoch_metrics: dict[str, Metric] = {"loss": self.train_loss, "errors": self.train_errors}
        """Those over the batches of a training epoch."""
        tested = sum(len(pack.splits[split]) for split in test_splits(pack))
        few = tested * classes * len(VIEWS) * torch.float32.itemsize <= KEPT_BYTES
        self.predictions = PredictionStore(keep_probabilities=few)
        self.validated = val_splits(pack, config)
        self._saved_shapes = {(name, tensor.shape) for name, tensor in self.state_dict().items()}
        """Of the whole network: checkpoints of two devices hold both halves as one."""

    def keep_half(self, column: int) -> None:
        """Keep the half of the network, with its present weights, that belongs to one of two processes.

        Both see the same images, and the first alone counts them.
        """
        assert isinstance(self.net, AlexNet)
        self.net = ColumnShard(self.net, self.config, column=column)
        self.counts = column == 0

    def configure_optimizers(self) -> SGD2012:
        optimizer = self.config.optimizer
        groups = parameter_groups(self.net, optimizer, [f"conv{number}" for number in self.config.late_changes.layers])
        return SGD2012(groups, lr=optimizer.lr, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay)

    def on_fit_start(self) -> None:
        if triton_available(self.device):  # into one kernel, as it is bound by memory
            self.augmenter.compile()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Plain values only, so that torch loads the file without running code from it.
        checkpoint["alexnet"] = self.description | {"threads": torch.get_num_threads()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = {(name, tensor.shape) for name, tensor in checkpoint["state_dict"].items()}
        if saved != self._saved_shapes:
            names = ", ".join(sorted({name for name, _ in saved ^ self._saved_shapes}))
            path = self.trainer.ckpt_path
            raise UserError(f"{path}: missing, of another size or of another network: {names}; {START_OVER}")

    def on_train_start(self) -> None:
        self._switch_color()  # a run resumed in the middle of an epoch does not start one

    def on_train_epoch_start(self) -> None:
        for metric in self.epoch_metrics.values():
            metric.reset()
        self._switch_color()

    def _switch_color(self) -> None:
        self.augmenter.color_on = self.config.color_is_on(self.current_epoch)

    def training_step(self, batch: RawBatch | AugmentedBatch, batch_idx: int) -> Tensor:
        """Return the mean loss over the batch's images, under this step's dropout masks; count it and the errors.

        A copy of the network returns its share of the loss, scaled for the mean over all copies and turns.
        """
        batch_number, turn = divmod(batch_idx, self.turns)
        size = self.config.optimizer.batch_size
        whole = min(size, self.training_images - batch_number * size)
        part = self.replica.part(whole, turn=turn, turns=self.turns)
        set_position(self.net, self.global_step, part.first)
        inputs = batch.inputs if isinstance(batch, AugmentedBatch) else self.augmenter(batch)
        logits = at_least_float32(self.net(inputs))
        if part.count == 0:  # fewer images than copies of the network; the others still wait for its gradient
            return logits.sum()
        loss = F.cross_entropy(logits, batch.labels)
        if self.counts:
            self.train_loss.update(loss, part.count)
            self.train_errors.update(logits.detach(), batch.labels)
        # DDP takes the mean over the copies, Lightning over the turns; what is wanted is the mean over the images.
        shares = self.replica.count * self.turns
        return loss * (shares * part.count / whole) if shares > 1 else loss

    def images_before(self, batch_idx: int) -> int:
        """Count the training images of an epoch that are done before this part of a batch."""
        return min(batch_idx // self.turns * self.config.optimizer.batch_size, self.training_images)

    def on_validation_epoch_start(self) -> None:
        self.val_loss.reset()
        self.val_errors.reset()
        self.train_set_errors.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        images, labels = batch
        if not len(labels):
            return
        logits = center_logits(self.net, self.augmenter, images)
        if not self.counts:
            return
        if self.validated[dataloader_idx] == "train":
            self.train_set_errors.update(logits, labels)
            return
        self.val_loss.update(F.cross_entropy(logits, labels), len(labels))
        self.val_errors.update(logits, labels)

    def on_test_start(self) -> None:
        self.predictions.clear()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        images, labels = batch
        if not len(labels):
            return
        # Always in float32, so that the errors of a run are those that `alexnet evaluate` finds.
        with torch.autocast(self.device.type, enabled=False):
            seen = probabilities(self.net, self.augmenter, images)
        for view, scores in seen.items() if self.counts else ():
            self.predictions.add(dataloader_idx, view, batch_idx, labels, scores)
