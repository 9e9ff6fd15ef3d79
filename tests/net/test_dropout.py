"""Dropout: masks by counter, equal on every device and for every split."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alexnet import philox
from alexnet.net import dropout
from alexnet.net.dropout import NonInvertedDropout, set_position
from alexnet.sharding import shard_of

SEED = 0x0123456789ABCDEF


def layer(
    probability: float = 0.5, *, step: int = 3, place: int = 0, name: str = "fc6", first_unit: int = 0
) -> NonInvertedDropout:
    made = NonInvertedDropout(probability, seed=SEED, layer=name, first_unit=first_unit)
    set_position(made, step, place)
    return made


def expected_mask(images: int, units: int, *, step: int, place: int = 0, keep: float = 0.5) -> Tensor:
    """From the host's words, one image after another."""
    rows = [
        philox.words(SEED, "dropout:fc6", step=step, place=place + image, block=np.arange(-(-units // 4))).reshape(-1)
        for image in range(images)
    ]
    return torch.from_numpy(np.stack(rows)[:, :units] < philox.threshold(keep))


def test_dropout_masks_without_scaling_and_halves_at_test() -> None:
    dropped = layer()
    x = torch.full((400, 500), 3.0, requires_grad=True)
    y = dropped(x)
    assert set(y.unique().tolist()) == {0.0, 3.0}
    # 200,000 draws: five standard deviations of the kept share are 0.0056
    assert abs((y > 0).double().mean().item() - 0.5) < 0.0056
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, (y > 0).float())
    dropped.eval()
    assert torch.equal(dropped(x), x * 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("units", [1, 6, 64])
@pytest.mark.parametrize("compiled", [True, False])
def test_mask_is_that_of_the_words_whatever_draws_it(dtype: torch.dtype, units: int, compiled: bool) -> None:
    x = torch.ones(9, units, dtype=dtype)
    with patch.object(dropout, "numba_available", lambda: compiled):
        y = layer(0.3, step=450_000, place=1000)(x)
    assert y.dtype == dtype
    assert torch.equal(y.bool(), expected_mask(9, units, step=450_000, place=1000, keep=0.7))


def test_mask_of_a_probability_of_0_keeps_all() -> None:
    x = torch.randn(50, 40)
    assert torch.equal(layer(0.0)(x), x)


@pytest.mark.parametrize("compiled", [True, False])
def test_parts_of_a_batch_and_of_a_layer_have_the_parts_of_the_mask(compiled: bool) -> None:
    whole = expected_mask(7, 10, step=3)
    rows = []
    with patch.object(dropout, "numba_available", lambda: compiled):
        for row in range(3):
            images, halves = shard_of(7, index=row, parts=3), []
            for column in range(2):  # of 5 units: the second half starts within a block of four words
                units = shard_of(10, index=column, parts=2)
                half = layer(place=images.first, first_unit=units.first)
                halves.append(half(torch.ones(images.count, units.count)))
            rows.append(torch.cat(halves, dim=1))
    assert torch.equal(torch.cat(rows).bool(), whole)


def test_another_step_or_layer_has_another_mask_and_the_same_one_the_same() -> None:
    x = torch.ones(20, 30)
    masks = [layer(step=step, name=name)(x) for step, name in ((3, "fc6"), (4, "fc6"), (3, "fc7"), (3, "fc6"))]
    assert torch.equal(masks[0], masks[3])
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_masks_of_steps_and_layers_are_independent() -> None:
    masks = [layer(step=step, name=name)(torch.ones(128, 512)).reshape(-1) for step in range(8) for name in "ab"]
    correlations = np.corrcoef(torch.stack(masks).numpy())
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / (128 * 512) ** 0.5


def test_mask_of_many_threads_is_that_of_one() -> None:
    x, threads = torch.ones(128, 2048), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        y = layer(place=7)(x)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(y.bool(), expected_mask(128, 2048, step=3, place=7))


def test_dropout_of_an_empty_batch_is_empty() -> None:
    x = torch.empty(0, 8, requires_grad=True)
    layer()(x).sum().backward()
    assert x.grad is not None and x.grad.shape == (0, 8)


def test_a_device_without_its_own_kernel_gets_masks_that_stay_there() -> None:
    dropped = layer().to("meta")
    y = dropped(torch.empty(4, 8, device="meta"))
    assert y.device.type == "meta" and y.shape == (4, 8)


def test_a_compiled_network_draws_the_same_masks_without_compiling_each_step() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    net = nn.Sequential(nn.Linear(6, 40), layer())
    compiled = torch.compile(net, backend=count)
    for step, place in ((0, 0), (1, 0), (2, 8)):
        set_position(net, step, place)
        x = torch.randn(8, 6)
        grown = [torch.autograd.grad(way(x).sum(), net[0].weight)[0] for way in (net, compiled)]
        torch.testing.assert_close(*grown)
        assert torch.equal(compiled(x) == 0, net(x) == 0)
    assert len(graphs) == 1
