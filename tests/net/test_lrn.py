"""LRN, by each of its ways of computing, against the printed formula in float64, numerical gradients and torch's own
layer."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.net import lrn, lrn_kernel
from alexnet.net.lrn import LocalResponseNorm, WithinChannelLRN
from alexnet.net.lrn_torch import Fused, Fusible

LAYOUTS = [torch.contiguous_format, torch.channels_last]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def printed_formula(a: np.ndarray, columns: int, size: int, k: float, alpha: float, beta: float) -> np.ndarray:
    """Section 3.3 written out: loops, float64, the window cut off at the edges of each column."""
    b = np.empty_like(a)
    maps = a.shape[1] // columns
    for column in range(columns):
        for i in range(maps):
            low, high = max(0, i - size // 2), min(maps - 1, i + size // 2)
            window = a[:, column * maps + low : column * maps + high + 1]
            b[:, column * maps + i] = a[:, column * maps + i] / (k + alpha * (window**2).sum(axis=1)) ** beta
    return b


@settings(max_examples=40, deadline=None)
@given(
    columns=st.sampled_from([1, 2]),
    maps=st.integers(1, 9),
    size=st.sampled_from([1, 3, 5, 7]),
    side=st.integers(1, 4),
    k=st.floats(0.5, 3),
    alpha=st.floats(1e-5, 2),
    beta=st.floats(0.1, 1.5),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 1000),
)
def test_equals_the_printed_formula(
    columns: int,
    maps: int,
    size: int,
    side: int,
    k: float,
    alpha: float,
    beta: float,
    layout: torch.memory_format,
    seed: int,
) -> None:
    a = np.random.default_rng(seed).normal(size=(2, columns * maps, side, side))
    layer = LocalResponseNorm(columns=columns, size=size, k=k, alpha=alpha, beta=beta)
    expected = printed_formula(a, columns, size, k, alpha, beta)
    output = layer(torch.from_numpy(a).contiguous(memory_format=layout))
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.fixture(params=["compiled loops", "torch alone"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without numba; the layout decides whether it is used."""
    if request.param == "torch alone":
        monkeypatch.setattr(lrn, "works", lambda: False)


either_way = pytest.mark.usefixtures("way")


@either_way
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(("size", "beta"), [(3, 0.75), (5, 0.75), (5, 0.6)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_is_the_numerical_one(columns: int, size: int, beta: float, layout: torch.memory_format) -> None:
    a = torch.randn(2, 8, 3, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    layer = LocalResponseNorm(columns=columns, size=size, k=2.0, alpha=0.3, beta=beta)
    assert torch.autograd.gradcheck(layer, (a,))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6)),
    size=st.sampled_from([1, 3, 5, 9]),
    beta=st.sampled_from([0.75, 0.5, 1.1]),
    layout=st.sampled_from(LAYOUTS),
    compiled=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_torch_at_alpha_divided_by_the_window(
    shape: tuple[int, int, int, int], size: int, beta: float, layout: torch.memory_format, compiled: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(shape, generator=generator).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn(shape, generator=generator)
    peer = torch.nn.LocalResponseNorm(size, alpha=1e-2, beta=beta, k=2.0)(a)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(lrn, "works", lambda: False)
        ours = LocalResponseNorm(columns=1, size=size, k=2.0, alpha=1e-2 / size, beta=beta)(a)
    torch.testing.assert_close(ours, peer)
    gradients = [torch.autograd.grad((b * weights).sum(), a)[0] for b in (ours, peer)]
    torch.testing.assert_close(*gradients)


def both(a: torch.Tensor, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and gradient of a layer of two columns."""
    a = a.detach().requires_grad_()
    b = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=0.05, beta=0.75)(a)
    return b.detach(), torch.autograd.grad(b, a, grad)[0]


@either_way
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_float32_rounded_at_the_end(layout: torch.memory_format) -> None:
    """Half a unit in the last of the eight bits of bfloat16 and no more: sums are float32."""
    a, grad = (3 * torch.randn(3, 48, 9, 9).bfloat16().contiguous(memory_format=layout) for _ in range(2))
    for rounded, exact in zip(both(a, grad), both(a.double(), grad.double()), strict=True):
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.double(), exact, rtol=1.001 * 2**-8, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lrn_kernel, "SMALLEST_PART", 100)
    a, grad = (torch.randn(3, 12, 7, 5).to(dtype).contiguous(memory_format=torch.channels_last) for _ in range(2))
    one = both(a, grad)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert all(torch.equal(mine, other) for mine, other in zip(one, both(a, grad), strict=True))


@either_way
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_a_number_stays_visible(dtype: torch.dtype) -> None:
    a = torch.ones(1, 12, 2, 2, dtype=dtype).contiguous(memory_format=torch.channels_last)
    a[0, 2, 0, 0] = torch.nan
    output, gradient = both(a, torch.ones_like(a))
    for seen in (output, gradient):
        # Two neighbours on either side of map 2 in the first column; windows of windows in the gradient.
        assert seen[0, :5, 0, 0].isnan().all() and not seen[0, 6:].isnan().any() and not seen[0, :, 1].isnan().any()


@either_way
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_input_alone_is_kept_for_the_gradient(layout: torch.memory_format) -> None:
    a = torch.randn(2, 12, 5, 5).contiguous(memory_format=layout).requires_grad_()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1.0, beta=0.75)(a)
    assert [tensor.data_ptr() for tensor in kept] == [a.data_ptr()]


@either_way
def test_an_empty_batch() -> None:
    for layout in LAYOUTS:
        a = torch.empty(0, 12, 5, 5).contiguous(memory_format=layout)
        assert LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1.0, beta=0.75)(a).shape == a.shape


def test_without_a_working_numba_there_is_a_warning_and_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    a, grad = (torch.randn(3, 48, 9, 9).contiguous(memory_format=torch.channels_last) for _ in range(2))
    expected = both(a, grad)
    lrn_kernel.works.cache_clear()
    lrn_kernel.compiled_loops.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it fails
    try:
        with pytest.warns(UserWarning, match="without compiled loops.*numba"):
            found = both(a, grad)
        assert not lrn_kernel.works()
    finally:
        lrn_kernel.works.cache_clear()
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_compiled_net_can_take_the_layer_in(layout: torch.memory_format) -> None:
    """One graph, without leaving the compiler: what is fused on a GPU."""
    a, grad = (torch.randn(2, 12, 5, 5).contiguous(memory_format=layout) for _ in range(2))
    layer = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=0.05, beta=0.75)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    a.requires_grad_()
    output = compiled(a)
    (gradient,) = torch.autograd.grad(output, a, grad)
    for mine, other in zip((output, gradient), both(a, grad), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.slow  # torch compiles C++ for half a minute
@pytest.mark.parametrize(("maps_dim", "shape"), [(2, (50, 2, 12)), (1, (4, 12, 5, 5))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_kernels_are_the_formula(maps_dim: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """The kernels that a GPU gets, made for a CPU instead."""
    fused, plain = (way(5, maps_dim, 2.0, 0.05, 0.75) for way in (Fused, Fusible))
    for images in (shape[0], shape[0] + 3):
        a, grad = (torch.randn(images, *shape[1:]).to(dtype) for _ in range(2))
        tolerance = {"rtol": 2**-8, "atol": 1e-3} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(fused.normalise(a), plain.normalise(a), **tolerance)
        torch.testing.assert_close(fused.gradient(a, grad), plain.gradient(a, grad), **tolerance)


@needs_gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_computes_the_same(layout: torch.memory_format, dtype: torch.dtype) -> None:
    a, grad = (torch.randn(4, 48, 9, 9).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 1e-4}
    for mine, exact in zip(both(a.cuda(), grad.cuda()), both(a.double(), grad.double()), strict=True):
        torch.testing.assert_close(mine.double().cpu(), exact, **tolerance)


def test_columns_do_not_see_each_other() -> None:
    a = torch.randn(2, 12, 4, 4)
    changed = a.clone()
    changed[:, 6:] *= 10
    layer = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1.0, beta=0.75)
    torch.testing.assert_close(layer(a)[:, :6], layer(changed)[:, :6], rtol=0, atol=0)
    assert not torch.equal(LocalResponseNorm(columns=1, size=5, k=2.0, alpha=1.0, beta=0.75)(a)[:, :6], layer(a)[:, :6])


@settings(max_examples=40, deadline=None)
@given(
    columns=st.sampled_from([1, 2]),
    maps=st.integers(1, 9),
    size=st.sampled_from([1, 3, 5, 7]),
    images=st.integers(1, 3),
    side=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_memory_layout_changes_nothing(columns: int, maps: int, size: int, images: int, side: int, seed: int) -> None:
    layer = LocalResponseNorm(columns=columns, size=size, k=2.0, alpha=0.3, beta=0.75)
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(images, columns * maps, side, side, generator=generator, dtype=torch.float64)
    weights = torch.randn(planes.shape, generator=generator, dtype=torch.float64)
    values, gradients = [], []
    for layout in (torch.contiguous_format, torch.channels_last):
        a = planes.clone(memory_format=layout).requires_grad_()
        b = layer(a)
        values.append(b)
        gradients += torch.autograd.grad((b * weights).sum(), a)
    torch.testing.assert_close(values[0], values[1], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-13)


def test_channels_last_stays_channels_last() -> None:
    a = torch.randn(2, 12, 4, 4).contiguous(memory_format=torch.channels_last)
    layer = LocalResponseNorm(columns=2, size=5, k=2.0, alpha=1.0, beta=0.75)
    assert layer(a).is_contiguous(memory_format=torch.channels_last)


def within_maps(a: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """a / (1 + alpha * sum of squares over the window in the same map, cut off at the edge)^beta, pixel by pixel."""
    b = np.empty_like(a)
    reach = size // 2
    for row in range(a.shape[2]):
        for column in range(a.shape[3]):
            window = a[:, :, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            b[:, :, row, column] = a[:, :, row, column] / (1 + alpha * (window**2).sum(axis=(2, 3))) ** beta
    return b


@settings(max_examples=40, deadline=None)
@given(
    maps=st.integers(1, 3),
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    alpha=st.floats(1e-5, 2),
    beta=st.floats(0.1, 1.5),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=st.integers(0, 1000),
)
def test_the_norm_within_maps_is_its_formula(
    maps: int, size: int, height: int, width: int, alpha: float, beta: float, layout: torch.memory_format, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(size=(2, maps, height, width))
    output = WithinChannelLRN(size=size, alpha=alpha, beta=beta)(torch.from_numpy(a).contiguous(memory_format=layout))
    np.testing.assert_allclose(output.numpy(), within_maps(a, size, alpha, beta), rtol=1e-12, atol=1e-14)


def test_the_gradient_within_maps_is_the_numerical_one() -> None:
    a = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(WithinChannelLRN(size=5, alpha=0.3, beta=0.75), (a,))
    rows = a.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(WithinChannelLRN(size=3, alpha=0.3, beta=0.6), (rows,))
