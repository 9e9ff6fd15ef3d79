"""Hydra command lines, checked name by name and expanded into jobs before anything is loaded or written."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from itertools import product

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, Sweep, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from alexnet.config.compose import (
    CONF,
    VERSION_BASE,
    ablation_choices,
    compose_tree,
    schema_keys,
    takes_any_key,
)
from alexnet.errors import UserError, did_you_mean, first_line

LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm")
"""Hydra's launchers; all but the first come with the extra `sweeps`."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What a command line asks for."""

    jobs: list[list[str]]
    """The overrides of each job: one job, or all combinations of a sweep."""
    hydra: list[str]
    """What it says to Hydra itself, such as `hydra/launcher=joblib`."""
    sweep: bool
    """Whether it is a sweep: by `-m`, or because its experiment is a study."""


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What an experiment says about how it is run."""

    experiment: str
    """The experiment whose settings its runs have: another one where this is a study."""
    parameters: dict[str, str]
    """Overrides to sweep over, `hydra.sweeper.params`: key -> values as on a command line."""
    sweeps: bool
    """Whether it sweeps without being told to (`hydra.mode`)."""


def read_command_line(arguments: list[str], *, multirun: bool) -> CommandLine:
    """Check the names in a command line and list the overrides of each job that it asks for.

    A study (an experiment with `hydra.sweeper.params`) adds what the command line leaves open; its jobs name the
    experiment whose settings they have, so that a run is the same run whoever asked for it.

    Raises:
        UserError: an override cannot be parsed, or names a key, group or choice that does not exist.
    """
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        overrides = _parsed(arguments)
        for override in overrides:
            _check(override)
        to_hydra = [_one_value(override) for override in overrides if _is_hydra(override.key_or_group)]
        others = _given(override for override in overrides if not _is_hydra(override.key_or_group))
        study = _study(others.get("experiment"), tuple(to_hydra))
        sweep = multirun or study.sweeps
        chosen = _with_study(others, study, sweep=sweep).values()
        choices = [_choices(override, sweep=sweep) for override in chosen]
    return CommandLine(jobs=[list(job) for job in product(*choices)], hydra=to_hydra, sweep=sweep)


def expand(arguments: list[str], *, sweep: bool) -> list[list[str]]:
    """The overrides of each job of a command line; UserError also where it is a sweep unasked."""
    command = read_command_line(arguments, multirun=sweep)
    if command.sweep and not sweep:
        experiment = compose_tree(command.jobs[0])["experiment"]
        raise UserError(f"a study is many runs, and one is needed: give experiment={experiment}")
    return command.jobs


def _parsed(arguments: Iterable[str]) -> list[Override]:
    try:
        return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(arguments))
    except HydraException as error:
        raise UserError(f"cannot read the command line: {first_line(error)}") from error


def _is_hydra(key: str) -> bool:
    return key == "hydra" or key.startswith(("hydra.", "hydra/"))


def _given(overrides: Iterable[Override]) -> dict[str, Override]:
    """The overrides by what they name. Of a value given twice the last counts, as in Hydra; a group is chosen once."""
    given: dict[str, Override] = {}
    for override in overrides:
        key = _plain_key(override)
        if key in given and group_options(key):
            raise UserError(f"{key} is chosen twice: {given[key].input_line} and {override.input_line}")
        given[key] = override
    return given


def _plain_key(override: Override) -> str:
    """`ablation` for `ablation=none` and for `+ablation=none`."""
    return override.get_key_element().lstrip("+~")


def _one_value(override: Override) -> str:
    if override.is_sweep_override():
        raise UserError(f"{override.input_line}: settings of Hydra itself cannot be swept")
    assert override.input_line is not None
    return override.input_line


def _study(chosen: Override | None, to_hydra: tuple[str, ...]) -> _Study:
    """What the experiment that is chosen, and the command line itself, say about sweeping."""
    if chosen is None:
        return _composed_study((), to_hydra)
    if not chosen.is_sweep_override():
        return _composed_study((f"experiment={chosen.value()}",), to_hydra)
    for name in _named(chosen.value()):
        if _composed_study((f"experiment={name}",), to_hydra).parameters:
            raise UserError(f"{chosen.input_line}: {name} is a study, which is a sweep already: give it alone")
    return _composed_study((), to_hydra)


@cache
def _composed_study(experiment: tuple[str, ...], to_hydra: tuple[str, ...]) -> _Study:
    try:
        composed = compose("config", [*experiment, *to_hydra], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error
    parameters = composed.hydra.sweeper.get("params") or {}
    if (
        parameters
        and experiment
        and compose_tree(list(experiment)) != compose_tree([f"experiment={composed.experiment}"])
    ):
        raise UserError(
            f"conf/experiment: {experiment[0]} lists runs, so its settings must be those of"
            f" experiment={composed.experiment}: change that one, or name another in its defaults"
        )
    return _Study(
        experiment=composed.experiment,
        parameters={str(key): str(value) for key, value in parameters.items()},
        sweeps=composed.hydra.mode is RunMode.MULTIRUN,
    )


def _with_study(given: dict[str, Override], study: _Study, *, sweep: bool) -> dict[str, Override]:
    """The overrides with the study's before them; what the command line says takes the place of what the study says."""
    if not study.parameters:
        return given
    if not sweep:
        raise UserError(f"a study is a sweep: leave hydra.mode out, or give experiment={study.experiment} for one run")
    listed = {"experiment": study.experiment} | study.parameters
    parameters = _parsed(f"{key}={value}" for key, value in listed.items())
    for parameter in parameters:
        _check(parameter)
    return {_plain_key(one): one for one in parameters} | {k: v for k, v in given.items() if k != "experiment"}


def _check(override: Override) -> None:
    key = override.key_or_group
    if not key:
        raise UserError(f"cannot read the command line: {override.input_line} names nothing")
    if _is_hydra(key):
        _check_launcher(override)
        return
    if override.is_delete():
        raise UserError(f"{override.input_line}: nothing can be left out; choose another value instead")
    if key.startswith("ablation/"):
        raise UserError(f"{override.input_line}: write +{key.replace('/', '=', 1)}/..., all in one value")
    if options := _options(key):
        _check_choices(override, options)
    else:
        _check_key(key)


def _check_launcher(override: Override) -> None:
    """A launcher that this program knows but that is not installed is no slip, and needs other advice than one."""
    if override.key_or_group != "hydra/launcher":
        return
    name = override.value()
    options = group_options("hydra/launcher")
    if name in LAUNCHERS and name not in options:
        how = "uv sync --extra sweeps, or pip install -e '.[sweeps]'"
        raise UserError(f"hydra/launcher={name} is not installed: {how}")
    _check_choices(override, options)


def _check_choices(override: Override, options: list[str]) -> None:
    for choice in _named(override.value()):
        if choice not in options:
            raise UserError(f"{override.key_or_group}={choice}: there is no such choice{did_you_mean(choice, options)}")


def _named(value: object) -> list[str]:
    """The choices that a value of a group names; a pattern such as `glob(*)` names none that could be wrong."""
    if isinstance(value, Glob):
        return []
    if isinstance(value, QuotedString):
        return [value.text]
    if isinstance(value, list):
        return [name for item in value for name in _named(item)]
    if isinstance(value, Sweep):
        return [name for item in getattr(value, "list", []) for name in _named(item)]
    return ["null" if value is None else str(value)]


def _check_key(key: str) -> None:
    """Refuse the first part of a dotted key that the schema does not know."""
    parent = ""
    for part in key.split("."):
        if takes_any_key(parent):
            return
        known = schema_keys(parent)
        if part not in known:
            names = known if parent else [*known, *group_names()]
            raise UserError(f"unknown key {key}{did_you_mean(part, names)}")
        parent = f"{parent}.{part}" if parent else part


def _choices(override: Override, *, sweep: bool) -> list[str]:
    assert override.input_line is not None
    if not override.is_sweep_override():
        return [override.input_line]
    if not sweep:
        raise UserError(f"{override.input_line}: several values make a sweep: add -m, or use [a,b] to combine")
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line}: only lists of values can be swept, such as 0,1,2 or glob(*)")
    return [f"{override.get_key_element()}={value}" for value in _swept(override)]


def _swept(override: Override) -> list[str]:
    """The values of a list, each pattern in it by the choices that it matches; Hydra knows no patterns among others."""
    value = override.value()
    values: list[str] = []
    for item in [value] if isinstance(value, Glob) else override.sweep_iterator():
        found = _matching(item, override.key_or_group) if isinstance(item, Glob) else [str(Transformer.encode(item))]
        if not found:
            raise UserError(f"{override.input_line}: nothing matches this pattern")
        values += found
    return values


def _matching(pattern: Glob, group: str) -> list[str]:
    """`*` stands for the choices of one folder, as in a shell: those of subfolders are `source/*`."""
    return [
        choice
        for choice in pattern.filter(_options(group))
        if any(fnmatch(choice, one) and choice.count("/") == one.count("/") for one in pattern.include)
    ]


def _options(group: str) -> list[str]:
    """The choices of a group, with those of its subfolders where they count as its own."""
    return list(ablation_choices()) if group == "ablation" else group_options(group)


def group_options(group: str) -> list[str]:
    """The choices of a Hydra group; empty if there is no such group."""
    options: list[str] = GlobalHydra.instance().config_loader().get_group_options(group)
    return options


def group_names() -> list[str]:
    """The Hydra groups of this project."""
    names: list[str] = GlobalHydra.instance().config_loader().list_groups("")
    return [name for name in names if name != "hydra" and _is_group(name)]


def _is_group(name: str) -> bool:
    loader = GlobalHydra.instance().config_loader()
    return bool(loader.get_group_options(name, results_filter=ObjectType.CONFIG))
