"""Dropout whose masks are a function of (seed, layer, step, image, unit): the same on every device (`alexnet.philox`).

On a CPU compiled loops draw them. On a CUDA GPU a Triton kernel applies a mask while it draws it, again in the backward
pass. Elsewhere masks are drawn in torch's operations. `torch.compile` sees one operation.
"""

import torch
from torch import Tensor, nn

from alexnet.net.compilers import numba_available, triton_available
from alexnet.net.layers import ACTIVATIONS
from alexnet.philox import LOW, M0, M1, round_keys, stream_number, threshold


class NonInvertedDropout(nn.Module):
    """The paper's dropout (section 4.2): masked without scaling in training, outputs times the keep rate at test.

    `torch.nn.Dropout` scales up in training instead, which changes the effective learning rate and initialization.
    Call `set_position` before each step; without it every step has the mask of the first.
    """

    position: Tensor

    def __init__(self, probability: float, *, seed: int, layer: str, first_unit: int = 0) -> None:
        """`layer` names the one whose units are dropped, `first_unit` the first of them that this process holds."""
        super().__init__()
        self.probability = probability
        self.seed = seed
        self.first_unit = first_unit
        self.stream = stream_number(f"dropout:{layer}")
        # On the device, so that a captured step can be replayed: step * 2^32 + place of the first image in the batch.
        self.register_buffer("position", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Float features [N, ...]; unit = flat index of a feature in its image."""
        keep = 1.0 - self.probability
        if not self.training:
            return x * keep
        numbers = (self.position, self.seed, self.stream, self.first_unit, threshold(keep))
        if triton_available(x.device):
            from alexnet.net.kernels_triton import masked  # Triton is not installed everywhere

            kept: Tensor = masked(x.flatten(1).contiguous(), *numbers)
            return kept.view(x.shape)
        draw = _draw_as_one_operation if torch.compiler.is_compiling() else _draw
        return x * draw(x.detach().flatten(1), *numbers).view(x.shape)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


UNITWISE = (*ACTIVATIONS.values(), NonInvertedDropout)
"""The layers that act on every unit by itself."""


def set_position(net: nn.Module, step: int, place: int) -> None:
    """Set the optimizer's step, and where in the whole batch the images begin that the network sees next."""
    for layer in net.modules():
        if isinstance(layer, NonInvertedDropout):
            layer.position.fill_((step & LOW >> 1) << 32 | place)


def _draw(x: Tensor, position: Tensor, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Draw the mask of features [N, units], ones where a unit's word is below `limit`, as numbers like theirs."""
    if x.device.type == "cpu" and numba_available():
        from alexnet.net.kernels_numba import draw  # numba takes most of a second

        return draw(x, int(position), seed, stream, first_unit, limit)
    return draw_by_torch(x, position, seed, stream, first_unit, limit)


# torch would inline every value of Philox twice in the next round, and compile for hours.
_draw_as_one_operation = torch.library.custom_op("alexnet::draw_mask", _draw, mutates_args=())


@_draw_as_one_operation.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def draw_by_torch(x: Tensor, position: Tensor, seed: int, stream: int, first_unit: int, limit: int) -> Tensor:
    """Draw the mask by operations on int64 that no product overflows, which every device has."""
    blocks = torch.arange(first_unit // 4, (first_unit + x.shape[1] + 3) // 4, device=x.device)
    c0 = blocks.expand(len(x), -1)
    c1 = ((position & LOW) + torch.arange(len(x), device=x.device))[:, None].expand_as(c0)
    c2 = (position >> 32).expand_as(c0)
    c3 = torch.full_like(c0, stream)
    for k0, k1 in round_keys(seed):
        (high0, low0), (high1, low1) = _product(M0, c0), _product(M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    words = torch.stack([c0, c1, c2, c3], dim=2).flatten(1)[:, first_unit % 4 :][:, : x.shape[1]]
    return (words < limit).to(x.dtype)


def _product(constant: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the high and the low 32 bits of a product of 32-bit numbers."""
    above, below = x * (constant >> 16), x * (constant & 0xFFFF)
    middle = above + (below >> 16)
    return middle >> 16, (middle & 0xFFFF) << 16 | below & 0xFFFF
