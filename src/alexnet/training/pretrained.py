"""Starting from the weights of another run: pre-training and fine-tuning (section 6)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet.config.schema import Config
from alexnet.config.values import PretrainedConfig
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.runs.directory import CHECKPOINTS, weights_file
from alexnet.runs.result import PretrainedFacts
from alexnet.trained.weights import Weights, read_weights, weights_digest


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

    Layers that the net does not have are left behind.
    """
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
                f"{name} is {_shape(wanted)} here and {_shape(given[name])} in {pretrained.name};"
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


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
