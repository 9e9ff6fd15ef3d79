"""Response normalisation in torch's operations: a block at a time, or to be fused by torch's compiler."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.net.precision import at_least_float32

WindowSum: TypeAlias = Callable[[Tensor], Tensor]
"""For each entry of a tensor the sum over a window centred on it, which is cut off at the border."""


class LRNBackend(Protocol):
    """A way of computing y = x * d^-beta with d = k + alpha * window(x^2), and its gradient.

    With a symmetric window, dL/dx = g * d^-beta - 2 * alpha * beta * x * window(g * x * d^(-beta - 1)).
    """

    def normalise(self, x: Tensor) -> Tensor: ...

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Blocks:
    """In torch's operations, a block at a time. No window reaches across the first dimension."""

    window: WindowSum
    k: float
    alpha: float
    beta: float

    def normalise(self, x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        for x_part, y_part in zip(*_parts(x, y), strict=True):
            wide = at_least_float32(x_part)
            y_part.copy_(_inverse_power(self._denominator(wide), self.beta).mul_(wide))
        return y

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        x_grad = torch.empty_like(x)
        for x_part, grad_part, out in zip(*_parts(x, grad, x_grad), strict=True):
            wide = at_least_float32(x_part)
            denominator = self._denominator(wide)
            scaled = _inverse_power(denominator, self.beta).mul_(grad_part)
            spread = self.window((scaled * wide).div_(denominator)).mul_(wide)
            out.copy_(scaled.sub_(spread, alpha=2 * self.alpha * self.beta))
        return x_grad

    def _denominator(self, x: Tensor) -> Tensor:
        return self.window(x * x).mul_(self.alpha).add_(self.k)


@dataclass(frozen=True)
class Fusible:
    """In torch's operations without a step in place, for a compiler to fuse. Maps lie along dimension `maps_dim`."""

    size: int
    maps_dim: int
    k: float
    alpha: float
    beta: float

    def normalise(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        return (wide * _inverse_power(self._denominator(wide), self.beta)).to(x.dtype)

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        wide = at_least_float32(x)
        denominator = self._denominator(wide)
        scaled = grad * _inverse_power(denominator, self.beta)
        spread = wide * self._window(scaled * wide / denominator)
        return (scaled - 2 * self.alpha * self.beta * spread).to(x.dtype)

    def _denominator(self, x: Tensor) -> Tensor:
        return self.k + self.alpha * self._window(x * x)

    def _window(self, x: Tensor) -> Tensor:
        """Sum of shifted slices of the maps with zeros around them."""
        maps, reach = x.shape[self.maps_dim], self.size // 2
        behind = (0, 0) * (x.ndim - 1 - self.maps_dim)
        padded = F.pad(x, (*behind, reach, reach))
        total = padded.narrow(self.maps_dim, 0, maps)
        for shift in range(1, self.size):
            total = total + padded.narrow(self.maps_dim, shift, maps)
        return total


@dataclass(frozen=True)
class Fused:
    """`Fusible`, compiled by torch into kernels that read and write every map once or twice."""

    size: int
    maps_dim: int
    k: float
    alpha: float
    beta: float

    def normalise(self, x: Tensor) -> Tensor:
        return _compiled(Fusible.normalise)(self._formula, _sized(x))

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        return _compiled(Fusible.gradient)(self._formula, _sized(x), _sized(grad))

    @property
    def _formula(self) -> Fusible:
        return Fusible(self.size, self.maps_dim, self.k, self.alpha, self.beta)


@lru_cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function)


def _sized(x: Tensor) -> Tensor:
    """The number of images or pixels varies from batch to batch; only for the other sizes are kernels made anew."""
    torch._dynamo.maybe_mark_dynamic(x, 0)
    torch._dynamo.mark_static(x, list(range(1, x.ndim)))
    return x


@lru_cache
def triton_available() -> bool:
    """Whether torch can compile for the GPU here; else a warning says why not, once."""
    try:
        Fused(1, 2, 1.0, 1.0, 0.75).normalise(torch.ones(2, 1, 8, device="cuda"))
    except Exception as error:  # of the compiler of the machine, of triton, or of torch
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"response normalisation is slower here, in several kernels: {reason}", stacklevel=2)
        return False
    return True


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors into the same groups along their first dimension (images or pixels).

    On a CPU a group of 256 KiB a thread stays in the cache from one operation to the next, where whole batches would
    go to memory and back each time. A GPU wants few, large launches.
    """
    first = tensors[0]
    length = len(first)
    if first.device.type == "cpu" and length:
        length = max(1, 2**16 * torch.get_num_threads() * length // max(1, first.numel()))
    return [torch.split(tensor, max(1, length)) for tensor in tensors]


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """base^-beta; for the paper's 3/4 by square roots, which cost a fraction of a power."""
    if beta == 0.75:
        root = base.rsqrt()
        return root.sqrt().mul_(root)
    return base.pow(-beta)


def sum_of_planes(x: Tensor, size: int) -> Tensor:
    """Over `size` maps, whole planes [N, C, H, W]: add shifted blocks of planes."""
    total = x.clone()
    channels = x.shape[1]
    for shift in range(1, _reach(size, channels) + 1):
        total[:, shift:] += x[:, : channels - shift]
        total[:, : channels - shift] += x[:, shift:]
    return total


def sum_of_pixels(x: Tensor, size: int) -> Tensor:
    """Over `size` maps side by side, [pixels, columns, C]: with zeros between columns, shift the whole memory at once.

    Slices of a few dozen neighbours would be added one short row at a time.
    """
    reach = _reach(size, x.shape[2])
    padded = F.pad(x, (0, reach)).contiguous()
    values = padded.view(-1)
    total = values.clone()
    for shift in range(1, reach + 1):
        total[shift:] += values[:-shift]
        total[:-shift] += values[shift:]
    return total.view_as(padded)[..., : x.shape[2]].contiguous()


def _reach(size: int, maps: int) -> int:
    """How many neighbours on either side a window has, at most."""
    return min(size // 2, maps - 1)


def sum_within_maps(x: Tensor, size: int) -> Tensor:
    """Over the size x size pixels of the same map, [N, C, H, W]."""
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, divisor_override=1)
