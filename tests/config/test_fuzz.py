"""Command lines drawn at random: each is refused in one line, or is the run that was asked for."""

import random
from contextlib import suppress
from typing import Any

import pytest
import yaml

from alexnet.config.compose import ABLATIONS, CONF
from alexnet.config.job import check
from alexnet.config.schema import flatten
from alexnet.errors import UserError
from alexnet.net.plan import layer_specs
from tests.config.conftest import job

MUTATIONS = 2_000
VALUES = (
    *("0", "1", "-1", "2", "3.5", "1e-2", "1e400", "-0.0", "nan", "inf", "007", "1_000", "99999999999999999999"),
    *("true", "yes", "off", "null", "~", "???", "''", '""', "a b", "x=y", "{}", "[]", "[1]", "[2,1]", "[1,1]", "[[1]]"),
    *("{a:1}", "{fc8:0.5}", "${seed}", "${oc.env:NOT_SET}", "${", "one", "two", "paper", "none", "é", "\U0001f600"),
    *("[fc8]", "[fc8,fc8]", "raw", "jpeg", "/dev/null", "..", "'1'", "0x10", "1,2", "glob(*)", "%", "\\"),
)


def mutation(draw: random.Random, keys: list[str], groups: dict[str, list[str]], ablations: list[str]) -> list[str]:
    """One to four overrides: keys, groups and ablations, some of them misspelt."""
    overrides = []
    for _ in range(draw.randint(1, 4)):
        kind = draw.random()
        if kind < 0.6:
            name, value = draw.choice(keys), draw.choice(VALUES)
        elif kind < 0.8:
            name = draw.choice(sorted(groups))
            value = draw.choice(groups[name])
        else:
            name, value = "ablation", f"[{','.join(draw.choices(ablations, k=draw.randint(1, 2)))}]"
        if draw.random() < 0.05:
            place = draw.randrange(len(name))
            name = name[:place] + name[place + 1 :]
        overrides.append(f"{draw.choice(('', '', '', '+', '++', '~'))}{name}={value}")
    return overrides


def wanted(overrides: list[str]) -> dict[str, str]:
    """The single values that a command line asks for, as texts, the last of each key."""
    pairs = (one.lstrip("+").partition("=") for one in overrides)
    return {key: value for key, _, value in pairs if "." in key and "$" not in value}


def is_meant(text: str, held: object) -> bool:
    """Whether a value of the configuration is what a text on the command line says."""
    bare = text.strip("'\"")
    if held in (yaml.safe_load(text), bare) or str(held) == bare:
        return True
    with suppress(ValueError):  # 1e-2 is no number to YAML 1.1
        return not isinstance(held, str) and float(bare) == held
    return False


@pytest.mark.slow
def test_each_is_refused_in_one_line_or_is_the_run_asked_for() -> None:
    draw = random.Random(2012)
    keys = sorted(flatten(job().tree))
    groups = {
        folder.name: [file.stem for file in folder.glob("*.yaml")] for folder in CONF.iterdir() if folder.is_dir()
    }
    ablations = [file.relative_to(ABLATIONS).with_suffix("").as_posix() for file in sorted(ABLATIONS.rglob("*.yaml"))]
    networks: dict[str, Any] = {}
    accepted = 0
    for _ in range(MUTATIONS):
        overrides = mutation(draw, keys, groups, ablations)
        try:
            found = check(overrides)
            layers = layer_specs(found.config, 20)
        except UserError as error:
            assert "\n" not in str(error), overrides
            continue
        accepted += 1
        flat = flatten(found.tree)
        for key, text in wanted(overrides).items():
            assert key not in flat or is_meant(text, flat[key]), (overrides, key, flat[key])
        assert networks.setdefault(found.identity, layers) == layers, overrides
    assert accepted > MUTATIONS / 20
