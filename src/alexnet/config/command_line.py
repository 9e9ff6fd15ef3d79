"""Hydra command lines, checked name by name and expanded into jobs before anything is loaded or written."""

from itertools import product

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, Sweep
from hydra.errors import HydraException

from alexnet.config.compose import CONF, VERSION_BASE, ablation_choices, one_line, schema_keys, takes_any_key
from alexnet.config.names import nearest
from alexnet.errors import UserError


def expand(arguments: list[str], *, sweep: bool) -> list[list[str]]:
    """Check the names in a command line and list the overrides of each job: one, or all combinations of a sweep.

    Raises:
        UserError: an override cannot be parsed, or names a key, group or choice that does not exist.
    """
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        try:
            overrides = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(arguments)
        except HydraException as error:
            raise UserError(f"cannot read the command line: {one_line(error)}") from error
        for override in overrides:
            _check(override)
        choices = [_choices(override, sweep=sweep) for override in overrides]
    return [list(job) for job in product(*choices)]


def _check(override: Override) -> None:
    key = override.key_or_group
    if not key:
        raise UserError(f"cannot read the command line: {override.input_line} names nothing")
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    if override.is_delete():
        raise UserError(f"{override.input_line}: nothing can be left out; choose another value instead")
    if key.startswith("ablation/"):
        raise UserError(f"{override.input_line}: write +{key.replace('/', '=', 1)}/..., all in one value")
    options = list(ablation_choices()) if key == "ablation" else group_options(key)
    if options:
        _check_choices(override, options)
    else:
        _check_key(key)


def _check_choices(override: Override, options: list[str]) -> None:
    for choice in _named(override.value()):
        if choice not in options:
            raise UserError(f"{override.key_or_group}={choice}: there is no such choice{nearest(choice, options)}")


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
            raise UserError(f"unknown key {key}{nearest(part, names)}")
        parent = f"{parent}.{part}" if parent else part


def _choices(override: Override, *, sweep: bool) -> list[str]:
    assert override.input_line is not None
    if not override.is_sweep_override():
        return [override.input_line]
    if not sweep:
        raise UserError(f"{override.input_line}: several values make a sweep: add -m, or use [a,b] to combine")
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line}: only lists of values can be swept, such as 0,1,2 or glob(*)")
    values = list(override.sweep_string_iterator())
    if not values:
        raise UserError(f"{override.input_line}: nothing matches this pattern")
    return [f"{override.get_key_element()}={value}" for value in values]


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
