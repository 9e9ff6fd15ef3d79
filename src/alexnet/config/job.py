"""One checked job: the configuration of a run, what its ablation changed, and the names that identify it."""

import json
import shlex
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alexnet.config.compose import (
    ablation_files,
    compose_tree,
    default_choices,
    validate,
)
from alexnet.config.groups import ALEXNET
from alexnet.config.schema import NON_IDENTITY_KEYS, Config, ConfigTree, flatten, schema_defaults
from alexnet.errors import UserError, did_you_mean

CLAIM_KEYS = ("ablations", "target")
"""Keys in which an ablation says what it tests, beside what it changes."""
ALEXNET_ONLY_KEYS = (
    "init",
    "scale.conv1_kernel",
    "scale.conv1_stride",
    "scale.conv1_padding",
    "scale.channels",
    "scale.fc_width",
)
"""Keys without a part in the CIFAR-10 nets, whose layers and initial weights are fixed."""
LONGEST_ABLATION = 80
"""Characters of a run's ablation that its directory is named after: names of files end at 255, W&B's ids at 128."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A configuration that has passed every check that needs no data."""

    config: Config
    tree: ConfigTree
    """The same as plain values, to be saved."""
    changes: dict[str, tuple[Any, Any]]
    """What the ablations changed: dotted key -> (value in the baseline, value in this run)."""
    pairing_key: str
    """Equal for runs that differ in nothing but the ablation and the seed."""
    command: str


def check(overrides: list[str]) -> Job:
    """Compose and check one job from its overrides.

    Raises:
        UserError: anything is misspelt, mistyped or out of range, or the command line contradicts its ablation.
    """
    tree = compose_tree(overrides)
    config = validate(tree)
    _check_architecture(config, overrides)
    if not config.ablations:
        baseline = tree
    else:
        others = [override for override in overrides if _group(override) != "ablation"]
        baseline = compose_tree(others)
        for name in config.ablations:
            if name not in ablation_files():
                raise UserError(f"ablations.{name}: there is no such ablation{did_you_mean(name, ablation_files())}")
            _check_ablation(name, tree, baseline, others)
    return Job(
        config=config,
        tree=tree,
        changes=_changes(baseline, tree),
        pairing_key=_digest(_without(_with_digest(baseline), *NON_IDENTITY_KEYS, "seed", "ablations", "data.root")),
        command=shlex.join(["python", "train.py", *overrides]),
    )


def unreached_milestones(job: Job) -> str | None:
    """A line about drops of the learning rate that would come after the end of training; None where all are made."""
    schedule, given = job.config.schedule, job.tree["schedule"]
    lost = [drop for drop in schedule.milestones if drop >= schedule.epochs]
    if schedule.kind != "multistep" or not lost:
        return None
    if given["rescale_to_epochs"] not in (None, given["epochs"]):
        return (
            f"note: schedule.rescale_to_epochs={schedule.epochs} is too short for {len(lost)} of the"
            f" {len(schedule.milestones)} drops of the learning rate: they are never made"
        )
    return (
        f"note: schedule.epochs={schedule.epochs} ends before the learning rate drops at epoch"
        f" {' and '.join(map(str, lost))}: schedule.rescale_to_epochs={schedule.epochs} in its place moves all drops"
        " along (schedule.milestones=[] if none is wanted)"
    )


def _check_architecture(config: Config, overrides: list[str]) -> None:
    """Refuse values that the chosen network would silently ignore."""
    if config.architecture.name == ALEXNET:
        return
    ablated = [key for name in config.ablations if name in ablation_files() for key in declared_changes(name)]
    for key in [*map(_group, overrides), *ablated]:
        if any(key == ignored or key.startswith(f"{ignored}.") for ignored in ALEXNET_ONLY_KEYS):
            raise UserError(f"{key} has no meaning for architecture={config.architecture.name}: its layers are fixed")


def _group(override: str) -> str:
    """What an override names: `+lrn.k=1` -> `lrn.k`."""
    return override.lstrip("+~").partition("=")[0]


def declared_changes(name: str) -> dict[str, Any]:
    """What an ablation's file sets, by dotted key."""
    return flatten({key: value for key, value in ablation_files()[name].items() if key not in CLAIM_KEYS})


def _check_ablation(name: str, tree: ConfigTree, baseline: ConfigTree, others: list[str]) -> None:
    """Refuse an ablation that is overruled, that overrules a choice on the command line, or that changes nothing.

    The choice of `conf/config.yaml` on the command line, `init=paper`, is no contradiction: it takes back what the
    experiment has chosen, and so makes the baseline of `source/init`.
    """
    declared = declared_changes(name)
    result, before = flatten(tree), flatten(baseline)
    touched = {key.partition(".")[0] for key in declared}
    untouching = [other for other in others if _group(other).partition(".")[0] not in touched]
    unset = flatten(compose_tree(untouching))
    usual = [f"{group}={choice}" for group, choice in default_choices().items() if group in touched]
    if all(before[key] == value for key, value in declared.items()):
        settings = ", ".join(f"{key}={_text(value)}" for key, value in declared.items())
        remedy = _other_baseline(others, usual, before) if untouching == others else ""
        raise UserError(f"ablation {name} changes nothing here: {settings} already holds without it{remedy}")
    for key, value in declared.items():
        if result[key] != value:
            raise UserError(
                f"ablation {name} sets {key}={_text(value)}, but the command line or another ablation"
                f" sets {key}={_text(result[key])}: choose one of them, and leave the other out"
            )
        if before[key] != unset[key] and before[key] != flatten(compose_tree([*untouching, *usual])).get(key):
            raise UserError(
                f"ablation {name} sets {key}={_text(value)}, but the command line sets {key}={_text(before[key])}:"
                " choose one of them, and leave the other out"
            )


def _other_baseline(others: list[str], usual: list[str], before: dict[str, Any]) -> str:
    """What to add for a baseline that an ablation changes, where the experiment has chosen as the ablation does."""
    tree = compose_tree([*others, *usual])
    try:
        validate(tree)
    except UserError:
        return ""
    return "" if flatten(tree) == before else f": {' '.join(usual)} makes a baseline to compare it with"


def _text(value: object) -> str:
    return json.dumps(value).strip('"')


def _changes(baseline: ConfigTree, tree: ConfigTree) -> dict[str, tuple[Any, Any]]:
    before, after = (flatten(_without(side, *CLAIM_KEYS)) for side in (baseline, tree))
    assert before.keys() == after.keys(), "an ablation changes values, never the set of keys"
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}


def ablation_name(config: ConfigTree) -> str:
    """`baseline`, or the names of the ablations in alphabetical order, joined by +."""
    return "+".join(sorted(config["ablations"])) or "baseline"


def run_name(tree: ConfigTree) -> str:
    """Name of the run directory: readable, and different for any two runs that compute different things."""
    identity = _with_digest(tree)
    identity["ablations"] = sorted(tree["ablations"])
    root = tree["data"]["root"]
    identity["data"]["root"] = str(Path(root).expanduser().resolve()) if root else None
    digest = _digest(_without(identity, *NON_IDENTITY_KEYS))
    ablation = ablation_name(tree)[:LONGEST_ABLATION]
    return f"{tree['experiment']}-{ablation}-seed{tree['seed']}-{digest[:8]}"


def _with_digest(tree: ConfigTree) -> ConfigTree:
    """A copy of the tree with the pre-trained weights in the place of the path to them: their file may be moved."""
    identity = deepcopy(tree)
    # Runs from before there were pre-trained nets have no such group.
    if (checkpoint := tree.get("pretrained", {}).get("checkpoint")) is not None:
        from alexnet.trained.weights import weights_digest  # torch, which other command lines do not wait for

        identity["pretrained"]["checkpoint"] = weights_digest(checkpoint)
    return identity


def _without(tree: ConfigTree, *keys: str) -> ConfigTree:
    """A copy of the tree without some dotted keys."""
    kept = deepcopy(tree)
    for key in keys:
        *parents, last = key.split(".")
        node = kept
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    return kept


def _digest(tree: ConfigTree) -> str:
    """Hash of a configuration without the keys that stand at the schema's default.

    So a key can be added to the schema later, with a default that means what was done before, and every run made
    without it keeps its name and its partners.
    """
    defaults = schema_defaults()
    chosen = {key: value for key, value in flatten(tree).items() if key not in defaults or defaults[key] != value}
    same_numbers = json.loads(json.dumps(chosen), parse_int=float)  # `lrn.k=2` and `lrn.k=2.0` are one run
    return sha256(json.dumps(same_numbers, sort_keys=True).encode()).hexdigest()[:16]


def _run_name_of_root(*, _root_: DictConfig) -> str:
    """`${run_name:}` in `conf/config.yaml`; the root also holds Hydra's own configuration, which depends on this."""
    task = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    tree = OmegaConf.to_container(task, resolve=True)
    assert isinstance(tree, dict)
    return run_name({str(key): value for key, value in tree.items()})


# On import, so that the processes that a parallel launcher starts know it too.
OmegaConf.register_new_resolver("run_name", _run_name_of_root, replace=True)
