"""LRN by each of its backends against the printed formula in float64, numerical gradients and torch's own layer."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet.net import compilers, kernels_numba, lrn
from alexnet.net.lrn import LocalResponseNorm, WithinChannelLRN

PLANES, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
LAYOUTS = [PLANES, CHANNELS_LAST]
WINDOWS = [(3, 0.6), (5, 0.75)]
"""Sizes and exponents: numba compiles each combination with a type."""


@pytest.fixture(params=["numba", "torch", "planes"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.memory_format:
    """Channels last with and without numba, and planes, which torch's operations compute in any case."""
    if request.param != "numba":
        monkeypatch.setattr(lrn, "numba_available", lambda: False)
    return PLANES if request.param == "planes" else CHANNELS_LAST


def both(a: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Output and gradient of a layer of two columns."""
    a = a.detach().requires_grad_()
    b = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=0.05, beta=0.75)(a)
    return b.detach(), torch.autograd.grad(b, a, grad)[0]


def printed_formula(a: np.ndarray, columns: int, size: int, k: float, alpha: float, beta: float) -> np.ndarray:
    """Section 3.3 written out: loops, float64, the window cut off at the edges of each column."""
    b = np.empty_like(a)
    channels = a.shape[1] // columns
    for column in range(columns):
        for i in range(channels):
            low, high = max(0, i - size // 2), min(channels - 1, i + size // 2)
            window = a[:, column * channels + low : column * channels + high + 1]
            b[:, column * channels + i] = a[:, column * channels + i] / (k + alpha * (window**2).sum(axis=1)) ** beta
    return b


@settings(max_examples=30, deadline=None)
@given(
    columns=st.sampled_from([1, 2]),
    channels=st.integers(1, 9),
    window=st.sampled_from(WINDOWS),
    side=st.integers(1, 4),
    k=st.floats(0.5, 3),
    alpha=st.floats(1e-5, 2),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 1000),
)
def test_lrn_equals_the_printed_formula(
    columns: int,
    channels: int,
    window: tuple[int, float],
    side: int,
    k: float,
    alpha: float,
    layout: torch.memory_format,
    seed: int,
) -> None:
    a = np.random.default_rng(seed).normal(size=(2, columns * channels, side, side))
    (size, beta), x = window, torch.from_numpy(a).contiguous(memory_format=layout)
    output = LocalResponseNorm(columns=columns, size=size, k=k, alpha=alpha, beta=beta)(x)
    np.testing.assert_allclose(output, printed_formula(a, columns, size, k, alpha, beta), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("size", "beta"), WINDOWS)
def test_lrn_gradient_is_the_numerical_one(size: int, beta: float, layout: torch.memory_format) -> None:
    a = torch.randn(2, 8, 3, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    layer = LocalResponseNorm(columns=2, size=size, k=2.0, alpha=0.3, beta=beta)
    assert torch.autograd.gradcheck(layer, (a,))


def test_lrn_equals_torch_at_alpha_divided_by_the_window(layout: torch.memory_format) -> None:
    a, weights = (torch.randn(3, 13, 6, 5).contiguous(memory_format=layout) for _ in range(2))
    a.requires_grad_()
    peer = torch.nn.LocalResponseNorm(5, alpha=1e-2, beta=0.75, k=2.0)(a)
    ours = LocalResponseNorm(columns=1, size=5, k=2.0, alpha=1e-2 / 5, beta=0.75)(a)
    torch.testing.assert_close(ours, peer)
    torch.testing.assert_close(*(torch.autograd.grad((b * weights).sum(), a)[0] for b in (ours, peer)))


def test_lrn_of_bfloat16_is_float32_rounded_at_the_end(layout: torch.memory_format) -> None:
    """Half a unit in the last of the eight bits of bfloat16 and no more: sums are float32."""
    a, grad = (3 * torch.randn(3, 48, 9, 9).bfloat16().contiguous(memory_format=layout) for _ in range(2))
    for rounded, exact in zip(both(a, grad), both(a.double(), grad.double()), strict=True):
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.double(), exact, rtol=1.001 * 2**-8, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_numba, "SMALLEST_PART", 100)
    a, grad = (torch.randn(3, 12, 7, 5).to(dtype).contiguous(memory_format=CHANNELS_LAST) for _ in range(2))
    one = both(a, grad)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert all(torch.equal(mine, other) for mine, other in zip(one, both(a, grad), strict=True))


def test_loops_of_many_and_of_few_rows_share_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    kernels_numba._threads.cache_clear()
    for rows in (3, 2, 3):
        kernels_numba.share_rows(lambda part: part.fill(1), [np.zeros((rows, kernels_numba.SMALLEST_PART))])
    assert kernels_numba._threads.cache_info().misses == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_stays_visible(dtype: torch.dtype, layout: torch.memory_format) -> None:
    a = torch.ones(1, 12, 2, 2, dtype=dtype).contiguous(memory_format=layout)
    a[0, 2, 0, 0] = torch.nan
    for seen in both(a, torch.ones_like(a)):
        # Two neighbors on either side of channel 2 in the first column; windows of windows in the gradient.
        assert seen[0, :5, 0, 0].isnan().all() and not seen[0, 6:].isnan().any() and not seen[0, :, 1].isnan().any()


def test_lrn_keeps_its_layout_and_the_input_alone_for_the_gradient(layout: torch.memory_format) -> None:
    a = torch.randn(2, 12, 5, 5).contiguous(memory_format=layout).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        b = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1.0, beta=0.75)(a)
    assert [tensor.data_ptr() for tensor in kept] == [a.data_ptr()] and b.is_contiguous(memory_format=layout)


def test_lrn_of_an_empty_batch_is_empty(layout: torch.memory_format) -> None:
    a = torch.empty(0, 12, 5, 5).contiguous(memory_format=layout)
    assert [tensor.shape for tensor in both(a, a)] == [a.shape, a.shape]


def test_without_a_working_numba_there_is_a_warning_and_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    a, grad = (torch.randn(3, 48, 9, 9).contiguous(memory_format=CHANNELS_LAST) for _ in range(2))
    expected = both(a, grad)
    compilers._works.cache_clear()
    monkeypatch.setitem(sys.modules, "alexnet.net.kernels_numba", None)  # importing it fails
    try:
        with pytest.warns(UserWarning, match="without numba.*kernels_numba"):
            found = both(a, grad)
    finally:
        compilers._works.cache_clear()
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def test_disabled_numba_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_numba.numba.config, "DISABLE_JIT", True)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT"):
        kernels_numba.check_compiler()


@pytest.mark.parametrize(
    ("backend", "layout"),
    [
        *(("aot_eager", layout) for layout in LAYOUTS),
        *(pytest.param("inductor", layout, marks=pytest.mark.slow) for layout in LAYOUTS),  # C++ takes half a minute
    ],
)
@pytest.mark.parametrize(
    "layer",
    [
        LocalResponseNorm(columns=2, size=5, k=2.0, alpha=0.05, beta=0.75),
        WithinChannelLRN(size=3, alpha=0.1, beta=0.75),
    ],
)
def test_compiled_norm_is_one_graph_with_the_same_result(
    backend: str, layout: torch.memory_format, layer: nn.Module
) -> None:
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    a, grad = (torch.randn(2, 12, 5, 5).contiguous(memory_format=layout).requires_grad_() for _ in range(2))
    results = []
    for way in (layer, compiled):
        output = way(a)
        results.append((output, *torch.autograd.grad(output, a, grad)))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    "layer",
    [LocalResponseNorm(columns=2, size=5, k=1.0, alpha=0.05, beta=0.75), WithinChannelLRN(size=3, alpha=0.1, beta=0.6)],
)
def test_exported_norm_takes_any_number_of_images(layer: torch.nn.Module) -> None:
    images = torch.export.Dim("images")
    example = torch.randn(3, 12, 5, 5).contiguous(memory_format=CHANNELS_LAST)
    exported = torch.export.export(layer, (example,), dynamic_shapes=({0: images},)).module()
    for a in (example, example[:2], torch.randn(7, 12, 5, 5).contiguous(memory_format=CHANNELS_LAST)):
        torch.testing.assert_close(exported(a), layer(a))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_computes_the_same(layout: torch.memory_format, dtype: torch.dtype) -> None:
    a, grad = (torch.randn(4, 48, 9, 9).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 1e-4}
    for mine, exact in zip(both(a.cuda(), grad.cuda()), both(a.double(), grad.double()), strict=True):
        torch.testing.assert_close(mine.double().cpu(), exact, **tolerance)


def within_channel(a: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """a / (1 + alpha * sum of squares over the window in the same channel, cut off at the edge)^beta, by pixel."""
    b = np.empty_like(a)
    reach = size // 2
    for row in range(a.shape[2]):
        for column in range(a.shape[3]):
            window = a[:, :, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            b[:, :, row, column] = a[:, :, row, column] / (1 + alpha * (window**2).sum(axis=(2, 3))) ** beta
    return b


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 3),
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    alpha=st.floats(1e-5, 2),
    beta=st.floats(0.1, 1.5),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 1000),
)
def test_within_channel_lrn_equals_its_formula(
    channels: int, size: int, height: int, width: int, alpha: float, beta: float, layout: torch.memory_format, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(size=(2, channels, height, width))
    output = WithinChannelLRN(size=size, alpha=alpha, beta=beta)(torch.from_numpy(a).contiguous(memory_format=layout))
    np.testing.assert_allclose(output.numpy(), within_channel(a, size, alpha, beta), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("size", "beta"), WINDOWS)
def test_within_channel_lrn_gradient_is_the_numerical_one(size: int, beta: float, layout: torch.memory_format) -> None:
    a = torch.randn(2, 3, 5, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(WithinChannelLRN(size=size, alpha=0.3, beta=beta), (a,))


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.dtype == torch.float32 and func is not torch.ops.aten.detach.default:
            self.numbers = max(self.numbers, out.numel())
        return out


@pytest.mark.parametrize("layer", [LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1e-4, beta=0.75),
                                   WithinChannelLRN(size=5, alpha=1e-3, beta=0.75)])  # fmt: skip
def test_device_without_kernels_normalizes_in_bounded_memory(layer: nn.Module) -> None:
    """conv1's maps of 256 images in bfloat16: float32 exists of a block alone. `meta` stands for the device."""
    a = torch.empty(256, 96, 55, 55, dtype=torch.bfloat16, device="meta").contiguous(memory_format=CHANNELS_LAST)
    a.requires_grad_()
    with Largest() as largest:
        layer(a).backward(torch.empty_like(a))
    assert 0 < largest.numbers <= 1.2 * lrn.GPU_BLOCK  # with the zeros around a window
