"""The momentum rule of 2012 against the printed formula in float64, and against torch's own SGD."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from alexnet.config.values import OptimizerConfig
from alexnet.training.optimizer import SGD2012, parameter_groups

RATES = [0.01] * 20 + [0.001] * 15 + [0.0001] * 15
DECAY = 0.0005


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)).double()


def settings(**changed: Any) -> OptimizerConfig:
    values: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": DECAY, "decay_biases": True, "batch_size": 8}
    return OptimizerConfig(**values | changed)


def gradient(weight: NDArray[np.float64], step: int, index: int) -> NDArray[np.float64]:
    """Of a made-up loss: a noisy pull, and a spring that feeds every difference back."""
    return 2.0 * weight + np.random.default_rng([step, index]).normal(size=weight.shape)


def trained(decay_biases: bool = True, rates: list[float] = RATES) -> list[NDArray[np.float64]]:
    model = net()
    groups = parameter_groups(model, settings(weight_decay=DECAY, decay_biases=decay_biases), [])
    optimizer = SGD2012(groups, lr=RATES[0], momentum=0.9, weight_decay=DECAY)
    for step, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for index, weight in enumerate(model.parameters()):
            weight.grad = torch.from_numpy(gradient(weight.detach().numpy(), step, index))
        optimizer.step()
    return [weight.detach().numpy() for weight in model.parameters()]


@pytest.mark.parametrize("decay_biases", [True, False])
def test_fifty_steps_across_two_drops_follow_the_printed_rule(decay_biases: bool) -> None:
    names, weights = zip(*net().named_parameters(), strict=True)
    expected = [weight.detach().numpy().copy() for weight in weights]
    for index, (name, w) in enumerate(zip(names, expected, strict=True)):
        v, decay = np.zeros_like(w), 0.0 if name.endswith("bias") and not decay_biases else 0.0005
        for step, rate in enumerate(RATES):
            v = 0.9 * v - decay * rate * w - rate * gradient(w, step, index)
            w = w + v
        expected[index] = w
    for ours, theirs in zip(trained(decay_biases), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def by_sgd(*, rescale: bool) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """The same steps with torch's SGD: weights before the first drop, and at the end."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATES[0], momentum=0.9, weight_decay=DECAY)
    before: list[NDArray[np.float64]] = []
    for step, rate in enumerate(RATES):
        old = optimizer.param_groups[0]["lr"]
        if rate != old:
            before = before or [weight.detach().numpy().copy() for weight in model.parameters()]
            for weight in model.parameters():
                if rescale:
                    optimizer.state[weight]["momentum_buffer"].mul_(old / rate)
            optimizer.param_groups[0]["lr"] = rate
        for index, weight in enumerate(model.parameters()):
            weight.grad = torch.from_numpy(gradient(weight.detach().numpy(), step, index))
        optimizer.step()
    return before, [weight.detach().numpy() for weight in model.parameters()]


def test_torch_s_sgd_with_rescaled_velocities_is_the_same_rule() -> None:
    for ours, theirs in zip(trained(), by_sgd(rescale=True)[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_torch_s_sgd_as_it_is_differs_from_the_first_drop_on() -> None:
    ours, (before, after) = trained(), by_sgd(rescale=False)
    for weight, other, start in zip(ours, after, before, strict=True):
        # Of the way since the drop, not a rounding error: a good part of it.
        assert np.abs(weight - other).max() > 0.1 * np.abs(weight - start).max()
    for weight, start in zip(trained(rates=RATES[:20]), before, strict=True):
        np.testing.assert_allclose(weight, start, rtol=1e-11)


def test_a_weight_without_a_gradient_stays() -> None:
    model = net()
    first, *others = model.parameters()
    optimizer = SGD2012(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    kept, value = first.detach().clone(), others[0].detach().clone()
    for weight in others:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(first, kept)
    torch.testing.assert_close(others[0].detach(), value - 0.1 - 0.1 * 0.1 * value)


def test_every_weight_is_in_one_group() -> None:
    model = net()
    for decay_biases in (True, False):
        weights, biases = parameter_groups(model, settings(weight_decay=0.3, decay_biases=decay_biases), [])
        assert [p.ndim for p in weights["params"]] == [2, 2] and [p.ndim for p in biases["params"]] == [1, 1]
        assert (weights["weight_decay"], biases["weight_decay"]) == (0.3, 0.3 if decay_biases else 0.0)


@pytest.mark.parametrize("decay_biases", [True, False])
def test_layers_have_decays_of_their_own_and_biases_their_own_rate(decay_biases: bool) -> None:
    model = net()
    factors = {"0": 2.5, "1": 0.0}
    chosen = settings(
        weight_decay=0.4, decay_biases=decay_biases, weight_decay_multipliers=factors, bias_lr_multiplier=2.0
    )
    groups = parameter_groups(model, chosen, [])
    found = {id(p): (group["weight_decay"], group["rate_factor"]) for group in groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups) == 4
    names = {name: found[id(parameter)] for name, parameter in model.named_parameters()}
    assert names["0.weight"] == (1.0, 1.0) and names["1.weight"] == (0.0, 1.0)
    assert names["0.bias"] == (1.0 if decay_biases else 0.0, 2.0) and names["1.bias"] == (0.0, 2.0)
    assert groups[0]["rate_factor"] == 1.0  # the rate that is recorded is that of the weights


def test_late_layers_have_groups_of_their_own_behind_the_others() -> None:
    model = net()
    groups = parameter_groups(model, settings(decay_biases=False), ["0"])
    kinds = [(group["is_bias"], group["is_late"]) for group in groups]
    assert kinds == [(False, False), (False, True), (True, False), (True, True)]
    assert [
        group["params"][0] is dict(model.named_parameters())[name]
        for group, name in zip(groups, ("1.weight", "0.weight", "1.bias", "0.bias"), strict=True)
    ] == [True] * 4


def test_a_rate_of_0_freezes() -> None:
    """Neither decay nor what is left of the velocity moves it, and the velocity waits."""
    model = net()
    optimizer = SGD2012(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    positions = []
    for rate in (0.1, 0.0, 0.1):
        optimizer.param_groups[0]["lr"] = rate
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        positions.append([weight.detach().clone() for weight in model.parameters()])
    moved, frozen, on = positions
    assert all(torch.equal(one, other) for one, other in zip(moved, frozen, strict=True))
    for before, after in zip(frozen, on, strict=True):
        assert (after - before).abs().min() > 0.1  # 0.9 of the first step, and another


def test_velocities_survive_saving() -> None:
    ways = []
    for interrupted in (False, True):
        model = net()
        optimizer = SGD2012(model.parameters(), lr=0.01, momentum=0.9, weight_decay=DECAY)
        for step in range(6):
            if interrupted and step == 3:
                saved = optimizer.state_dict()
                optimizer = SGD2012(model.parameters(), lr=0.5, momentum=0.1, weight_decay=0.0)
                optimizer.load_state_dict(saved)
            for index, weight in enumerate(model.parameters()):
                weight.grad = torch.from_numpy(gradient(weight.detach().numpy(), step, index))
            optimizer.step()
        ways.append([weight.detach() for weight in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ways, strict=True))


def test_the_order_of_the_numbers_in_memory_is_the_weight_s_own() -> None:
    """Gradients and velocities of another layout are numbers at the same indices, not at the same addresses."""
    ways = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5).clone(memory_format=layout))
        optimizer = SGD2012([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
        weight.grad = torch.arange(120.0).reshape(2, 3, 4, 5)
        optimizer.step()
        state = optimizer.state[weight]
        state["momentum_buffer"] = state["momentum_buffer"].contiguous()  # as a network on two devices saves it
        optimizer.step()
        ways.append(weight.detach())
    assert torch.equal(*ways)


def test_float32_follows_the_rule_to_the_last_bits() -> None:
    """At every rate that a schedule comes to, against the rule in float64."""
    generator = torch.Generator().manual_seed(0)
    for rate in (0.01, 1e-5, 1e-8):
        w, v, g = (torch.randn(1000, generator=generator) for _ in range(3))
        weight = nn.Parameter(w.clone())
        optimizer = SGD2012([weight], lr=rate, momentum=0.9, weight_decay=DECAY)
        optimizer.state[weight]["momentum_buffer"], weight.grad = -v / rate, g
        optimizer.step()
        velocity = 0.9 * v.double() - DECAY * rate * w.double() - rate * g.double()
        saved = -rate * optimizer.state[weight]["momentum_buffer"].double()
        torch.testing.assert_close(saved, velocity, rtol=3e-7, atol=3e-7)
        torch.testing.assert_close(weight.detach().double(), w.double() + velocity, rtol=3e-7, atol=5e-7)


def test_a_small_rate_is_not_rounded_away() -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer = SGD2012([weight], lr=1e-7, momentum=0.9, weight_decay=0.0)
    weight.grad = torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((3,), -1e-7), rtol=1e-6, atol=0)


def test_without_momentum_a_step_is_the_gradient_s_and_the_decay_s() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = SGD2012([weight], lr=0.5, momentum=0.0, weight_decay=0.1)
    for _ in range(2):
        weight.grad = torch.full((3,), 0.2)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((3,), (1 - 0.5 * 0.3) * 0.95 - 0.1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_makes_the_same_steps() -> None:
    ways = []
    for device in ("cpu", "cuda"):
        model = net().float().to(device)
        optimizer = SGD2012(model.parameters(), lr=0.01, momentum=0.9, weight_decay=DECAY)
        for step in range(5):
            for index, weight in enumerate(model.parameters()):
                drawn = np.random.default_rng([step, index]).normal(size=weight.shape)
                weight.grad = torch.from_numpy(drawn).float().to(device)
            optimizer.step()
        ways.append([weight.detach().cpu() for weight in model.parameters()])
    for mine, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
