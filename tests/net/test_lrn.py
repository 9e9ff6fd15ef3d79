"""LRN against the printed formula in float64, numerical gradients, and torch's own layer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.net.lrn import LocalResponseNorm, SameMapNorm


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
    seed=st.integers(0, 1000),
)
def test_equals_the_printed_formula(
    columns: int, maps: int, size: int, side: int, k: float, alpha: float, beta: float, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(size=(2, columns * maps, side, side))
    layer = LocalResponseNorm(columns=columns, size=size, k=k, alpha=alpha, beta=beta)
    expected = printed_formula(a, columns, size, k, alpha, beta)
    np.testing.assert_allclose(layer(torch.from_numpy(a)).numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
def test_gradient_is_the_numerical_one(columns: int, size: int) -> None:
    a = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    layer = LocalResponseNorm(columns=columns, size=size, k=2.0, alpha=0.3, beta=0.75)
    assert torch.autograd.gradcheck(layer, (a,))


def test_equals_torch_at_alpha_divided_by_the_window() -> None:
    a = torch.randn(3, 16, 7, 7, requires_grad=True)
    peer = torch.nn.LocalResponseNorm(5, alpha=1e-2, beta=0.75, k=2.0)
    ours = LocalResponseNorm(columns=1, size=5, k=2.0, alpha=1e-2 / 5, beta=0.75)
    torch.testing.assert_close(ours(a), peer(a))
    (ours_grad,) = torch.autograd.grad(ours(a).square().sum(), a)
    (peer_grad,) = torch.autograd.grad(peer(a).square().sum(), a)
    torch.testing.assert_close(ours_grad, peer_grad)


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
    output = SameMapNorm(size=size, alpha=alpha, beta=beta)(torch.from_numpy(a).contiguous(memory_format=layout))
    np.testing.assert_allclose(output.numpy(), within_maps(a, size, alpha, beta), rtol=1e-12, atol=1e-14)


def test_the_gradient_within_maps_is_the_numerical_one() -> None:
    a = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SameMapNorm(size=5, alpha=0.3, beta=0.75), (a,))
    rows = a.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(SameMapNorm(size=3, alpha=0.3, beta=0.6), (rows,))
