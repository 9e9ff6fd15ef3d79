"""A trained network, loaded from its file for inference."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alexnet.config.compose import validate
from alexnet.config.schema import Config
from alexnet.data.batches.augment import Augmenter, CropGeometry
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.statistics import PixelStats
from alexnet.devices import choose_device, use_exact_float32
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.runs.directory import CHECKPOINTS, weights_file
from alexnet.trained.weights import BUFFERS, Weights, read_weights


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained network in evaluation mode, on its device."""

    net: AlexNet
    augmenter: Augmenter
    """Uses the mean image of the net's training images, also for other images."""
    config: Config
    class_names: list[str]
    weights: Weights
    path: Path
    """The file that it came from."""
    device: torch.device

    @property
    def directory(self) -> Path:
        """The run directory that the file is in, else its folder."""
        folder = self.path.resolve().parent
        return folder.parent if folder.name == CHECKPOINTS else folder

    @property
    def name(self) -> str:
        """The name of the run directory that the file is in, else of the file."""
        return self.directory.name if self.path.resolve().parent.name == CHECKPOINTS else self.path.stem


def load_trained(path: Path, device: torch.device | None = None) -> TrainedModel:
    """Load a run directory (its last checkpoint) or a file of weights; by default onto a GPU if there is one.

    Raises:
        UserError: there is no such file, it is damaged, or it is not a network of this program.
    """
    file = weights_file(path)
    weights = read_weights(file)
    device = device or choose_device()
    use_exact_float32()
    try:
        config = validate(weights.config)
        net = AlexNet(config, num_classes=len(weights.class_names), seed=None)
        net.load_state_dict(weights.model_state)
        size = config.scale.image_size
        no_statistics = PixelStats(
            mean_image=np.zeros((size, size, 3), np.float32),
            covariance=np.zeros((3, 3)),
            eigenvalues=np.zeros(3),
            eigenvectors=np.zeros((3, 3)),
        )
        geometry = CropGeometry(image_size=size, crop_size=config.scale.crop_size)
        augmenter = Augmenter(no_statistics, geometry, crops=config.crops, color=config.color)
        augmenter.load_state_dict({name: weights.tensors[name] for name in BUFFERS})
    except UserError as error:
        raise UserError(f"{file}: made by another version of this program: {error}") from None
    except (RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"{file}: its weights do not fit its configuration") from error
    return TrainedModel(
        net=net.to(device).eval().requires_grad_(False),
        augmenter=augmenter.to(device),
        config=config,
        class_names=weights.class_names,
        weights=weights,
        path=file,
        device=device,
    )


def check_classes(trained: TrainedModel, pack: Pack) -> None:
    """Refuse a pack whose classes or image size differ from the network's.

    Raises:
        UserError: names the first difference.
    """
    ours, theirs = trained.class_names, pack.class_names
    if len(ours) != len(theirs):
        raise UserError(f"{trained.path} has {len(ours):,} classes, but {pack.path} has {len(theirs):,}")
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine != other:
            raise UserError(f"class {number} is {mine} in {trained.path}, but {other} in {pack.path}")
    size = trained.config.scale.image_size
    if pack.image_size != size:
        raise UserError(
            f"{trained.path} takes images of {size} pixels, but {pack.path} has {pack.image_size}:"
            f" alexnet prepare SOURCE PACK --size {size}"
        )
