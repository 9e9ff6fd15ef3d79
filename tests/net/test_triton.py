"""Triton's kernels in its interpreter, on a CPU: against float64 and the formulas, for every shape of block."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alexnet.net import dropout, lrn
from alexnet.net.alexnet import AlexNet
from alexnet.net.dropout import draw_by_torch
from alexnet.net.lrn import LayerStack, LocalResponseNorm
from tests.conftest import config

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("Triton compiles for a GPU here", allow_module_level=True)
pytest.importorskip("triton")
from alexnet.net import kernels_triton

CHANNELS_LAST = torch.channels_last


def on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of a GPU on the CPU."""
    monkeypatch.setattr(lrn, "triton_available", lambda _: True)


def grown(net: nn.Module, x: Tensor, slope: Tensor) -> list[Tensor]:
    """Output and gradient."""
    x = x.detach().requires_grad_()
    y = net(x)
    return [y.detach(), torch.autograd.grad(y, x, slope)[0]]


SHAPES = [(48, 2, 5, 0.75), (128, 1, 5, 0.75), (6, 2, 5, 0.5), (24, 1, 9, 0.75), (250, 1, 7, 0.75)]


@pytest.mark.parametrize(
    ("channels", "columns", "size", "beta", "relu"), [*((*shape, True) for shape in SHAPES), (*SHAPES[2], False)]
)
def test_lrn_kernels_are_the_formula_in_float64(
    monkeypatch: pytest.MonkeyPatch, channels: int, columns: int, size: int, beta: float, relu: bool
) -> None:
    # alpha 0.05: with the paper's 1e-4 the windows would hardly count. 5 x 7 pixels fill no number of blocks.
    norm = LocalResponseNorm(columns=columns, size=size, k=2.0, alpha=0.05, beta=beta)
    net = LayerStack(*[nn.ReLU()] * relu, norm)
    x, slope = (torch.randn(1, columns * channels, 5, 7).contiguous(memory_format=CHANNELS_LAST) for _ in range(2))
    exact = grown(net, x.double(), slope.double())
    on_triton(monkeypatch)
    for found, expected in zip(grown(net, x, slope), exact, strict=True):
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=CHANNELS_LAST)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_lrn_kernels_of_bfloat16_round_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = LayerStack(nn.ReLU(), LocalResponseNorm(columns=2, size=5, k=2.0, alpha=0.05, beta=0.75))
    x, slope = (3 * torch.randn(1, 96, 3, 3).bfloat16().contiguous(memory_format=CHANNELS_LAST) for _ in range(2))
    exact = grown(net, x.double(), slope.double())
    on_triton(monkeypatch)
    for found, expected in zip(grown(net, x, slope), exact, strict=True):
        # A unit in the last place: the interpreter cuts off, where a GPU rounds to half of it.
        torch.testing.assert_close(found.double(), expected, rtol=1.01 * 2**-7, atol=1e-3)


def test_lrn_kernels_show_a_nan_and_take_an_empty_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    on_triton(monkeypatch)
    net = LayerStack(nn.ReLU(), LocalResponseNorm(columns=1, size=5, k=2.0, alpha=0.05, beta=0.75))
    x = torch.ones(1, 16, 2, 1).contiguous(memory_format=CHANNELS_LAST)
    x[0, 3, 0, 0] = torch.nan
    for seen in grown(net, x, torch.ones_like(x)):
        assert seen[0, 1:6, 0].isnan().all() and not seen[0, :, 1].isnan().any()
    empty = torch.empty(0, 16, 2, 2).contiguous(memory_format=CHANNELS_LAST)
    assert [tensor.shape for tensor in grown(net, empty, empty)] == [empty.shape] * 2


def test_a_compiled_network_keeps_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole: `torch.compile` takes each for one operation."""
    on_triton(monkeypatch)
    net = LayerStack(nn.ReLU(), LocalResponseNorm(columns=1, size=5, k=2.0, alpha=0.05, beta=0.75))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    x, slope = (torch.randn(1, 16, 2, 3).contiguous(memory_format=CHANNELS_LAST) for _ in range(2))
    alone = grown(net, x, slope)
    monkeypatch.delattr(lrn, "_inverse_power")  # without which the formula in torch's operations ends in an error
    for one, other in zip(alone, grown(compiled, x, slope), strict=True):
        assert torch.equal(one, other)


class Counting:
    """A kernel that counts its launches, and what Triton compiles for: types of numbers and constant arguments."""

    def __init__(self, kernel: Any, first_constant: str) -> None:
        self.names, self.launches, self.kinds = kernel.arg_names, 0, set[tuple[Any, ...]]()
        self.first = self.names.index(first_constant)

    def __getitem__(self, grid: tuple[int, ...]) -> "Counting":
        return self

    def __call__(self, *arguments: Any, num_warps: int = 4) -> None:
        assert len(arguments) == len(self.names)
        self.kinds.add((arguments[0].dtype, *arguments[self.first :], num_warps))
        self.launches += 1


def test_twenty_networks_compile_each_kernel_once_and_never_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward of a sweep's networks: k, alpha, rates, seeds and sizes of maps compile nothing."""
    on_triton(monkeypatch)
    monkeypatch.setattr(dropout, "triton_available", lambda _: True)
    monkeypatch.setattr(lrn, "_by_torch", None)  # the fallback
    norms, masks = Counting(kernels_triton._normalize, "channels"), Counting(kernels_triton._mask, "blocks")
    monkeypatch.setattr(kernels_triton, "_normalize", norms)
    monkeypatch.setattr(kernels_triton, "_mask", masks)
    small = replace(config().scale, channels=[8, 8, 16, 16, 8], fc_width=32)
    for number, (pooling, across) in enumerate(product((2, 3), (False, True))):
        for probability in (0.1, 0.3, 0.5, 0.6, 0.7):
            of_lrn = {"lrn__k": 1.0 + probability, "lrn__alpha": 1e-4 / (1 + number)}
            of_net = {"pooling__size": pooling, "lrn__across_columns": across, "dropout__probability": probability}
            varied = config(scale=small, seed=10 * number, **of_lrn, **of_net)
            net, x = AlexNet(varied, num_classes=5 + number, seed=None), torch.ones(1 + number % 2, 3, 56, 56)
            net(x.contiguous(memory_format=CHANNELS_LAST)).sum().backward()
    assert norms.launches == masks.launches == 20 * 2 * 2  # two layers of each, forward and backward
    # Windows within the columns or across them: of 4 or 8 channels, forward and backward.
    assert len(norms.kinds) == 2 * 2 and len(masks.kinds) == 1


@pytest.mark.parametrize(("first_unit", "units", "dtype"), [(0, 37, torch.float32), (5, 1100, torch.bfloat16)])
def test_masks_of_the_dropout_kernel_are_those_of_torch(first_unit: int, units: int, dtype: torch.dtype) -> None:
    x = torch.randn(3, units).to(dtype)
    numbers = (torch.tensor(450_000 << 32 | 1000), 0x0123456789ABCDEF, 0xFE593ACD, first_unit)
    for limit in (2**30, 2**31, 2**32):
        x.requires_grad_()
        masked = kernels_triton.masked(x, *numbers, limit)
        mask = draw_by_torch(x, *numbers, limit)
        assert torch.equal(masked, x * mask)
        assert torch.equal(torch.autograd.grad(masked, x, torch.ones_like(x))[0], mask)


COMPILE = """
import triton, sys, warnings
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from alexnet.net import kernels_triton
warnings.simplefilter("ignore")

def show(kernel, types, constants):
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel, signature={name: types.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    ir, ptx = made.asm["ttir"], made.asm["ptx"]
    print(ir.count("tt.load"), ir.count("tt.store"), ptx.count("ld.local"))

lrn = {"channels": 48, "reach": 2, "beta": 0.75, "rectify": True, "block": 64, "halo": 0, "parts": 2}
lrn |= {"height": 16, "turns": 8}
types = {"x": "*bf16", "y": "*bf16", "grad": "*bf16", "out": "*bf16", "rows": "i64", "k": "fp32", "alpha": "fp32"}
show(kernels_triton._normalize, types, lrn | {"backward": False})
show(kernels_triton._normalize, types, lrn | {"backward": True})
types = types | {"position": "*i64"} | dict.fromkeys(kernels_triton.NUMBERS, "i64")
show(kernels_triton._mask, types, {"blocks": 256})
"""


@pytest.mark.slow  # 15 s
def test_compiled_kernels_read_and_write_each_number_once_and_spill_nothing() -> None:
    """For sm_90, without a GPU: in bfloat16 2 + 2 bytes a number forward, 2 + 2 + 2 backward; a mask and its place."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    made = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=True, env=environment)
    assert made.stdout.splitlines() == ["1 1 0", "2 1 0", "2 1 0"]
