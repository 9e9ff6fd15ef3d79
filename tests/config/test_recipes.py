"""The two recipes, row by row of docs/recipes.md, against the facts of the release written down here once more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alexnet.config.compose import ABLATIONS, ablation_choices, ablation_content
from alexnet.net.plan import layer_specs
from alexnet.net.specs import (
    ActivationSpec,
    ConvSpec,
    LinearSpec,
    LRNSpec,
    PoolSpec,
    WithinChannelLRNSpec,
    total_parameters,
)
from tests.config.conftest import job, leaves

DOCUMENT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
# Number of the difference -> key -> (what the text has, what the source has).
DIFFERENCES: dict[int, dict[str, tuple[Any, Any]]] = {
    1: {"relu_position.after_pooling": ([], [1])},
    2: {"lrn.divide_alpha": (False, True)},
    4: {"within_channel_lrn.layers": ([], [2])},
    5: {"init.std_conv3_to_5": (0.01, 0.03)},
    6: {"optimizer.bias_lr_multiplier": (1.0, 2.0), "late_changes.bias_milestones": (None, [])},
    7: {"late_changes.layers": ([], [1])},
    8: {"optimizer.decay_biases": (True, False)},
    9: {"late_changes.color_off_epoch": (None, 66)},
    11: {"color.rescale": (False, True)},
    12: {"crops.include_last_offset": (False, True)},
    13: {"crops.images_per_crop": (1, 32)},
    14: {"crops.center_mean": (False, True)},
    15: {"shuffle.each_epoch": (True, False)},
}
# What both have alike, so that the row is a statement and no choice.
ALIKE: dict[int, dict[str, Any]] = {
    3: {"lrn.across_columns": False},
    7: {"late_changes.lr_drop_epoch": 66, "late_changes.freeze_epoch": 71, "late_changes.of_epochs": 91},
    10: {"color.magnitude": "std", "color.std": 0.1},
    32: {"optimizer.momentum": 0.9, "optimizer.weight_decay": 0.0005, "optimizer.lr": 0.01},
}
GROUPS = ("lrn", "init", "crops", "color")
PRINTED = ("experiment=ilsvrc2012", "data.root=/data/pack", "schedule=log_2012")


def values(*arguments: str) -> dict[str, Any]:
    return leaves(job(*arguments).tree)


def test_the_recipes_differ_in_these_keys_and_no_other() -> None:
    paper, source = values(*PRINTED), values("recipe=source_2012", *PRINTED)
    expected = {key: pair for keys in DIFFERENCES.values() for key, pair in keys.items()}
    found = {key: (paper[key], source[key]) for key in paper if paper[key] != source[key]}
    assert found == expected | {"recipe": ("paper", "source_2012")}
    for keys in ALIKE.values():
        for key, value in keys.items():
            assert paper[key] == source[key] == value, key


def test_the_page_has_every_difference_and_names_real_keys() -> None:
    rows = {int(row.split("|")[1]): row for row in DOCUMENT.splitlines() if re.match(r"\| \d+ \|", row)}
    assert sorted(rows) == list(range(1, 33))
    known = values("recipe=source_2012")
    for number, row in rows.items():
        keys = re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", row.split("|")[5])
        assert all(key in known for key in keys), keys
        assert set(DIFFERENCES.get(number, {})) <= set(keys)
        choices = re.findall(r"\+ablation=([a-z0-9_/]+)", row)
        assert all(choice in ablation_choices() for choice in choices), choices


def test_each_difference_can_be_switched_alone_on_either_recipe() -> None:
    """By an ablation on the text's recipe (test_ablations composes them), by its group or key on the source's."""
    switched: dict[str, Any] = {}
    for choice in ablation_choices():
        if choice.startswith("source/") and choice != "source/all":
            content = ablation_content(choice, ())
            switched |= leaves({key: value for key, value in content.items() if key != "ablations"})
    differences = {key: pair for keys in DIFFERENCES.values() for key, pair in keys.items()}
    assert switched == {key: source for key, (_, source) in differences.items()}
    taken_back = {key: text for key, (text, _) in differences.items() if key.partition(".")[0] not in GROUPS}
    overrides = [f"{key}={json.dumps(text)}" for key, text in taken_back.items()]
    recipe = values("recipe=source_2012", *PRINTED, *(f"{group}=paper" for group in GROUPS), *overrides)
    assert recipe | {"recipe": "paper"} == values(*PRINTED)


def test_the_source_as_an_ablation_is_the_recipe() -> None:
    ablation, recipe = job("+ablation=source/all", *PRINTED), job("recipe=source_2012", *PRINTED)
    mine, theirs = leaves(ablation.tree), leaves(recipe.tree)
    assert {key: value for key, value in mine.items() if not key.startswith(("ablations", "recipe"))} == {
        key: value for key, value in theirs.items() if not key.startswith(("ablations", "recipe"))
    }
    assert ablation.pairing_key == job(*PRINTED).pairing_key


def kinds(*arguments: str) -> list[str]:
    """The layers of the first two convolutions, in order, as a facts sheet would name them."""
    names = {
        ConvSpec: "conv",
        LRNSpec: "lrn",
        WithinChannelLRNSpec: "same-map",
        PoolSpec: "pool",
        ActivationSpec: "relu",
    }
    layers = layer_specs(job("scale=paper", *arguments).config, 1000)
    end = next(index for index, layer in enumerate(layers) if layer.name == "conv3")
    return [names[type(layer)] for layer in layers[:end]]


def test_the_order_of_the_first_two_layers() -> None:
    """Sections 3.3 to 3.5 of the paper; layers-145.cfg."""
    paper = ["conv", "relu", "lrn", "pool"]
    assert kinds() == paper * 2
    source = ["conv", "lrn", "pool", "relu", "conv", "relu", "lrn", "same-map", "pool"]
    assert kinds("recipe=source_2012", "schedule=log_2012") == source


LOG_145 = {"net_145_2012": (40.664, 18.21), "net_145_2010": (37.4727, 16.9987)}
# Errors of the log with ten crops, in percent, and the parameters of each net with 1000 classes.
RECORD: dict[str, tuple[tuple[float, float] | None, int]] = {
    "net_145_half": ((39.168, 18.2287), 59_798_312),
    "net_146": (None, 61_555_304),
    "net_147": ((41.058, 18.51), 60_965_224),
    "net_148": ((42.034, 19.362), 60_965_224),
    "net_149": (None, 60_965_224),
    "net_150": ((41.828, 19.33), 60_714_408),
    "net_166": ((41.096, 18.674), 60_965_224),
    "net_167": ((40.488, 18.118), 60_965_224),
}


@pytest.mark.parametrize("experiment", LOG_145)
def test_net_145_has_the_log_s_target_and_schedule(experiment: str) -> None:
    config = job(f"experiment={experiment}", "data.root=/data/pack").config
    assert (config.target.log.top1, config.target.log.top5) == LOG_145[experiment]
    assert config.recipe == "source_2012" and config.schedule.epochs == (91 if experiment.endswith("2012") else 93)
    assert total_parameters(layer_specs(config, 1000)) == 60_965_224


@pytest.mark.parametrize("net", RECORD)
def test_a_net_of_the_record(net: str) -> None:
    experiment = "net_145_2010" if net == "net_145_half" else "net_145_2012"
    one = job(f"experiment={experiment}", "data.root=/data/pack", f"+ablation=record/{net}").config
    errors, size = RECORD[net]
    assert total_parameters(layer_specs(one, 1000)) == size
    claim = one.ablations[f"record_{net}"]
    if errors is None:
        assert (one.target.log.top1, claim.log.top1) == (None if claim.log.top1 else one.target.log.top1, None)
        return
    assert (one.target.log.top1, one.target.log.top5) == errors and one.target.paper.top1 is None
    base = LOG_145[experiment]
    assert claim.log.top1 == pytest.approx(errors[0] - base[0], abs=1e-9)
    assert claim.log.top5 == pytest.approx(errors[1] - base[1], abs=1e-9)


def record_layers(net: str) -> list[str]:
    arguments = ("experiment=net_145_2012", "data.root=/data/pack", f"+ablation=record/{net}")
    return [layer.name for layer in layer_specs(job(*arguments).config, 1000) if not isinstance(layer, LinearSpec)]


def test_what_the_record_s_nets_are_made_of() -> None:
    """layers-148.cfg, -149, -166 and -167."""
    assert not any("norm" in name or "lrn" in name for name in record_layers("net_148"))
    tail = record_layers("net_149")
    assert tail[tail.index("conv5") :][:4] == ["conv5", "lrn5", "pool5", "conv5_relu"]
    second = record_layers("net_166")
    assert second[second.index("conv2") :][:5] == ["conv2", "lrn2", "within_channel_lrn2", "pool2", "conv2_relu"]
    second = record_layers("net_167")
    assert second[second.index("conv2") :][:3] == ["conv2", "conv2_relu", "pool2"] and "lrn1" in second


def test_every_record_and_source_file_is_looked_at() -> None:
    assert {file.stem for file in (ABLATIONS / "record").glob("*.yaml")} == set(RECORD)
