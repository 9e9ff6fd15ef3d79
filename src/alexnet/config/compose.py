"""From `conf/`, `ablations/` and a list of overrides to a configuration that fits the schema."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import MarkedYAMLError

from alexnet.config.fields import MISSING
from alexnet.config.schema import BASELINE, Config, ConfigTree, flatten
from alexnet.errors import UserError, did_you_mean, first_line
from alexnet.files import from_here

_OF_OVERRIDES = ("hydra.overrides", "hydra.job.override_dirname", "hydra.runtime.choices")
"""Of Hydra's configuration, what follows from the command line."""
VERSION_BASE = "1.3"
"""The Hydra behavior that `conf/` is written for."""


def _folder(name: str) -> Path:
    """Return a top-level folder of the checkout, or its copy inside an installed package."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / name
    return checkout if checkout.is_dir() else package / name


CONF = _folder("conf")
ABLATIONS = _folder("ablations")
ABLATION = "ablation"
"""The Hydra group of their files."""


class AblationFiles(ConfigSource):
    """The files of `ablations/` as the choices of the Hydra group `ablation`, each read when it is chosen."""

    @staticmethod
    def scheme() -> str:
        return "ablations"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        tree = OmegaConf.create(ablation_content(_choice(config_path) or "", ()))
        return ConfigResult(self.provider, self.full_path(), tree, header={"package": "_global_"})

    def is_group(self, config_path: str) -> bool:
        return not config_path or ((choice := _choice(config_path)) is not None and (ABLATIONS / choice).is_dir())

    def is_config(self, config_path: str) -> bool:
        return (choice := _choice(config_path)) is not None and (ABLATIONS / f"{choice}.yaml").is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if not config_path:
            return [] if results_filter is ObjectType.CONFIG else [ABLATION]
        inside = sorted((ABLATIONS / (_choice(config_path) or "")).iterdir())
        folders = [one.name for one in inside if one.is_dir()]
        files = [one.stem for one in inside if one.suffix == ".yaml"]
        return {ObjectType.GROUP: folders, ObjectType.CONFIG: files, None: [*folders, *files]}[results_filter]


def _choice(config_path: str) -> str | None:
    """Return `source/init` for `ablation/source/init`, and None for what is in another group."""
    group, _, choice = config_path.partition("/")
    return choice.removesuffix(".yaml") if group == ABLATION else None


class AblationPath(SearchPathPlugin):
    """Hydra's search path with the files of `ablations/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("alexnet", "ablations://")


def register() -> None:
    """Register the schema and the files of `ablations/` with Hydra, which forgets plugins when it restores a state."""
    warnings.filterwarnings("error", "provider=hydra.searchpath .* is not available")  # `explain` has words for it
    if "schema.yaml" not in ConfigStore.instance().list(""):
        ConfigStore.instance().store(name="schema", node=Config)
    for plugin in (AblationFiles, AblationPath):
        Plugins.instance().register(plugin)


@cache
def ablation_choices() -> list[str]:
    """Return the choices of `ablations/`, such as `figure1/tanh`."""
    return sorted(file.relative_to(ABLATIONS).with_suffix("").as_posix() for file in ABLATIONS.glob("**/*.yaml"))


@cache  # every job of a study is checked, and more than once
def refuse_shadows(folder: str) -> None:
    """Refuse (`UserError`) a file of the user's with the name of another of ours: Hydra ignores it, or mixes them."""
    for root, group in ((CONF, ""), (ABLATIONS, ABLATION)):
        for file in root.glob("**/*.yaml"):
            own = Path(folder, group, file.relative_to(root))
            if own.is_file() and own.read_bytes() != file.read_bytes():
                raise UserError(f"{from_here(own)}: the project has a file of this name: give yours another one")


def yaml_mistake(error: MarkedYAMLError) -> str:
    """Say in one line where a file is no YAML."""
    problem, _, found = (error.problem or first_line(error)).partition(", but got ")
    # What is never closed is found at the end of the file, but mended where it is opened.
    mark = (error.context_mark if "stream" in problem + found else None) or error.problem_mark
    where = f"{from_here(Path(mark.name))}, line {mark.line + 1}: " if mark else ""
    return f"{where}not readable as YAML: {problem}"


def _with_its_claim(tree: object, choice: str, file: str) -> ConfigTree:
    name = ablation_name_of(choice)
    claims = tree.get("ablations") if isinstance(tree, dict) else None
    if not isinstance(claims, dict) or (set(claims) or {name}) != {name}:
        raise UserError(f"{file}: it must hold the claim `ablations.{name}` and no other")
    return cast(ConfigTree, tree)


def ablation_name_of(choice: str) -> str:
    """Return the name of the claim that a choice tests: `figure1_tanh` for `figure1/tanh`."""
    return choice.replace("/", "_")  # run directories are named after it


@lru_cache(maxsize=256)
def ablation_content(choice: str, search_path: tuple[str, ...]) -> ConfigTree:
    """Return what an ablation sets: one of `ablations/`, or one of the user's own, found where Hydra finds it.

    `search_path` is the override of `hydra.searchpath`, if there is one.
    UserError if the file does not hold its own claim, or runs without it have its name.
    """
    if (file := ABLATIONS / f"{choice}.yaml").is_file():
        return _with_its_claim(OmegaConf.to_container(OmegaConf.load(file)), choice, str(file))
    if choice.endswith(".yaml"):
        raise UserError(f"ablation={choice}: leave out .yaml: ablation={choice.removesuffix('.yaml')}")
    if (name := ablation_name_of(choice)) in taken_names():
        raise UserError(f"ablation={choice}: other runs are called {name}; rename its file")
    try:
        tree, of_hydra = _with_hydra(*search_path, f"+ablation={choice}")
    except HydraException as error:
        raise UserError(f"{first_line(error)} (an ablation holds plain values, and no choices of groups)") from None
    _, usual = _with_hydra(*search_path)
    for key, value in of_hydra.items():
        if usual.get(key) != value and not key.startswith(_OF_OVERRIDES):
            raise UserError(f"ablation {choice} sets {key}, which is not a part of the network or its training")
    return _with_its_claim(tree, choice, f"ablation {choice}")


@lru_cache(maxsize=256)
def _with_hydra(*overrides: str) -> tuple[ConfigTree, dict[str, Any]]:
    """Compose the values that files set by themselves, and Hydra's own by dotted keys."""
    with _in_hydra():
        tree = cast(ConfigTree, OmegaConf.to_container(compose(overrides=[*overrides], return_hydra_config=True)))
    return tree, flatten({"hydra": tree.pop("hydra")})


def taken_names() -> set[str]:
    """Return the names of runs that an ablation of the user's own would share."""
    return {BASELINE, *map(ablation_name_of, ablation_choices())}


def searched(folder: Path | None) -> list[str]:
    """Return the override by which Hydra also looks for choices in a folder of the user's own.

    Raises:
        UserError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(f"--config-dir {folder}: there is no such folder")
    return [] if folder is None else [f'hydra.searchpath=["file://{folder.resolve()}"]']


@cache
def default_choices() -> dict[str, str]:
    """Return the choice of each group in `conf/config.yaml`, which an experiment may change."""
    entries = cast(ConfigTree, OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml")))["defaults"]
    return {group: choice for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}


def compose_config(overrides: list[str]) -> DictConfig:
    """Compose `conf/config.yaml` with overrides, including Hydra's own configuration. Raises what Hydra raises."""
    register()
    with _in_hydra():
        return compose("config", overrides, return_hydra_config=True)


@contextmanager
def _in_hydra() -> Iterator[None]:
    """Use the search path of the Hydra application, with the user's folders, or that of none."""
    if GlobalHydra.instance().is_initialized():
        yield
    else:
        with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
            yield


@lru_cache(maxsize=1024)  # the jobs of a study share their baselines, and composing takes a quarter of a second
def compose_tree(overrides: tuple[str, ...]) -> ConfigTree:
    """Compose a configuration as values in their normal form; callers share the result and must not change it."""
    return plain_values(with_schema(plain_values(compose_config(list(overrides)))))


def plain_values(composed: DictConfig) -> ConfigTree:
    """Return a composed configuration as nested dicts, with interpolations resolved and without Hydra's own part."""
    if "hydra" in composed:
        composed = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    return cast(ConfigTree, OmegaConf.to_container(composed, resolve=True))


def with_schema(values: ConfigTree) -> DictConfig:
    """Merge plain values into the schema, whose types and defaults make their normal form.

    Hydra has checked them as well, but `+` on a command line adds any key.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type.
    """
    try:
        merged = OmegaConf.merge(_schema(), values)
    except OmegaConfBaseException as error:
        raise UserError(schema_mistake(error) or first_line(error)) from error
    missing = OmegaConf.missing_keys(merged) | {key for key, value in flatten(values).items() if value == MISSING}
    if missing:
        claims = all(key.startswith("ablations.") for key in missing)
        how = "add it to the ablation's file" if claims else "choose a file of its group or give the value"
        raise UserError(f"no value for {', '.join(sorted(missing))}: {how}")
    return cast(DictConfig, merged)


@cache
def _schema() -> DictConfig:
    """Return the schema with its defaults; merging copies it."""
    return cast(DictConfig, OmegaConf.structured(Config))


def validate(tree: ConfigTree) -> Config:
    """Check a configuration of plain values against the schema and its limits.

    Checkpoints that were saved before there was a group `logger` say `wandb`, which changes no network.

    Raises:
        UserError: a key is unknown or missing, a value has the wrong type or is outside its limits.
    """
    return cast(Config, OmegaConf.to_object(with_schema({key: tree[key] for key in tree if key != "wandb"})))


def schema_mistake(error: BaseException) -> str | None:
    """Put OmegaConf's refusal of a key or value into words, for any way of composing; None if the error is none."""
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and error.full_key:
        return _unknown_key(str(error.full_key), str(error.key), error.object_type)
    if isinstance(error, ValidationError) and error.object_type and not str(error.full_key).startswith("hydra."):
        inside = error.object_type in (list, dict)
        kind = get_args(error.ref_type)[-1] if inside else get_type_hints(error.object_type).get(str(error.key))
        shown = json.dumps(error.value) if error.value is None or isinstance(error.value, bool) else error.value
        return f"{error.full_key}={shown}: {NEEDED.get(kind, 'a mapping of names to values')} is needed"
    return None


def _unknown_key(key: str, name: str, owner: Any) -> str:
    """Say that a part of the schema has no such key, and which one was probably meant."""
    if owner is dict:
        return f"unknown key {key}: a name is added to a mapping with a + in front, +{key}=..."
    known = [field.name for field in fields(owner)] if is_dataclass(owner) else []
    groups = {group: kind for group, kind in get_type_hints(Config).items() if is_dataclass(kind)}
    if nested := [f"{group}.{name}" for group, kind in groups.items() if name in get_type_hints(kind)]:
        return f"unknown key {key}: did you mean {' or '.join(nested)}?"
    if owner is Config:
        known += [*(folder.name for folder in CONF.iterdir() if folder.is_dir()), "ablation"]
    return f"unknown key {key}{did_you_mean(name, known, prefix=key.removesuffix(name))}"


NEEDED: dict[Any, str] = {
    int: "a whole number",
    int | None: "a whole number or null",
    float: "a number",
    float | None: "a number or null",
    bool: "true or false",
    bool | int: "true, false or a number of batches",
    int | float | None: "a number of batches, a share such as 0.1, or null",
    str: "a text",
    str | None: "a text or null",
    list[int]: "a list such as [1,2]",
    list[int] | None: "a list such as [1,2], or null",
    list[str]: "a list such as [fc7,fc8]",
}
