"""Two processes that hold half of the network each compute what one process with all of it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.schema import Config
from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.net.halves import check_two_devices, exchanges, half
from alexnet.net.layers import at_least_float32
from alexnet.net.plan import layer_specs
from alexnet.net.specs import LinearSpec
from alexnet.net.two_devices import ColumnShard
from alexnet.training.optimizer import SGD2012, parameter_groups
from tests.conftest import Compose
from tests.net.pairs import in_two_processes

NARROW = ("scale=cifar", "scale.channels=[8,16,16,24,8]", "scale.fc_width=34")
CASES: dict[str, tuple[str, ...]] = {
    "two": (),
    "two, no LRN": ("lrn.layers=[]",),
    "isolated": ("columns.kind=isolated",),
    "isolated, no LRN": ("columns.kind=isolated", "lrn.layers=[]"),
    "source": ("recipe=source_2012", "schedule=log_2012"),
    "six layers": ("depth.sixth_conv=true",),
    "without conv3, bottleneck": ("depth.remove=[3]", "classifier.bottleneck=true"),
    "isolated, without conv1": ("columns.kind=isolated", "depth.remove=[1]"),
}
IMAGES, CLASSES, UPDATES = 6, 7, 2
"""The second half of the classes is the smaller one, as is that of the bottleneck's 17 units."""


@dataclass
class Seen:
    """What one process reports of one case."""

    differences: dict[str, float] = field(default_factory=dict)
    """Largest difference from the whole network, over the largest number of the whole's, by what was compared."""
    forward: int = 0
    """Bytes sent by this process in `UPDATES` steps."""
    backward: int = 0


def compare(rank: int, cases: Mapping[str, Config]) -> dict[str, dict[str, Any]]:
    """Every case in float64, where no rounding decides a near tie; the first also in float32 and bfloat16."""
    reports = {name: _compare(rank, config, torch.float64) for name, config in cases.items()}
    reports["float32"] = _compare(rank, cases["two"])
    with torch.autocast("cpu", torch.bfloat16):
        reports["bfloat16"] = _compare(rank, cases["two"])
    return {name: vars(seen) for name, seen in reports.items()}


def _compare(column: int, config: Config, dtype: torch.dtype = torch.float32) -> Seen:
    whole = AlexNet(config, num_classes=CLASSES, seed=3).to(dtype)
    half = ColumnShard(whole, config, column=column).to(dtype)
    half.connect(dist.group.WORLD, torch.device("cpu"))
    rules = [_rule(net, config) for net in (whole, half)]
    generator = torch.Generator().manual_seed(4)
    side = config.scale.crop_size
    seen = Seen()
    for step in range(UPDATES):
        pixels = 40 * torch.randn(IMAGES, 3, side, side, generator=generator, dtype=dtype)
        labels = torch.arange(IMAGES) % CLASSES
        logits = []
        for net, rule in zip((whole, half), rules, strict=True):
            torch.manual_seed(step)
            start = half.link.bytes_sent
            logits.append(net(pixels.contiguous(memory_format=torch.channels_last)))
            turn = half.link.bytes_sent
            rule.zero_grad()
            F.cross_entropy(at_least_float32(logits[-1]), labels).backward()
            seen.forward += turn - start
            seen.backward += half.link.bytes_sent - turn
        if step == 0:
            seen.differences["logits"] = _difference(logits[1], logits[0])
            seen.differences |= _differences(half, _gradients(half), _gradients(whole), "gradient of ")
        for rule in rules:
            rule.step()
    seen.differences |= _differences(half, dict(half.named_parameters()), dict(whole.named_parameters()), "updated ")
    return seen


def _rule(net: AlexNet | ColumnShard, config: Config) -> SGD2012:
    return SGD2012(parameter_groups(net, config.optimizer, []), lr=1e-3, momentum=0.9, weight_decay=5e-4)


def _gradients(net: AlexNet | ColumnShard) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


def _differences(half: ColumnShard, own: dict[str, Tensor], whole: dict[str, Tensor], what: str) -> dict[str, float]:
    return {f"{what}{name}": _difference(tensor, whole[name]) for name, tensor in half.full_state(own).items()}


def _difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).detach().abs().max() / other.detach().abs().max())


@pytest.fixture(scope="module")
def seen(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Seen]]:
    """By process and case."""
    cases = {name: compose(*NARROW, *overrides) for name, overrides in CASES.items()}
    reports = in_two_processes(compare, cases, folder=tmp_path_factory.mktemp("pair"))
    return [{name: Seen(**report) for name, report in process.items()} for process in reports]


@pytest.mark.parametrize("case", CASES)
def test_halves_compute_what_the_whole_does(case: str, seen: list[dict[str, Seen]]) -> None:
    for process in seen:
        differences = process[case].differences
        assert len(differences) > 25
        assert {name: value for name, value in differences.items() if not value < 1e-12} == {}


@pytest.mark.parametrize("case", CASES)
def test_bytes_sent_are_those_of_the_plan(case: str, seen: list[dict[str, Seen]], compose: Compose) -> None:
    planned = exchanges(layer_specs(compose(*NARROW, *CASES[case]), CLASSES))
    for way in ("forward", "backward"):
        sent = sum(getattr(process[case], way) for process in seen)
        assert sent == IMAGES * UPDATES * 8 * sum(getattr(exchange, way) for exchange in planned)


def test_floats_agree_for_a_step_and_bfloat16_sends_half(seen: list[dict[str, Seen]]) -> None:
    for process in seen:
        first_step = {k: v for k, v in process["float32"].differences.items() if not k.startswith("updated")}
        assert max(first_step.values()) < 1e-5
        assert max(process["bfloat16"].differences.values()) < 0.1
    for way in ("forward", "backward"):
        whole, wide, narrow = (getattr(seen[0][case], way) for case in ("float32", "two", "bfloat16"))
        assert whole > 0 and wide == 2 * whole and 2 * narrow == whole


def test_odd_numbers_are_halved_as_torch_halves_them(compose: Compose) -> None:
    layers = layer_specs(compose(*NARROW, "classifier.bottleneck=true"), CLASSES)
    units = [
        [half(layer, device=device) for layer in layers if layer.name in ("bottleneck", "fc8")] for device in (0, 1)
    ]
    assert [[layer.channels for layer in halves if isinstance(layer, LinearSpec)] for halves in units] == [
        [9, 4],
        [8, 3],
    ]


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        (("columns.kind=one",), r"columns=one has one: choose columns=two"),
        (("experiment=figure1",), r"architecture=cifar_\w+ has one column: add devices=single"),
        (("lrn.across_columns=true",), r"lrn\.across_columns=true needs devices=single"),
    ],
)
def test_what_cannot_be_halved_is_refused(overrides: tuple[str, ...], wrong: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=wrong):
        check_two_devices(compose(*overrides))
