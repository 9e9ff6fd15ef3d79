"""What two devices exchange, against numbers worked out by hand from the sizes of the paper's layers."""

import re
from io import StringIO

import pytest
from rich.console import Console

from alexnet.commands.describe import exchange_tables, traffic
from alexnet.errors import UserError
from alexnet.net.halves import Exchange, everywhere, exchanges
from alexnet.net.plan import layer_specs
from tests.conftest import Compose

POOL1, POOL2, CONV3, CONV4, POOL5 = 96 * 27**2, 256 * 13**2, 384 * 13**2, 384 * 13**2, 256 * 6**2


def sizes(found: tuple[Exchange, ...]) -> dict[str, int]:
    return {exchange.reader: exchange.forward for exchange in found}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), {"conv3": POOL2, "fc6": POOL5, "fc7": 4096, "fc8": 4096, "loss": 1000}),
        (("columns.kind=isolated",), {"fc8": 4096, "loss": 1000}),
        (
            ("depth.sixth_conv=true",),
            {"conv3": POOL2, "conv6": POOL5, "fc6": POOL5, "fc7": 4096, "fc8": 4096, "loss": 1000},
        ),
        (("depth.remove=[3]",), {"conv4": POOL2, "fc6": POOL5, "fc7": 4096, "fc8": 4096, "loss": 1000}),
        (
            ("classifier.bottleneck=true",),
            {"conv3": POOL2, "fc6": POOL5, "fc7": 4096, "bottleneck": 4096, "fc8": 2048, "loss": 1000},
        ),
    ],
)
def test_columns_meet_where_the_paper_says(
    overrides: tuple[str, ...], expected: dict[str, int], compose: Compose
) -> None:
    assert sizes(exchanges(layer_specs(compose("scale=paper", *overrides), 1000))) == expected


def test_the_paper_s_net_at_every_layer(compose: Compose) -> None:
    layers = everywhere(layer_specs(compose("scale=paper"), 1000))
    convolutions = {"conv2": POOL1, "conv3": POOL2, "conv4": CONV3, "conv5": CONV4}
    assert sizes(exchanges(layers)) == convolutions | {"fc6": POOL5, "fc7": 4096, "fc8": 4096, "loss": 1000}
    assert min(convolutions, key=lambda name: convolutions[name]) == "conv3"


def test_traffic_of_a_training_step(compose: Compose) -> None:
    numbers, multiply_adds = traffic(layer_specs(compose("scale=paper"), 1000))
    assert 4 * numbers == 4 * (2 * (POOL2 + POOL5 + 4096 + 4096) + 1000) == 489_376
    # The layer table's total three times, without conv1's gradient for the pixels.
    assert multiply_adds == 3 * 724_406_816 - 55**2 * 96 * 11**2 * 3 == 2_067_805_248


@pytest.mark.parametrize(("precision", "megabytes"), [("32-true", "15.66"), ("bf16-mixed", "7.83")])
def test_the_table_shows_every_exchange_and_the_choices(precision: str, megabytes: str, compose: Compose) -> None:
    config = compose("scale=paper", "optimizer.batch_size=32", f"hardware.precision={precision}")
    screen = StringIO()
    Console(file=screen, width=80).print(*exchange_tables(config, 1000))
    rows = {line.split("  ")[0].strip(): line for line in screen.getvalue().splitlines()}
    assert rows["two"].split()[2] == megabytes
    per_thousand = 1000 * 489_376 / 2_067_805_248 * (1.0 if precision == "32-true" else 0.5)
    assert rows["two"].split()[-1] == f"{per_thousand:.3f}"
    assert rows["isolated"].split()[1] == f"{36_768 if precision == '32-true' else 36_768 // 2:,}"
    assert "43,264" in rows["conv3"] and len(re.findall(r"[\d,.]+", rows["conv4"].partition("conv4")[2])) == 2
    assert {"conv2", "conv5", "fc6", "fc7", "fc8", "loss", "at every layer"} <= rows.keys()


def test_a_net_of_one_column_has_no_exchanges_to_show(compose: Compose) -> None:
    with pytest.raises(UserError, match="columns=one has one"):
        exchange_tables(compose("columns.kind=one"), 10)
