"""Layers against independent formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.net.layers import ACTIVATIONS, CeilModeConv2d, GroupedLinear, LocallyConnected2d
from alexnet.net.specs import ConvSpec


def conv(*, pad_before: int = 0, **sizes: int) -> CeilModeConv2d:
    return CeilModeConv2d(ConvSpec(name="conv1", std=0.01, pad_before=pad_before, **sizes))


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(6, 14),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    pad_before=st.integers(0, 2),
    groups=st.sampled_from([1, 2]),
)
def test_convolution_rounds_up_and_reads_zeros(
    size: int, kernel: int, stride: int, pad_before: int, groups: int
) -> None:
    out = 1 + -(-(2 * pad_before + size - kernel) // stride)
    shape = {"in_channels": 4, "channels": 6, "in_size": size, "size": out, "groups": groups}
    layer = conv(kernel=kernel, stride=stride, pad_before=pad_before, **shape).double()
    x = torch.randn(2, 4, size, size, dtype=torch.float64)
    y = layer(x).detach().numpy()
    assert y.shape == (2, 6, out, out)
    # Definition, window by window, over an image surrounded by plenty of zeros.
    canvas = np.zeros((2, 4, size + 20, size + 20))
    canvas[:, :, pad_before : pad_before + size, pad_before : pad_before + size] = x.numpy()
    weight = layer.weight.detach().numpy()
    for row, column in {(0, 0), (0, out - 1), (out - 1, out // 2), (out - 1, out - 1)}:
        window = canvas[:, :, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        for unit in range(6):
            first = 0 if groups == 1 or unit < 3 else 2
            seen = window[:, first : first + 4 // groups]
            expected = (seen * weight[unit]).sum(axis=(1, 2, 3)) + layer.bias.detach().numpy()[unit]
            np.testing.assert_allclose(y[:, unit, row, column], expected, rtol=1e-10, atol=1e-12)


def test_conv1_hangs_three_pixels_over_the_right_and_bottom_edge_only() -> None:
    layer = conv(in_channels=3, channels=1, in_size=224, size=55, kernel=11, stride=4)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    y = layer(torch.ones(1, 3, 224, 224))[0, 0]
    assert y.shape == (55, 55)
    assert y[0, 0] == 3 * 11 * 11
    assert y[-1, 0] == y[0, -1] == 3 * 11 * 8
    assert y[-1, -1] == 3 * 8 * 8


def test_column_linear_is_linear_with_one_group_and_block_diagonal_with_two() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 8, dtype=torch.float64)
    for groups in (1, 2):
        layer = GroupedLinear(8, 6, groups=groups).double()
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
        dense = torch.zeros(6, 8, dtype=torch.float64)
        for block in range(groups):
            rows = slice(block * 6 // groups, (block + 1) * 6 // groups)
            dense[rows, block * 8 // groups : (block + 1) * 8 // groups] = layer.weight[rows]
        torch.testing.assert_close(layer(x), x @ dense.T + layer.bias)


def test_activations_are_their_formulas() -> None:
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    a = x.numpy()
    expected = {
        "relu": np.maximum(0, a),
        "tanh": (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a)),
        "sigmoid": 1 / (1 + np.exp(-a)),
        "abs_tanh": np.abs(np.sinh(a) / np.cosh(a)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ACTIVATIONS[name]()(x).numpy(), values, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(1, 7), kernel=st.sampled_from([1, 3, 5]), in_channels=st.integers(1, 3), channels=st.integers(1, 4)
)
def test_a_local_layer_has_kernels_of_its_own_at_each_position(
    size: int, kernel: int, in_channels: int, channels: int
) -> None:
    padding = kernel // 2
    layer = LocallyConnected2d(in_channels, channels, kernel=kernel, size=size).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, in_channels, size, size, dtype=torch.float64)
    canvas = np.zeros((2, in_channels, size + 2 * padding, size + 2 * padding))
    canvas[:, :, padding : padding + size, padding : padding + size] = x.numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.zeros((2, channels, size, size))
    for row in range(size):
        for column in range(size):
            window = canvas[:, :, row : row + kernel, column : column + kernel]
            for unit in range(channels):
                kernels = weight[row * size + column, :, unit].reshape(in_channels, kernel, kernel)
                sums = (window * kernels).sum(axis=(1, 2, 3))
                expected[:, unit, row, column] = sums + bias[row * size + column, 0, unit]
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_a_local_layer_is_right() -> None:
    layer = LocallyConnected2d(2, 3, kernel=3, size=4).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    torch.fx.symbolic_trace(layer)  # needs no number of images, which an exported network leaves open
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (16, 18, 3),
        "bias": (16, 1, 3),
    }


@pytest.mark.parametrize("images", [3, 130])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_large_batches_of_pixels_are_those_of_small_ones(images: int, layout: torch.memory_format) -> None:
    """Computed in parts where oneDNN is slow; only weights get them, and float64 is never taken apart."""
    layer = conv(in_channels=3, channels=8, in_size=15, size=7, kernel=5, stride=2).to(memory_format=layout)
    x = torch.randn(images, 3, 15, 15).contiguous(memory_format=layout)
    exact = conv(in_channels=3, channels=8, in_size=15, size=7, kernel=5, stride=2).double()
    exact.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    slope = torch.randn(images, 8, 7, 7).contiguous(memory_format=layout)
    output, expected = layer(x), exact(x.double())
    assert (type(output.grad_fn).__name__ == "_ConvolvedPixelsBackward") == (images == 130)
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-4)
    output.backward(slope)
    expected.backward(slope.double())
    for mine, other in zip(layer.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None and other.grad is not None and mine.grad.stride() == mine.stride()
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-4, atol=1e-3)


def test_pixels_that_need_a_gradient_get_one() -> None:
    layer = conv(in_channels=3, channels=8, in_size=15, size=7, kernel=5, stride=2)
    x = torch.randn(130, 3, 15, 15, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
