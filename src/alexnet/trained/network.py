"""A trained network, loaded from its file for inference."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.config.compose import validate
from alexnet.config.schema import Config
from alexnet.data.augment import Augmenter, CropGeometry
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.statistics import PixelStats
from alexnet.devices import choose_device, use_exact_float32
from alexnet.errors import UserError, print_line
from alexnet.net.alexnet import AlexNet
from alexnet.net.plan import layer_specs
from alexnet.net.specs import total_parameters
from alexnet.runs.directory import CHECKPOINTS, LAST, last_checkpoint, weights_file
from alexnet.trained.weights import BUFFERS, Weights, read_weights, unfinished


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
        """The name of the run directory that the file is in, else of the file: `RUN`, and `RUN (best)` of its best."""
        file = self.path.resolve()
        if file.parent.name != CHECKPOINTS:
            return self.path.stem
        return self.directory.name + (f" ({file.stem})" if file.stem != LAST else "")


def load_trained(path: str | Path, device: torch.device | None = None) -> TrainedModel:
    """Load a run directory (its last checkpoint) or a file of weights; by default onto a GPU if there is one.

    Raises:
        UserError: there is no such file, it is damaged, or it is not a network of this program.
    """
    file = weights_file(Path(path))
    trained = build(read_weights(file), file, device)
    if file.resolve() == last_checkpoint(trained.directory) and (status := unfinished(trained.directory)):
        print_line(f"note: {trained.name} has not finished ({status}): this is its net in training", file=sys.stderr)
    return trained


def build(weights: Weights, file: Path, device: torch.device | None = None) -> TrainedModel:
    """Build the network of some weights, which came from `file`; by default on a GPU if there is one."""
    device = device or choose_device()
    use_exact_float32()
    try:
        config = validate(weights.config)
        size = config.scale.image_size
        claimed = total_parameters(layer_specs(config, len(weights.class_names))) + 3 * size**2
        if claimed > sum(tensor.numel() for tensor in weights.tensors.values()):
            raise KeyError("weights")  # before memory is spent on them
        net = AlexNet(config, num_classes=len(weights.class_names), seed=None)
        net.load_state_dict(weights.model_state)
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
    """Refuse a pack whose classes or image size differ from the network's; the UserError names the first difference."""
    ours, theirs = trained.class_names, pack.class_names
    if len(ours) != len(theirs):
        raise UserError(f"{trained.path} has {len(ours):,} classes, but {pack.path} has {len(theirs):,}")
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine != other:
            raise UserError(f"class {number} is {mine} in {trained.path}, but {other} in {pack.path}")
    check_size(trained, pack)


def classes_by_name(trained: TrainedModel, pack: Pack) -> NDArray[np.int64]:
    """Return the network's number of each of a pack's classes, int64 [classes of the pack].

    Classes that are named by numbers from 0 on, as ImageNetV2's, have those numbers in the network; without a 0 they
    might be counted from 1. UserError if it lacks one.
    """
    numbers = {name: number for number, name in enumerate(trained.class_names)}
    names = pack.class_names
    if not set(names) <= set(numbers) and "0" in names and all(name.isascii() and name.isdecimal() for name in names):
        numbers = {str(number): number for number in range(len(trained.class_names))}
        first = f"{names[0]} for {trained.class_names[0]}"
        print_line(f"note: {pack.path} names classes by numbers, taken for the network's: {first}", file=sys.stderr)
    if missing := [name for name in names if name not in numbers]:
        several = f"{len(missing):,} of the {len(names):,} classes of {pack.path}, such as {missing[0]},"
        how = "prepare the pack with the same names: a words.txt in its source has lines such as `n01440764 tench`"
        raise UserError(f"{trained.path} does not have {several} by that name; {how}")
    return np.array([numbers[name] for name in names], np.int64)


def check_size(trained: TrainedModel, pack: Pack) -> None:
    """Refuse a pack whose image size differs from the network's. Raises `UserError`."""
    size = trained.config.scale.image_size
    if pack.image_size != size:
        raise UserError(
            f"{trained.path} takes images of {size} pixels, but {pack.path} has {pack.image_size}:"
            f" alexnet prepare SOURCE PACK --size {size}"
        )
