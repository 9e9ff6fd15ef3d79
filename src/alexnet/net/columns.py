"""The two-column layout of the weights: a tensor for each column, as the two devices of 2012 held them.

`conv2.weight` becomes `conv2a.weight` and `conv2b.weight`: the kernels of column a come first in every layer, and with
groups each has the inputs of its own column alone. Where a layer reads both columns (conv3, the fully connected ones),
its inputs are those of column a and then those of column b, in both tensors. The classifier, which was on one device,
stays whole; column names are those of the authors' layer files.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.errors import UserError
from alexnet.net.specs import Layer, Parametric

NAMES = ("a", "b")


def check_two_columns(config: Config) -> None:
    """Refuse a net that is not divided in two; UserError."""
    if config.columns.kind == "one":
        raise UserError("the net has one column: its weights have no two-column layout")


def to_columns(tensors: Mapping[str, Tensor], layers: Iterable[Layer]) -> dict[str, Tensor]:
    """Weights and biases by layer to weights and biases by layer and column; other tensors stay as they are."""
    divided = _divided(layers)
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, _, kind = name.partition(".")
        if layer in divided:
            halves = value.chunk(2)  # outputs come first: maps or units
            result |= {f"{layer}{column}.{kind}": half for column, half in zip(NAMES, halves, strict=True)}
        else:
            result[name] = value
    return result


def from_columns(tensors: Mapping[str, Tensor], layers: Iterable[Layer]) -> dict[str, Tensor]:
    """The inverse; KeyError where a column lacks a tensor."""
    result = dict(tensors)
    for layer in _divided(layers):
        for kind in ("weight", "bias"):
            result[f"{layer}.{kind}"] = torch.cat([result.pop(f"{layer}{column}.{kind}") for column in NAMES])
    return result


def _divided(layers: Iterable[Layer]) -> list[str]:
    """Names of the layers that both columns have a part of: all with weights but the classifier."""
    return [layer.name for layer in layers if isinstance(layer, Parametric)][:-1]
