"""Every file of conf/: it composes, its values arrive, and it says why they are what they are."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from alexnet.config.compose import CONF
from alexnet.config.job import misnamed_images, unreached_milestones
from tests.config.conftest import job, leaves
from tests.conftest import checked

FILES = sorted(
    file for file in CONF.rglob("*.yaml") if file.parent != CONF and not file.stem.startswith("study_")
)  # studies choose runs: tests/config/test_studies.py
EXPERIMENTS = [file.stem for file in FILES if file.parent.name == "experiment"]
ALONE = ("architecture", "debug", "recipe", "experiment")
"""Groups whose choices need others, or set their values; the rest are composed together, one of each at a time."""
GROUPS = {group: [file for file in FILES if file.parent.name == group] for group in {f.parent.name for f in FILES}}


def name(file: Path) -> str:
    return f"{file.parent.name}={file.stem}"


def command_of(experiment: str) -> list[str]:
    """The overrides of an experiment's command, which its header states."""
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("# Command:")]
    words = command.split()[2:]
    assert words[:2] == ["python", "train.py"]
    # A checkpoint is looked at when the command is read; the others' places are not.
    return [word for word in words[2:] if word != "pretrained.checkpoint=RUN"]


def chosen(file: Path) -> dict[str, Any]:
    """The tree with this choice, in company that it can stand in."""
    group = file.parent.name
    if group == "experiment":
        return job(*command_of(file.stem)).tree
    if group in ALONE:
        cifar = file.stem.startswith("cifar")
        return job(name(file), *(["columns=one", "dropout=none"] if cifar else [])).tree
    index = GROUPS[group].index(file)
    together = [files[index % len(files)] for group, files in sorted(GROUPS.items()) if group not in ALONE]
    return job(*map(name, together)).tree


@cache
def values_of(file: Path) -> dict[str, Any]:
    return {key: value for key, value in yaml.safe_load(file.read_text()).items() if key != "defaults"}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_choice_composes_and_its_values_arrive(file: Path) -> None:
    found = leaves(chosen(file))
    text, values = file.read_text(), values_of(file)
    package = "" if "@package _global_" in text else f"{file.parent.name}."
    of_experiment = {} if file.parent.name == "experiment" else leaves(values_of(CONF / "experiment" / "demo.yaml"))
    for key, value in (leaves(values) if values else {}).items():
        assert found[f"{package}{key}"] == of_experiment.get(f"{package}{key}", value), key


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_chooses_where_there_is_a_choice(experiment: str) -> None:
    """Its own value would silently overrule `group=choice` on the command line."""
    values = values_of(CONF / "experiment" / f"{experiment}.yaml")
    for group in set(values) & GROUPS.keys() - {"experiment"}:
        assert len(GROUPS[group]) == 1, group


def test_a_choice_on_the_command_line_beats_the_experiment_s() -> None:
    demo, paper = (job(f"experiment={one}", "schedule=log_2010").config.schedule for one in ("demo", "ilsvrc2012"))
    assert demo == paper and demo.kind == "multistep"


def test_two_choices_of_one_group_differ() -> None:
    for group in GROUPS.keys() - {"debug", "experiment", "recipe"}:
        trees = [str(chosen(file)[group]) for file in GROUPS[group]]
        assert len(set(trees)) == len(trees), group


@pytest.mark.parametrize("file", [*FILES, CONF / "config.yaml"], ids=name)
def test_a_file_says_why(file: Path) -> None:
    comments = [line.partition("#")[2].strip() for line in file.read_text().splitlines() if "#" in line]
    assert any(len(comment.split()) >= 2 for comment in comments if not comment.startswith("@package"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_s_drops_are_made(experiment: str) -> None:
    assert unreached_milestones(job(*command_of(experiment))) is None


@pytest.mark.parametrize(
    ("shorter", "said"),
    [
        (
            ["schedule.epochs=10"],
            ["schedule.epochs=10 ends before", "at epoch 20 and 26:", "rescale_to_epochs=10 in its"],
        ),
        # Epochs count from 0: the last is 25. 26 x 3 / 30 is 3.
        (["schedule.epochs=26"], ["epoch 26:", "schedule.rescale_to_epochs=26 in its"]),
        (["schedule.epochs=3"], ["schedule.epochs=3 ends before", ": schedule.rescale_to_epochs=5 in its"]),
        (["schedule.epochs=3", "schedule.milestones=[1,4]"], ["epoch 4:", "rescale_to_epochs=12 in its"]),
        (
            ["schedule.rescale_to_epochs=3"],
            ["schedule.rescale_to_epochs=3 is too short for 1 of the 2 drops", ": 5 epochs are enough"],
        ),
        (["schedule.rescale_to_epochs=4"], ["rescale_to_epochs=4 makes several drops", ": 5 epochs are enough"]),
        (["schedule.rescale_to_epochs=10"], []),
        (["schedule.epochs=10", "schedule.kind=plateau"], []),  # of no effect there
    ],
)
def test_drops_after_the_end_of_training_are_said(shorter: list[str], said: list[str]) -> None:
    line = unreached_milestones(checked("schedule=epochs_30", *shorter))
    assert (line is not None) == bool(said)
    for words in said:
        assert line is not None and words in line


def test_own_images_under_the_name_of_the_drawn_ones_are_said() -> None:
    assert "add data=folder" in (misnamed_images(checked("data.root=/images")) or "")
    assert misnamed_images(checked()) is None
    assert misnamed_images(checked("data=folder", "data.root=/images")) is None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_s_command_runs_it(experiment: str) -> None:
    assert job(*command_of(experiment)).config.experiment == experiment


def test_the_paper_s_experiments_hold_the_paper_s_values() -> None:
    config = job(*command_of("ilsvrc2012")).config
    assert config.scale.channels == [96, 256, 384, 384, 256] and config.scale.fc_width == 4096
    assert (config.lrn.size, config.lrn.k, config.lrn.alpha, config.lrn.beta) == (5, 2.0, 1e-4, 0.75)
    assert config.lrn.layers == [1, 2] and not config.lrn.divide_alpha
    assert (config.pooling.size, config.pooling.stride) == (3, 2)
    assert (config.dropout.layers, config.dropout.probability) == ([6, 7], 0.5)
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 0.0005)
    assert optimizer.batch_size == 128
    assert (config.schedule.kind, config.schedule.factor, config.schedule.max_lr_drops) == ("plateau", 10.0, 3)
    assert (config.target.paper.top1, config.target.paper.top5) == (40.7, 18.2)
    assert (config.target.log.top1, config.target.log.top5) == (40.664, 18.210)
    earlier = job(*command_of("ilsvrc2010")).config
    assert (earlier.target.paper.top1, earlier.target.paper.top5) == (37.5, 17.0)


def test_the_cifar_nets_hold_the_values_of_their_release() -> None:
    """Layer definitions and parameter files of cuda-convnet, July 2012."""
    config = job("experiment=cifar10_normalization").config
    assert (config.scale.image_size, config.scale.crop_size) == (32, 24) and config.crops.include_last_offset
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.lr * optimizer.bias_lr_multiplier, optimizer.momentum) == (0.001, 0.002, 0.9)
    decays = {layer: factor * optimizer.weight_decay for layer, factor in optimizer.weight_decay_multipliers.items()}
    assert decays == {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc5": 0.004}
    assert not optimizer.decay_biases and config.lrn.layers == [] and config.target.paper.top1 == 13
    assert (config.schedule.epochs, config.schedule.milestones) == (520, [500, 510])
    decays_of = {"cifar_19pct": [0.004, 0.004, 0.004, 3], "cifar_80sec": [0.004, 0.004, 0.004, 0.03, 0.03]}
    for name_, expected in decays_of.items():
        optimizer = job(f"optimizer={name_}").config.optimizer
        factors = optimizer.weight_decay_multipliers
        assert [factors[layer] * optimizer.weight_decay for layer in sorted(factors)] == pytest.approx(expected)


def test_figure_1_has_no_regularisation() -> None:
    config = job("experiment=figure1").config
    assert (config.optimizer.weight_decay, config.dropout.layers, config.lrn.layers) == (0, [], [])
    assert not (config.crops.random or config.crops.flip) and config.color.std == 0
    assert config.scale.crop_size == config.scale.image_size == 32
    assert config.schedule.stop_at_train_error == 25 and config.schedule.milestones == []
