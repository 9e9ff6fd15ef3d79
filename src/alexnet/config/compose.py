"""From `conf/` and a list of overrides to a resolved, checked configuration."""

import json
import math
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from alexnet.config.schema import Config, ConfigTree, flatten
from alexnet.errors import UserError, did_you_mean, first_line

VERSION_BASE = "1.3"
"""The Hydra behaviour that `conf/` is written for."""


def _folder(name: str) -> Path:
    """A top-level folder of the checkout, or its copy inside an installed package."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / name
    return checkout if checkout.is_dir() else package / name


CONF = _folder("conf")
ABLATIONS = _folder("ablations")


def register() -> None:
    """Make every file of `ablations/` a choice of the Hydra group `ablation`; `figure1/tanh` if it lies in a subfolder.

    Raises:
        UserError: a file is not YAML, or does not hold its own claim.
    """
    for choice, tree in ablation_choices().items():
        folder, _, name = f"ablation/{choice}".rpartition("/")
        ConfigStore.instance().store(group=folder, name=name, node=tree, package="_global_")


@cache
def ablation_choices() -> dict[str, ConfigTree]:
    """The content of the files of `ablations/` and of its subfolders, by what chooses each."""
    files = sorted(ABLATIONS.glob("**/*.yaml"))
    choices = [file.relative_to(ABLATIONS).with_suffix("").as_posix() for file in files]
    return {choice: _ablation_file(file, _ablation_name(choice)) for choice, file in zip(choices, files, strict=True)}


def ablation_files() -> dict[str, ConfigTree]:
    """The same by the ablation's name: `figure1/tanh` chooses `figure1_tanh`."""
    return {_ablation_name(choice): tree for choice, tree in ablation_choices().items()}


def _ablation_name(choice: str) -> str:
    return choice.replace("/", "_")  # run directories are named after it


def _ablation_file(file: Path, name: str) -> ConfigTree:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:
        raise UserError(f"{file}: not readable as YAML: {first_line(error)}") from error
    claims = tree.get("ablations") if isinstance(tree, dict) else None
    if not isinstance(claims, dict) or (set(claims) or {name}) != {name}:
        raise UserError(f"{file}: it must hold the claim `ablations.{name}` and no other")
    return cast(ConfigTree, tree)


@cache
def default_choices() -> dict[str, str]:
    """Group -> what `conf/config.yaml` chooses of it, which an experiment may choose otherwise."""
    entries = cast(ConfigTree, OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml")))["defaults"]
    return {group: choice for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}


def compose_tree(overrides: list[str]) -> ConfigTree:
    """Compose `conf/config.yaml` with overrides, as plain nested values with every interpolation resolved.

    The result is shared between callers: do not change it.

    Raises:
        UserError: Hydra cannot compose it.
    """
    return _compose_tree(tuple(overrides))


@lru_cache(maxsize=1024)  # the jobs of a sweep share their baselines, and composing takes a quarter of a second
def _compose_tree(overrides: tuple[str, ...]) -> ConfigTree:
    try:
        if GlobalHydra.instance().is_initialized():  # inside a job that Hydra has started
            composed = compose("config", list(overrides))
        else:
            with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
                composed = compose("config", list(overrides))
        return cast(ConfigTree, OmegaConf.to_container(composed, resolve=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error


def validate(tree: ConfigTree) -> Config:
    """Check a resolved configuration against the schema.

    Merging plain values into the structured schema, and not the other way round, is what refuses unknown keys:
    `+` on a command line opens Hydra's own struct.

    Raises:
        UserError: a key is unknown or missing, a value has the wrong type or lies outside its limits.
    """
    for key, value in flatten(tree).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value}: a finite number is needed")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), tree)
        missing = OmegaConf.missing_keys(merged)
        if missing:
            raise UserError(f"no value for {', '.join(sorted(missing))}: choose a file of its group or give the value")
        return cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise UserError(_explain(error, tree)) from error


def _explain(error: OmegaConfBaseException, tree: ConfigTree) -> str:
    """Turn OmegaConf's message into: key, what is wrong, what is expected or the nearest valid name."""
    message = first_line(error)
    if error.full_key and isinstance(error, ValidationError):
        key, _, _ = str(error.full_key).partition("[")  # `schedule.milestones` for `schedule.milestones[0]`
        return f"{key}={_value_text(tree, key)}: {_expected(_schema_node(key))} is needed"
    if error.full_key and "not in" in message:
        parent, _, key = str(error.full_key).rpartition(".")
        return f"unknown key {error.full_key}{did_you_mean(key, schema_keys(parent))}"
    return f"{error.full_key}: {message}" if error.full_key else message


def _value_text(tree: ConfigTree, key: str) -> str:
    """A value of the tree as it would stand on a command line."""
    node: Any = tree
    for part in key.split("."):
        node = node[part]
    return node if isinstance(node, str) else json.dumps(node)


def _expected(kind: Any) -> str:
    """What a type of the schema asks for, in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if type(None) in arguments:
        return f"{_expected(arguments[0])} or null"
    if origin is list:
        return f"a list such as {_LISTS[arguments[0]]}"
    return _WORDS.get(kind, "a mapping of names to values")


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_LISTS = {int: "[1,2]", str: "[fc7,fc8]"}


def schema_keys(parent: str) -> list[str]:
    """Names that the schema knows directly under a dotted key, the root for the empty string; none under a value."""
    node = _schema_node(parent)
    return [field.name for field in fields(node)] if is_dataclass(node) else []


def takes_any_key(parent: str) -> bool:
    """Whether names under a dotted key are free, such as the layers of `optimizer.lr_multipliers`."""
    return get_origin(_schema_node(parent)) is dict and not schema_keys(f"{parent}.any")


def _schema_node(parent: str) -> Any:
    """The type that the schema gives a dotted key; None if it knows none."""
    node: Any = Config
    for part in parent.split(".") if parent else []:
        if get_origin(node) is dict:
            node = get_args(node)[1]
        else:
            node = get_type_hints(node).get(part) if is_dataclass(node) else None
    return node
