"""Weights in files: checkpoints and safetensors, read as plain tensors, and fine-tuning from them (section 6).

Each file is complete: with the weights it holds the configuration, the class names and the mean image, so that one
file is enough on another machine.

In the layout `columns` weights have a tensor for each column, as the two devices of 2012 held them: `conv2.weight`
becomes `conv2a.weight` and `conv2b.weight`. A layer that reads both columns has the inputs of column a first in both
tensors. The classifier, which was on one device, stays whole.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from alexnet.config.compose import validate
from alexnet.config.schema import Config, ConfigTree
from alexnet.config.values import TWO_COLUMNS, PretrainedConfig
from alexnet.errors import UserError, how_to_install
from alexnet.net.alexnet import AlexNet
from alexnet.net.plan import layer_specs
from alexnet.net.specs import Layer, Parametric
from alexnet.runs.directory import CHECKPOINTS, weights_file
from alexnet.runs.result import PretrainedFacts, read_result
from alexnet.untrusted import damage_named

SAFETENSORS = ".safetensors"
BUFFERS = ("mean_image", "pca_directions")
"""Tensors of `Weights` that belong to the augmentation, not to the net."""
DESCRIPTION = ("config", "class_names", "data_fingerprint")
"""What a file says about its tensors, by the names of the fields of `Weights`."""
COLUMNS = ("a", "b")
"""Suffixes of the columns' tensors, as in the authors' layer files."""
FORMAT = {"format": "alexnet weights", "version": "1"}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The content of a file of weights."""

    tensors: Mapping[str, Tensor]
    """By name: `conv1.weight`, ..., and `BUFFERS`."""
    config: ConfigTree
    """The configuration of the run as plain values."""
    class_names: list[str]
    data_fingerprint: str
    """Fingerprint of the pack that the net was trained on."""

    @property
    def model_state(self) -> dict[str, Tensor]:
        """The tensors of the net alone."""
        return {name: value for name, value in self.tensors.items() if name not in BUFFERS}


def read_weights(file: Path) -> Weights:
    """Read a checkpoint or a safetensors file; UserError if it cannot be read."""
    if file.suffix == SAFETENSORS:
        return _read_safetensors(file)
    saved = read_checkpoint(file)
    state: dict[str, Tensor] = saved["state_dict"]
    tensors = {name.split(".", 1)[1]: value for name, value in state.items() if name.startswith(("net.", "augmenter."))}
    return Weights(tensors=tensors, **{name: saved["alexnet"][name] for name in DESCRIPTION})


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint as Lightning wrote it, without running code from it. Tensors are read when they are used."""
    other = "; alexnet import makes one of torchvision's weights" * (file.suffix in (".pth", ".pt"))
    with damage_named(file, f"damaged, or not a checkpoint of this program{other}"):
        with ZipFile(file) as archive:
            if (torn := archive.testzip()) is not None:  # torch does not compare the checksums
                raise ValueError(torn)
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        check_tensors(saved["state_dict"].values(), file)
        if not saved["state_dict"] or not saved["alexnet"].keys() >= set(DESCRIPTION):
            raise KeyError("alexnet")
        return saved


def check_tensors(tensors: Iterable[Tensor], file: Path, *, weights: bool = True) -> None:
    """Refuse numbers that are not finite, tensors that claim to be larger than their file, and weights in integers."""
    tensors = list(tensors)
    if sum(tensor.nbytes for tensor in tensors) > file.stat().st_size:
        raise UserError(f"{file} is damaged: its tensors claim to be larger than the file")
    for tensor in tensors:
        # A single number is the counter of a batch normalization.
        if weights and tensor.ndim and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{file}: its weights are {kind} numbers; save them as float32")
    if not all(bool(tensor.float().isfinite().all()) for tensor in tensors):
        raise UserError(f"{file}: it holds numbers that are not finite; was this net trained?")


def weights_digest(checkpoint: str) -> str:
    """Return the SHA-256, hexadecimal, of the net's weights, independent of where and in which format they are stored.

    Raises:
        UserError: there is no such run or checkpoint, or it is damaged.
    """
    file = weights_file(Path(checkpoint).expanduser())
    status = file.stat()
    return _file_digest(file.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)  # the jobs of a sweep mostly start from one file
def _file_digest(file: Path, _modified: int, _bytes: int) -> str:
    digest = sha256()
    for name, tensor in sorted(read_weights(file).model_state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # In the order of the dimensions, for any memory format.
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def unfinished(run: Path) -> str | None:
    """Return the status of a run directory that has not finished; None for any other folder or file."""
    with suppress(UserError):
        if run.is_dir() and (status := read_result(run).status) != "finished":
            return status
    return None


def not_installed(error: ModuleNotFoundError) -> UserError:
    """Return the error for a missing optional package."""
    return UserError(f"{error.name} is not installed: {how_to_install('export')}")


def checkpoint_bytes(weights: Weights) -> bytes:
    """Make a checkpoint that `read_weights` reads; a run cannot be resumed from it."""
    state = {f"{'augmenter' if name in BUFFERS else 'net'}.{name}": value for name, value in weights.tensors.items()}
    saved = {"state_dict": state, "alexnet": {name: getattr(weights, name) for name in DESCRIPTION}}
    torch.save(saved, buffer := io.BytesIO())
    return buffer.getvalue()


def safetensors_bytes(weights: Weights, layout: str) -> bytes:
    """Make a safetensors file: the tensors, with configuration, class names and layout in its metadata.

    Raises:
        UserError: safetensors is not installed, or the layout is `columns` and the net has one column.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    tensors = dict(weights.tensors)
    if layout == "columns":
        config = validate(weights.config)
        if config.columns.kind not in TWO_COLUMNS:
            raise UserError("the net has one column: its weights have no two-column layout")
        tensors = to_columns(tensors, layer_specs(config, len(weights.class_names)))
    described = {"config": json.dumps(weights.config), "class_names": json.dumps(weights.class_names)}
    metadata = FORMAT | {"layout": layout, **described, "data_fingerprint": weights.data_fingerprint}
    return bytes(save({name: value.contiguous() for name, value in tensors.items()}, metadata))


def _read_safetensors(file: Path) -> Weights:
    """Read what `safetensors_bytes` made, in either layout."""
    try:
        from safetensors import safe_open
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    with damage_named(file):
        with safe_open(file, framework="pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        check_tensors(tensors.values(), file)
        if not metadata.items() >= FORMAT.items():
            raise UserError(f"{file}: its metadata are not those of {' '.join(FORMAT.values())}")
        config, class_names = (json.loads(metadata[name]) for name in ("config", "class_names"))
        if metadata["layout"] == "columns":
            tensors = from_columns(tensors, layer_specs(validate(config), len(class_names)))
        described = {"config": config, "class_names": class_names, "data_fingerprint": metadata["data_fingerprint"]}
        return Weights(tensors=tensors, **described)


def to_columns(tensors: Mapping[str, Tensor], layers: Iterable[Layer]) -> dict[str, Tensor]:
    """Divide weights and biases by column; other tensors stay as they are."""
    divided = _divided(layers)
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, _, kind = name.partition(".")
        if layer in divided:
            halves = value.chunk(2)  # outputs come first
            result |= {f"{layer}{column}.{kind}": half for column, half in zip(COLUMNS, halves, strict=True)}
        else:
            result[name] = value
    return result


def from_columns(tensors: Mapping[str, Tensor], layers: Iterable[Layer]) -> dict[str, Tensor]:
    """Invert `to_columns`; KeyError if a column lacks a tensor."""
    result = dict(tensors)
    for layer in _divided(layers):
        for kind in ("weight", "bias"):
            result[f"{layer}.{kind}"] = torch.cat([result.pop(f"{layer}{column}.{kind}") for column in COLUMNS])
    return result


def _divided(layers: Iterable[Layer]) -> list[str]:
    """Name the layers that are divided between the columns: the parametric ones but the classifier."""
    return [layer.name for layer in layers if isinstance(layer, Parametric)][:-1]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights to start from."""

    name: str
    """Of the run that they come from, or of the file if it is not in a run."""
    weights: Weights


def open_pretrained(config: PretrainedConfig) -> Pretrained | None:
    """Return the weights that a run starts from; None if all are initialized."""
    if config.checkpoint is None:
        if config.reinit:
            raise UserError(f"pretrained.reinit={config.reinit} needs pretrained.checkpoint=RUN, a run or a checkpoint")
        return None
    file = weights_file(Path(config.checkpoint).expanduser())
    name = file.parent.parent.name if file.parent.name == CHECKPOINTS else file.name
    return Pretrained(name=name or file.name, weights=read_weights(file))


def check_fits(config: Config, classes: int, pretrained: Pretrained) -> None:
    """Refuse weights that lack a layer of the net, or have another shape for it, which is not reinitialized.

    Layers that the net does not have are left behind. Those of a run in training are refused where its folder is named.
    """
    run = Path(str(config.pretrained.checkpoint)).expanduser()
    if status := unfinished(run):
        what = f"pretrained.checkpoint={run} has not finished ({status})"
        raise UserError(f"{what}: finish it, or name the file to start from, {weights_file(run)}")
    with torch.device("meta"):
        net = AlexNet(config, num_classes=classes, seed=config.seed)
    given = pretrained.weights.model_state
    for name, wanted in net.state_dict().items():
        layer = name.rpartition(".")[0]
        if layer in config.pretrained.reinit:
            continue
        remedy = f"'pretrained.reinit=[{','.join([*config.pretrained.reinit, layer])}]'"
        if name not in given:
            raise UserError(f"{pretrained.name} has no layer {layer}; reinitialize it with {remedy}, or choose its net")
        if given[name].shape != wanted.shape:
            raise UserError(
                f"{name} is {shown_shape(wanted.shape)} here and {shown_shape(given[name].shape)} in {pretrained.name};"
                f" reinitialize the layer with {remedy}, or choose its net"
            )


def start_from(net: nn.Module, pretrained: Pretrained, reinit: list[str]) -> None:
    """Replace the weights of every layer except those in `reinit`; they must fit (`check_fits`)."""
    given = pretrained.weights.model_state
    taken = {name: given[name] for name in net.state_dict() if name.rpartition(".")[0] not in reinit}
    net.load_state_dict(taken, strict=False)


def pretrained_facts(config: Config, net_layers: list[str]) -> PretrainedFacts | None:
    """Describe where the weights come from, for the result file; `net_layers` are those of the configured net."""
    pretrained = open_pretrained(config.pretrained)
    if pretrained is None:
        return None
    assert config.pretrained.checkpoint is not None
    theirs = dict.fromkeys(name.rpartition(".")[0] for name in pretrained.weights.model_state)
    return PretrainedFacts(
        run=pretrained.name,
        data_fingerprint=pretrained.weights.data_fingerprint,
        weights=weights_digest(config.pretrained.checkpoint),
        taken=tuple(layer for layer in net_layers if layer not in config.pretrained.reinit),
        fresh=tuple(layer for layer in net_layers if layer in config.pretrained.reinit),
        left_behind=tuple(layer for layer in theirs if layer not in net_layers),
    )


def shown_shape(sizes: Sequence[int]) -> str:
    """Return sizes of a tensor as people write them, such as 96 x 3 x 11 x 11; a negative one is any."""
    return " x ".join("any" if size < 0 else str(size) for size in sizes)
