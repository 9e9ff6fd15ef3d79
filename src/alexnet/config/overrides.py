"""What is wrong with a command line, in one line, and the patterns of choices in a sweep."""

import itertools
import shlex
import traceback
from collections.abc import Iterable
from fnmatch import fnmatch

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Transformer
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from alexnet.config.compose import ablation_choices, schema_mistake
from alexnet.errors import UserError, did_you_mean, first_line, how_to_install

LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
"""Choices of `hydra/launcher` that come with the extra `sweeps`, and so does `hydra/sweeper=optuna`."""


def explain(error: BaseException, arguments: Iterable[str] = ()) -> str | None:
    """Put a mistake of the user into one line, with the nearest valid name; None if the error is none."""
    chain = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) and deeper not in chain:  # OmegaConf makes circles
        chain.append(deeper)
    for one in chain:
        if isinstance(one, UserError):
            return str(one)
        if isinstance(one, OverrideParseException):
            quoted = f"a text with special characters needs quotes, {_quoted(one.override)}"
            how = quoted if "=" in one.override.lstrip("=") else "write key=value"
            return f"cannot read the argument {one.override}: {how}"
        if isinstance(one, MissingConfigException) and one.missing_cfg_file:
            return _no_such_choice(one.missing_cfg_file, one.options or [])
        if text := schema_mistake(one):
            return text
    said, cause = first_line(error), first_line(chain[-1])
    groups = [argument for argument in arguments if "." not in argument.partition("=")[0]]
    if groups and isinstance(error, TypeError | ValueError) and _raised_by_hydra(error):  # group=null, group=[1]
        return f"cannot read the command line: a group needs the name of a choice, such as none: {' '.join(groups)}"
    if "full_key: hydra." in str(error):  # in Hydra's own configuration, which it does not check
        return f"cannot use {str(error).partition('full_key: ')[2].split()[0]}: {said}"
    if isinstance(error, NotADirectoryError | FileExistsError | PermissionError):  # the run's directory
        return f"{error.filename}: {error.strerror}"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if said.startswith(("Ambiguous value for argument '", "Sweep parameters '")):
        argument = said.partition("'")[2].removesuffix(" requires --multirun").removesuffix("'")
        how = f"add -m, use [a,b] for a list, or quote a text: {_quoted(argument)}"
        return f"{argument}: several values make a sweep: {how}"
    return said if cause == said else f"{said}: {cause}"


def _raised_by_hydra(error: BaseException) -> bool:
    return str([*traceback.walk_tb(error.__traceback__)][-1][0].f_globals["__name__"]).startswith("hydra.")


def _quoted(argument: str) -> str:
    """Return an argument whose value survives both the shell and Hydra."""
    key, _, value = argument.partition("=")
    text = value.replace('"', '\\"')
    return shlex.quote(f'{key}="{text}"')


def _no_such_choice(path: str, options: Iterable[str]) -> str:
    group, _, choice = path.removesuffix(".yaml").rpartition("/")
    known = list(options)
    if group.partition("/")[0] == "ablation":
        choice, known = path.partition("/")[2], [*known, *ablation_choices()]
        group = "ablation"
    if (group == "hydra/launcher" and choice in LAUNCHERS) or (group, choice) == ("hydra/sweeper", "optuna"):
        return f"{group}={choice} is not installed: {how_to_install('sweeps')}"
    return f"{group}={choice}: there is no such choice{did_you_mean(choice, known)}"


def expanded(arguments: list[str], loader: ConfigLoader, search_path: list[str]) -> list[str]:
    """Replace each pattern in a list of choices by the choices that it matches.

    Hydra itself knows a pattern only alone and for one folder: `glob(*)`, but not `none,glob(source/*)`.
    """
    lines = []
    for override in OverridesParser.create(loader).parse_overrides(arguments):
        line, value = str(override.input_line), override.value()
        items = [value] if isinstance(value, Glob) else list(getattr(value, "list", []))
        if any(isinstance(item, Glob) for item in items):
            choices = _choices(override.key_or_group, loader, search_path)
            found = [_matching(one, choices) if isinstance(one, Glob) else [Transformer.encode(one)] for one in items]
            if not all(found):
                raise UserError(f"{line}: nothing matches this pattern")
            line = f"{override.get_key_element()}={','.join(map(str, itertools.chain(*found)))}"
        lines.append(line)
    return lines


def _choices(group: str, loader: ConfigLoader, search_path: list[str]) -> list[str]:
    """Return the choices of a group, with those of its subfolders."""
    choices = loader.get_group_options(group, ObjectType.CONFIG, "config", search_path)
    for folder in loader.get_group_options(group, ObjectType.GROUP, "config", search_path):
        choices += [f"{folder}/{choice}" for choice in _choices(f"{group}/{folder}", loader, search_path)]
    return choices


def _matching(pattern: Glob, choices: list[str]) -> list[str]:
    """Match `*` within one folder, as in a shell: the choices of subfolders are `source/*`."""
    return [
        choice
        for choice in pattern.filter(choices)
        if any(fnmatch(choice, one) and choice.count("/") == one.count("/") for one in pattern.include)
    ]


def merged(swept: list[str], given: list[str]) -> tuple[dict[str, str], list[str]]:
    """Put what a command line gives in place of what a study's file sweeps over.

    Returns the study's parameters, in its order, and the rest of the command line.
    """
    rest = {named(override): override for override in given}
    params = (rest.pop(named(one), one).partition("=") for one in swept)
    return {key: value for key, _, value in params}, [one for one in given if one in rest.values()]


def named(override: str) -> str:
    """Return the key or group that an override names: `+lrn.k=1` -> `lrn.k`."""
    return override.lstrip("+~").partition("=")[0]
