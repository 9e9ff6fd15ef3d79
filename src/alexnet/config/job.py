"""One checked job: the configuration of a run, what its ablation changed, and the names that identify it."""

import json
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, cast

from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from omegaconf import DictConfig, OmegaConf

from alexnet.config.compose import (
    CONF,
    ablation_choices,
    ablation_content,
    ablation_name_of,
    compose_config,
    compose_tree,
    default_choices,
    plain_values,
    refuse_shadows,
    with_schema,
)
from alexnet.config.identity import pairing_key, resolved, run_identity, run_name, training_form, why_idle
from alexnet.config.overrides import explain, named
from alexnet.config.schema import NON_IDENTITY_KEYS, Config, ConfigTree, flatten, is_part_of, without
from alexnet.config.values import ALEXNET, ScaleConfig, scaled_milestones
from alexnet.errors import UserError, did_you_mean

CLAIM_KEYS = ("ablations", "target")
"""Keys in which an ablation says what it tests, beside what it changes."""
UNABLATED_KEYS = ("seed", "experiment", "recipe", "hydra", *(key for key in NON_IDENTITY_KEYS if key not in CLAIM_KEYS))
"""Keys that are not for an ablation to set: which runs are compared, and where and how they compute."""
ALEXNET_ONLY_KEYS = ("init", *(f"scale.{one.name}" for one in fields(ScaleConfig) if not one.name.endswith("_size")))
"""Keys without a part in the CIFAR-10 nets, whose layers and initial weights are fixed."""
OF_USER = ("command-line", "hydra.searchpath")
"""Hydra's words for who has named a folder of choices: `--config-dir`, or an override."""
TRUE_OR_FALSE = ("true", "yes", "y", "on", "1", "false", "no", "n", "off", "0")
"""OmegaConf also takes any other whole number as true."""
WITH_SEVERAL = ("ablation", "logger", "devices", "debug")
"""Groups of which several choices make sense together; of others, the last would rule, under a mixed name."""
WeightsDigest = Callable[[str], str]
"""From a run or file of pre-trained weights to a digest of them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A configuration that has passed every check that needs no data."""

    config: Config
    tree: ConfigTree  # the same as plain values, to be saved
    baseline: ConfigTree  # without the ablations
    changes: dict[str, tuple[Any, Any]]  # by the ablations: dotted key -> (value in the baseline, value in this run)
    name: str  # of the run's directory: readable, and different for any two runs that compute different things
    identity: str  # hash of all that it computes
    pairing_key: str  # equal for runs that differ in nothing but the ablation and the seed
    command: str


def check(overrides: list[str], *, weights_digest: WeightsDigest = str) -> Job:
    """Compose and check one job from its overrides.

    Raises:
        UserError: anything is misspelt, mistyped or out of range, or the command line contradicts its ablation.
    """
    try:
        composed = compose_config(overrides)
        return check_composed(composed, composed.hydra, weights_digest=weights_digest)
    except Exception as error:
        if (text := explain(error, overrides)) is None:
            raise
        raise UserError(text) from error


def check_composed(config: DictConfig, hydra: HydraConf, *, weights_digest: WeightsDigest = str) -> Job:
    """Check a job that Hydra has composed, as `check` does; `hydra` is Hydra's own part of its configuration.

    `weights_digest` makes pre-trained weights a part of the run's identity, in place of the path to them.
    """
    search_path = [one for one in hydra.overrides.hydra if one.startswith("hydra.searchpath=")]
    for source in hydra.runtime.config_sources:
        if source.schema == "file" and source.path != str(CONF):
            refuse_shadows(source.path)
    own = [source for source in hydra.runtime.config_sources if source.provider.startswith(OF_USER)]
    found = [f"hydra.searchpath={json.dumps([f'{source.schema}://{source.path}' for source in own])}"] * bool(own)
    values = plain_values(config)
    checkpoint = values.get("pretrained", {}).get("checkpoint")
    weights = weights_digest(str(checkpoint)) if checkpoint else None
    root = resolved(values.get("data", {}).get("root"))
    # Repeating the command resumes the run.
    lasting = [override for override in hydra.overrides.task if named(override) != "restart"]
    command = shlex.join(["python", "train.py", *found, *lasting])
    return _checked(json.dumps(values), tuple(hydra.overrides.task), tuple(search_path), command, weights, root)


@lru_cache(maxsize=1024)  # Hydra asks for the name of a run that has been checked before
def _checked(
    values: str,
    overrides: tuple[str, ...],
    search_path: tuple[str, ...],
    command: str,
    weights: str | None,
    _root: str | None,
) -> Job:
    """Check as `check_composed` does; `_root` is where `data.root` is, seen from the present folder."""
    _check_overrides(overrides)
    merged = with_schema(json.loads(values))
    tree, config = plain_values(merged), cast(Config, OmegaConf.to_object(merged))
    contents = _ablations(overrides, search_path)
    for name in config.ablations:
        if name not in contents:
            known = [*contents, *map(ablation_name_of, ablation_choices())]
            raise UserError(f"ablations.{name}: there is no such ablation{did_you_mean(name, known)}")
    declared = {name: _declared(contents[name], merged) for name in config.ablations}
    if (net := config.architecture.name) != ALEXNET:
        for key in [*map(named, overrides), *(key for keys in declared.values() for key in keys)]:
            if is_part_of(key, ALEXNET_ONLY_KEYS):
                raise UserError(f"{key} has no meaning for architecture={net}: its layers are fixed")
    baseline = tree
    if declared:
        others = [*search_path, *(one for one in overrides if named(one) != "ablation")]
        baseline = compose_tree(tuple(others))
        for name, keys in declared.items():
            _check_ablation(name, keys, tree, baseline, others)
        _check_effects(declared, tree, baseline)
    _check_read_as_said(overrides, flatten(baseline))
    _check_idle(overrides, flatten(baseline))
    before, after = (without(flatten(side), CLAIM_KEYS) for side in (baseline, tree))
    return Job(
        config=config,
        tree=tree,
        baseline=baseline,
        changes={key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)},
        name=run_name(tree, weights),
        identity=run_identity(tree, weights),
        pairing_key=pairing_key(baseline, weights),
        command=command,
    )


def _check_overrides(overrides: Iterable[str]) -> None:
    """Refuse what Hydra allows and this project has no meaning for."""
    seen: dict[str, str] = {}
    for override in overrides:
        group = named(override)
        is_group = (CONF / group).is_dir()
        if override.startswith("~"):
            raise UserError(f"{override}: nothing can be left out; choose another value instead")
        if group.startswith("ablation/"):
            raise UserError(f"{override}: write +{group.replace('/', '=', 1)}/..., all in one value")
        if group in seen and (is_group or group == "ablation"):
            raise UserError(f"{group} is chosen twice: {seen[group]} and {override}")
        if is_group and group not in WITH_SEVERAL:
            value = _parsed(override)
            if isinstance(value, dict) or (isinstance(value, list) and len(value) > 1):
                raise UserError(f"{override}: give the name of one choice, and single values as {group}.KEY=VALUE")
        seen[group] = override


def _ablations(overrides: Iterable[str], search_path: tuple[str, ...]) -> dict[str, ConfigTree]:
    """Return what each ablation that a command line chooses sets, by its name; it may not set everything."""
    contents: dict[str, ConfigTree] = {}
    for override in overrides:
        if named(override) != "ablation":
            continue
        value = _parsed(override)
        if value == []:
            raise UserError(f"{override}: no ablation is named; +ablation=none is the baseline")
        for item in value if isinstance(value, list) else [value]:
            choice = item.text if isinstance(item, QuotedString) else str(item)
            name = ablation_name_of(choice)
            if name in contents:
                raise UserError(f"{override}: {name} is chosen twice")
            contents[name] = ablation_content(choice, search_path)
            for key in flatten(contents[name]):
                if is_part_of(key, UNABLATED_KEYS):
                    raise UserError(f"ablation {name} sets {key}, which is not a part of the network or its training")
    return contents


def _declared(content: ConfigTree, merged: DictConfig) -> dict[str, Any]:
    """Return the values that an ablation sets, in the form that they have in the configuration."""
    values = flatten(plain_values(cast(DictConfig, OmegaConf.merge(merged, content))))
    return {key: values[key] for key in without(flatten(content), CLAIM_KEYS)}


def _check_ablation(
    name: str, declared: dict[str, Any], tree: ConfigTree, baseline: ConfigTree, others: list[str]
) -> None:
    """Refuse an ablation that is overruled, that overrules the `others` on the command line, or that changes nothing.

    The choice of `conf/config.yaml` on the command line, `init=paper`, is no contradiction: it takes back what the
    experiment has chosen, and so makes the baseline of `source/init`.
    """
    result, before = flatten(tree), flatten(baseline)
    touched = {key.partition(".")[0] for key in declared}
    apart = [other for other in others if named(other).partition(".")[0] not in touched]
    usual = [f"{group}={choice}" for group, choice in default_choices().items() if group in touched]
    if all(before.get(key) == value for key, value in declared.items()):
        settings = ", ".join(f"{key}={_text(value)}" for key, value in declared.items())
        remedy = ""
        with suppress(UserError):  # the usual choices do not fit every architecture
            if apart == others and check([*others, *usual]).tree != baseline:
                remedy = f": {' '.join(usual)} makes a baseline to compare it with"
        why = f"{settings} already holds without it" if settings else "it sets no value"
        raise UserError(f"ablation {name} changes nothing here: {why}{remedy}")
    for key, value in declared.items():
        if result[key] != value:
            who, other = "the command line or another ablation", result[key]
        elif all(before.get(key) != flatten(compose_tree((*apart, *choices))).get(key) for choices in ((), usual)):
            who, other = "the command line", before.get(key)
        else:
            continue
        what = f"ablation {name} sets {key}={_text(value)}, but {who} sets {key}={_text(other)}"
        raise UserError(f"{what}: choose one of them, and leave the other out")


def _check_effects(declared: dict[str, dict[str, Any]], tree: ConfigTree, baseline: ConfigTree) -> None:
    """Refuse an ablation without which the run would compute the same: it only sets what has no effect here."""
    flat, before = flatten(tree), flatten(baseline)
    for name, keys in declared.items():
        others = {key for other, of_other in declared.items() if other != name for key in of_other}
        undone = flat | {key: before.get(key) for key in keys if key not in others}
        if _training(undone) == _training(flat):
            reasons = dict.fromkeys(f"{key}: {reason}" for key in keys if (reason := why_idle(key, flat, named=True)))
            why = "; ".join(reasons) or "its network and training are the same without it"
            raise UserError(f"ablation {name} changes nothing here: {why}")


def _training(flat: dict[str, Any]) -> dict[str, Any]:
    """Return what a configuration computes, whatever it is called."""
    return without(training_form(flat), (*NON_IDENTITY_KEYS, "ablations", "seed", "experiment", "recipe"))


def _check_read_as_said(overrides: Iterable[str], baseline: dict[str, Any]) -> None:
    """Refuse values on the command line that are read as something else than they say."""
    for override in overrides:
        key, value = named(override), override.partition("=")[2].strip("'\"")
        held = baseline.get(key)
        if isinstance(held, bool) and "$" not in value and value.lower() not in TRUE_OR_FALSE:
            raise UserError(f"{override}: true or false is needed")
        if isinstance(held, str) and held != value and isinstance(_parsed(override), int | float):
            raise UserError(f"{override}: a text is needed, and {value} is read as {held}: '{key}=\"{value}\"'")


def _check_idle(overrides: Iterable[str], baseline: dict[str, Any]) -> None:
    """Refuse values on the command line without an effect on the baseline, if they are not empty as well."""
    idle = []
    for override in overrides:
        key = named(override)
        if "." in key and baseline.get(key) not in ([], {}, None) and (reason := why_idle(key, baseline)):
            idle.append(f"{override.lstrip('+')} has no effect: {reason}")
    if idle:
        raise UserError(f"{'; '.join(idle)}; leave {'it' if len(idle) == 1 else 'them'} out")


def _parsed(override: str) -> Any:
    return OverridesParser.create().parse_overrides([override])[0].value()


def _text(value: object) -> str:
    return json.dumps(value).strip('"')


def misnamed_images(job: Job) -> str | None:
    """A line about images of the user's that results would call drawn ones; None without any."""
    data = job.config.data
    if data.name != "shapes" or data.root is None:
        return None
    return f"note: data.root={data.root}: results call these images shapes, as the drawn ones; add data=folder"


def unreached_milestones(job: Job) -> str | None:
    """A line about drops of the learning rate after the end of training, or at one epoch; None without any."""
    schedule, given = job.config.schedule, job.tree["schedule"]
    drops, epochs = schedule.milestones, schedule.epochs
    lost = [drop for drop in drops if drop >= epochs]
    if schedule.kind != "multistep" or not (lost or len(set(drops)) < len(drops)):
        return None
    is_whole = given["rescale_to_epochs"] in (None, given["epochs"])
    enough = _enough_for_drops(given["milestones"], epochs, _usual_epochs(job) if is_whole else given["epochs"])
    if is_whole:
        what = f"ends before the learning rate drops at epoch {' and '.join(map(str, lost))}"
        how = f"schedule.rescale_to_epochs={enough} in its place moves all drops along" if enough else "train longer"
        return f"note: schedule.epochs={epochs} {what}: {how} (schedule.milestones=[] if none is wanted)"
    what = "makes several drops of the learning rate at one epoch"
    if lost:
        never = f"which {'are' if len(lost) > 1 else 'is'} never made"
        what = f"is too short for {len(lost)} of the {len(drops)} drops of the learning rate, {never}"
    advice = f": {enough} epochs are enough to make each by itself" if enough else ""
    return f"note: schedule.rescale_to_epochs={epochs} {what}{advice}"


def _usual_epochs(job: Job) -> int:
    """Return how long training would be without `schedule.epochs` on the command line."""
    with suppress(UserError):  # what the command names may have been moved
        overrides = [one for one in shlex.split(job.command)[2:] if named(one) not in ("schedule.epochs", "ablation")]
        return check(overrides).config.schedule.epochs
    return job.config.schedule.epochs


def _enough_for_drops(milestones: list[int], epochs: int, of: int) -> int | None:
    """Return the fewest epochs, at least `epochs`, to which all drops can be moved; None if there are none."""
    for to in range(epochs, of + 1):
        moved = scaled_milestones(milestones, of=of, to=to)
        if len(set(moved)) == len(moved) and all(epoch < to for epoch in moved):
            return to
    return None
