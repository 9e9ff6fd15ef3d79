"""The layers that torch does not have as the paper means them: overhanging convolution, local connection,
column-wise full connection; and the weights with which every layer starts."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from alexnet import philox
from alexnet.net.specs import ConvSpec, Parametric


def at_least_float32(x: Tensor) -> Tensor:
    """Convert 16-bit numbers to float32; leave others."""
    return x.float() if x.dtype.itemsize < 4 else x


class AbsTanh(nn.Tanh):
    """|tanh(x)| (Jarrett et al. 2009, discussed in section 3.1)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "abs_tanh": AbsTanh}
"""A neuron's non-linearity, by name (section 3.1)."""


class CeilModeConv2d(nn.Conv2d):
    """Convolution with zeros on the left and top, and on the right and bottom as many as the last window needs.

    The 2012 source rounds map sizes up (alexnet-2012 size formula: 1 + ceil((2 * padding + input - kernel) / stride)),
    so that on 224 pixels conv1's last 11 x 11 window reads 3 zeros beyond the right and bottom edge: 55 x 55 maps.
    """

    def __init__(self, layer: ConvSpec) -> None:
        before, after = layer.pad_before, layer.pad_after
        padding = before if before == after else 0
        super().__init__(
            layer.in_channels, layer.channels, layer.kernel, layer.stride, padding=padding, groups=layer.groups
        )
        # A negative `pad_after` drops the last pixels, where a window would start beyond the wanted output size.
        self.pad = None if before == after else (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Float maps [N, in_channels, S, S] to [N, out_channels, S', S']."""
        padded = x if self.pad is None else F.pad(x, self.pad)
        if self.groups == 1 and _degrades(padded):
            convolved: Tensor = _ConvolvedPixels.apply(padded, self.weight, self.bias, self.stride, self.padding)
            return convolved
        return super().forward(padded)


PART = 64
"""Images at a time whose gradient oneDNN computes well."""


def _degrades(x: Tensor) -> bool:
    """Whether oneDNN would take 1.4 to 8 times too long over the gradient of the weights that meet these pixels.

    Seen with torch 2.15 (oneDNN 3.13) in float32 at the paper's scale, from 128 images on: benchmarks/step.py.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False  # before anything asks for the number of images, which an exported network leaves open
    plain = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and not x.requires_grad and x.device.type == "cpu" and len(x) >= 2 * PART


class _ConvolvedPixels(torch.autograd.Function):
    """A convolution of one group whose input needs no gradient; that of its weights is summed over parts of a batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding)
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        parts = [
            torch.ops.aten.convolution_backward(
                grad_part, x_part, weight, [len(weight)], stride, padding, (1, 1), False, (0, 0), 1, (False, True, True)
            )[1:]  # of the weights and of the biases
            for x_part, grad_part in zip(torch.split(x, PART), torch.split(grad, PART), strict=True)
        ]
        of_weight, of_bias = (sum(gradients[1:], start=gradients[0]) for gradients in zip(*parts, strict=True))
        return None, of_weight, of_bias, None, None


class LocallyConnected2d(nn.Module):
    """A convolution at stride 1 whose kernels and biases differ from position to position.

    `weight` is [positions, in_channels * kernel^2, out_channels] and `bias` [positions, 1, out_channels], positions row
    by row. Source: the local layers of the 2012 release (layer.cu), whose biases are not shared either.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, size: int) -> None:
        """`size` is the side of the input and of the output maps, in pixels."""
        super().__init__()
        assert kernel % 2 == 1, "the maps keep their size"
        self.kernel, self.size = kernel, size
        self.weight = nn.Parameter(torch.empty(size**2, in_channels * kernel**2, out_channels))
        self.bias = nn.Parameter(torch.empty(size**2, 1, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Float maps [N, in_channels, S, S] to [N, out_channels, S, S]."""
        windows = F.unfold(x, self.kernel, padding=self.kernel // 2)  # [N, in_channels * kernel^2, positions]
        outputs = torch.baddbmm(self.bias, windows.permute(2, 0, 1), self.weight)  # [positions, N, maps]
        return outputs.permute(1, 2, 0).reshape(x.shape[0], -1, self.size, self.size)  # len(x) fixes an exported net

    def extra_repr(self) -> str:
        _, fan_in, channels = self.weight.shape
        return f"{fan_in // self.kernel**2}, {channels}, kernel={self.kernel}, size={self.size}"


class GroupedLinear(nn.Module):
    """A fully connected layer, or one such layer per column on contiguous blocks of features.

    `weight` is [outputs, inputs / groups] and `bias` [outputs], the layout of a convolution with groups, so that
    one group is exactly `torch.nn.Linear`.
    """

    def __init__(self, inputs: int, outputs: int, *, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Float features [N, inputs] to [N, outputs]."""
        if self.groups == 1:
            return F.linear(x, self.weight, self.bias)
        blocks = zip(x.chunk(self.groups, 1), self.weight.chunk(self.groups), self.bias.chunk(self.groups), strict=True)
        return torch.cat([F.linear(features, weight, bias) for features, weight, bias in blocks], dim=1)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs * self.groups} -> {outputs}, groups={self.groups}"


def initialize(net: nn.Module, layer: Parametric, seed: int) -> None:
    """Draw normal weights of the planned std for a layer of a net, and set its biases to a constant (section 5)."""
    weight, bias = (net.get_parameter(f"{layer.name}.{kind}") for kind in ("weight", "bias"))
    count = weight.numel()
    drawn = philox.normals(seed, f"init:{layer.name}.weight", step=0, block=np.arange(-(-count // 4)))
    with torch.no_grad():
        weight.copy_(torch.from_numpy(drawn.reshape(-1)[:count]).view(weight.shape)).mul_(layer.std)
        bias.fill_(layer.bias)
