"""A trained network from its file, with everything that it needs to look at an image.

A checkpoint is complete in itself: beside the weights it holds the configuration, the class names and the mean image,
so it can be copied to another machine alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.config.compose import validate
from alexnet.config.schema import Config, ConfigTree
from alexnet.data.batches.augment import Augmenter, CropGeometry
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.statistics import PixelStats
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet

CHECKPOINTS = "checkpoints"
"""Folder of a run directory."""
LAST = "last"
"""The checkpoint of it that the run's errors are of."""
SAFETENSORS = ".safetensors"
BUFFERS = ("mean_image", "pca_directions")
"""Tensors of `Weights` that are not the net's: what the augmentation took from the training images."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The content of a file of weights."""

    tensors: Mapping[str, Tensor]
    """By name: `conv1.weight`, ..., and `BUFFERS`."""
    tree: ConfigTree
    """The configuration of the run as plain values."""
    class_names: list[str]
    data_fingerprint: str
    """Of the pack that it was trained on."""

    @property
    def of_net(self) -> dict[str, Tensor]:
        """Those of the net alone: not the mean image, which is that of the images that it was trained on."""
        return {name: value for name, value in self.tensors.items() if name not in BUFFERS}


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained network in evaluation mode, on its device."""

    net: AlexNet
    augmenter: Augmenter
    config: Config
    class_names: list[str]
    weights: Weights
    path: Path
    """The file that it came from."""
    device: torch.device

    @property
    def directory(self) -> Path:
        """The run directory that the file lies in, else its folder."""
        folder = self.path.resolve().parent
        return folder.parent if folder.name == CHECKPOINTS else folder

    @property
    def name(self) -> str:
        """Name of the run directory that the file lies in, else of the file."""
        return self.directory.name if self.path.resolve().parent.name == CHECKPOINTS else self.path.stem


def load_trained(path: Path, device: torch.device | None = None) -> TrainedModel:
    """Load a run directory (its last checkpoint) or a file of weights; without a `device` onto a GPU if there is one.

    Raises:
        UserError: there is no such file, it is damaged, or it is no network of this program.
    """
    file = weights_file(path)
    weights = read_weights(file)
    device = device or default_device()
    try:
        config = validate(weights.tree)
        net = AlexNet(config, classes=len(weights.class_names), seed=config.seed)
        net.load_state_dict(weights.of_net)
        augmenter = _augmenter(config, weights.tensors)
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


def default_device() -> torch.device:
    """The GPU if torch finds one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_file(path: Path) -> Path:
    """The file that a command means: `path` itself, or the last checkpoint of a run directory.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return path
    for file in (path / CHECKPOINTS / f"{LAST}.ckpt", path / f"{LAST}.ckpt"):
        if file.is_file():
            return file
    if path.is_dir():
        raise UserError(f"{path}: no {CHECKPOINTS}/{LAST}.ckpt in it; give a run directory or a checkpoint")
    raise UserError(f"{path}: there is no such run directory or checkpoint")


def read_weights(file: Path) -> Weights:
    """The content of a checkpoint or a safetensors file; UserError if it cannot be read."""
    if file.suffix == SAFETENSORS:
        from alexnet.trained.exchange import read_safetensors  # its package is optional

        return read_safetensors(file)
    saved = read_checkpoint(file)
    state: dict[str, Tensor] = saved["state_dict"]
    prefixes = ("net.", "augmenter.")
    description = saved["alexnet"]
    return Weights(
        tensors={name.split(".", 1)[1]: value for name, value in state.items() if name.startswith(prefixes)},
        tree=description["config"],
        class_names=list(description["class_names"]),
        data_fingerprint=description["data_fingerprint"],
    )


def weights_digest(checkpoint: str) -> str:
    """SHA-256, hexadecimal, of the net's weights: the same wherever their file lies and whatever else is in it.

    Raises:
        UserError: there is no such run or checkpoint, or it is damaged.
    """
    file = weights_file(Path(checkpoint).expanduser())
    status = file.stat()
    return _file_digest(file.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)  # the jobs of a sweep mostly start from one file
def _file_digest(file: Path, _modified: int, _bytes: int) -> str:
    digest = sha256()
    for name, tensor in sorted(read_weights(file).of_net.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # In the order of the dimensions, whatever the order in memory.
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint as Lightning wrote it, loaded without running code from it; tensors are read when they are used.

    Raises:
        UserError: it is damaged, or no checkpoint of this program.
    """
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        if not saved["state_dict"] or not saved["alexnet"].keys() >= {"config", "class_names", "data_fingerprint"}:
            raise KeyError("alexnet")
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, EOFError, UnpicklingError) as error:
        raise UserError(f"{file} is damaged or no checkpoint of this program") from error
    return saved


def check_classes(trained: TrainedModel, pack: Pack) -> None:
    """Refuse a pack whose classes are not those of the network, in the same order."""
    ours, theirs = trained.class_names, pack.class_names
    if len(ours) != len(theirs):
        raise UserError(f"{trained.path} tells {len(ours):,} classes apart, and {pack.path} has {len(theirs):,}")
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine != other:
            raise UserError(f"class {number} is {mine} in {trained.path}, and {other} in {pack.path}: other classes")
    size = trained.config.scale.image_size
    if pack.image_size != size:
        raise UserError(
            f"{trained.path} looks at images of {size} pixels, and those of {pack.path} have {pack.image_size}:"
            f" alexnet prepare SOURCE PACK --size {size}"
        )


def _augmenter(config: Config, tensors: Mapping[str, Tensor]) -> Augmenter:
    """The run's own: its statistics are those in the file, not those of the images that it is about to see."""
    size = config.scale.image_size
    blank = PixelStats(
        mean_image=np.zeros((size, size, 3), np.float32),
        covariance=np.zeros((3, 3)),
        eigenvalues=np.zeros(3),
        eigenvectors=np.zeros((3, 3)),
    )
    geometry = CropGeometry(image_size=size, crop_size=config.scale.crop_size)
    augmenter = Augmenter(blank, geometry, crops=config.crops, color=config.color)
    augmenter.load_state_dict({name: tensors[name] for name in BUFFERS})
    return augmenter
