"""What is wrong with a command line, in one line, and the patterns of choices in a sweep."""

import itertools
import re
import shlex
import traceback
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from statistics import mode

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Transformer
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, KeyValidationError, OmegaConfBaseException, ValidationError
from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from alexnet.config.compose import ABLATIONS, CONF, ablation_choices, schema_mistake, yaml_mistake
from alexnet.errors import UserError, did_you_mean, first_line, how_to_install
from alexnet.files import from_here

LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
"""Choices of `hydra/launcher` that come with the extra `sweeps`, and so does `hydra/sweeper=optuna`."""


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str | None:
    """Put a mistake of the user into one line, with the nearest valid name; None if the error is none."""
    for argument in arguments:
        if named(argument) == "ablations" and "{" not in argument:
            return f"{argument}: did you mean +ablation={argument.partition('=')[2]}?"
        is_of_it = re.search(r"hydra\.sweeper|object_type=\w+Sweep|Unexpected type", str(error))
        if is_of_it and named(argument).startswith("hydra.sweeper.params"):
            return f"{argument}: this is for files; on the command line sweep over the key itself, KEY=A,B"
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
            return _no_such_choice(one.missing_cfg_file, one.options or [], arguments)
        if isinstance(one, MarkedYAMLError):
            return yaml_mistake(one)
        if isinstance(one, ReaderError):
            return f"{from_here(Path(one.name))}: not readable as YAML: {first_line(one)}"
        if isinstance(one, UnicodeDecodeError) and (file := _holding(one.object, arguments)):
            return f"{from_here(file)}: not text in UTF-8: save it in that encoding"
        if isinstance(one, ConfigKeyError | ValidationError) and str(error).startswith(f"In '{one.full_key}/"):
            return _without_header(str(error).split("'")[1], arguments)
        if isinstance(one, UserWarning) and (missing := re.search("path=(.*) is not available", str(one))):
            return f"hydra.searchpath: {missing[1]}: there is no such folder"
        if isinstance(one, KeyValidationError):  # YAML reads them as a truth value or a number
            return f"{str(error).partition(':')[0]}: names such as on, no and 2024 need quotes ({one.key} is no text)"
        if text := schema_mistake(one):
            return text
        if isinstance(one, RecursionError | ValueError) and any(name.startswith("yaml.") for name in _modules(one)):
            return f"{_config_dir(arguments) or 'the configuration'}: not readable as YAML: {first_line(one)}"
        if isinstance(one, RecursionError) and mode(_modules(one)).startswith("hydra."):
            return f"{_config_dir(arguments) or 'the configuration'}: the `defaults` of a file lead back to that file"
    said, cause = first_line(error), first_line(chain[-1])
    for argument in arguments:
        key = named(argument)
        if argument[0] == "+" and re.match(rf"(Could not append .* '|Multiple values for ){re.escape(key)}\b", said):
            return f"{argument}: {key} has a value already; leave out the +"
    groups = [argument for argument in arguments if "=" in argument and "." not in argument.partition("=")[0]]
    if groups and isinstance(error, TypeError | ValueError) and _modules(error)[-1].startswith("hydra."):  # group=[1]
        needed = "a group needs the name of a choice, such as none"
        needed = "--cfg shows one job, with one value for each key" if "--cfg" in arguments else needed
        return f"cannot read the command line: {needed}: {' '.join(groups)}"
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


def _modules(error: BaseException) -> list[str]:
    """Return the modules that an error has come through, from the outermost on."""
    return [str(frame.f_globals["__name__"]) for frame, _ in traceback.walk_tb(error.__traceback__)]


def _quoted(argument: str) -> str:
    """Return an argument whose value survives both the shell and Hydra."""
    key, _, value = argument.partition("=")
    text = value.replace('"', '\\"')
    return shlex.quote(f'{key}="{text}"')


def _no_such_choice(path: str, options: Iterable[str], arguments: Sequence[str]) -> str:
    group, _, choice = path.removesuffix(".yaml").rpartition("/")
    known = list(options)
    if group.partition("/")[0] == "ablation":
        choice, known = path.partition("/")[2].removesuffix(".yaml"), [*known, *ablation_choices()]
        group = "ablation"
        if hint := _where_it_is(choice, arguments):
            return f"ablation={choice}: there is no such choice, but {hint}"
    if (group == "hydra/launcher" and choice in LAUNCHERS) or (group, choice) == ("hydra/sweeper", "optuna"):
        return f"{group}={choice} is not installed: {how_to_install('sweeps')}"
    return f"{group or '--config-name'}={choice}: there is no such choice{did_you_mean(choice, known)}"


def _where_it_is(choice: str, arguments: Sequence[str]) -> str | None:
    """Say how to name the folder of an ablation's file that Hydra has not found; None if there is no such file."""
    for file in _own_files(f"ablation/{choice}"):
        return f"{file} exists: give --config-dir {file.parts[0]}"
    given = _config_dir(arguments)
    if given and (file := given / f"{choice}.yaml") in given.glob("*.yaml"):
        return f"{from_here(file)} exists: --config-dir must name the folder that holds ablation/"
    return None


def _without_header(choice: str, arguments: Sequence[str]) -> str:
    """Say what is missing in a file such as `ablation/mine`, which Hydra has read as a part of a key `ablation`."""
    given, name = _config_dir(arguments), f"{choice}.yaml"
    files = [given / name] if given and (given / name).is_file() else _own_files(choice)
    texts = {file: file.read_text("utf-8", "replace") for file in files}
    file = next((file for file, text in texts.items() if not text.startswith("# @package")), Path(name))
    text = texts.get(file, name)
    why = "it is empty; " if not text.strip() else "it begins with a byte order mark; " if text[0] == "\ufeff" else ""
    return f'{from_here(file)}: {why}its first line must be "# @package _global_"'


def _own_files(choice: str) -> list[Path]:
    """Return the files of a choice such as `ablation/mine` in the folders here that `--config-dir` could name."""
    wanted = Path(f"{choice}.yaml").parts
    return [file for file in sorted(Path().glob("*/*/**/*.yaml")) if file.parts[1:] == wanted]


def _holding(content: bytes, arguments: Sequence[str]) -> Path | None:
    """Return the configuration file that holds these bytes, of which the error of reading it does not tell."""
    found = re.findall(r"file://([^],'\"]+)", " ".join(arguments))
    folders = [*map(Path, found), *filter(None, [_config_dir(arguments)]), CONF, ABLATIONS]
    files = (file for folder in folders for file in sorted(folder.glob("**/*.yaml")) if file.is_file())
    return next((file for file in files if content in file.read_bytes()), None)


def _config_dir(arguments: Sequence[str]) -> Path | None:
    for word, after in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        if option in ("--config-dir", "-cd"):
            return Path(value if equals else after)
    return None


def expanded(arguments: list[str], loader: ConfigLoader, search_path: list[str]) -> list[str]:
    """Replace each pattern in a list of choices by the choices that it matches.

    Hydra itself knows a pattern only alone and for one folder: `glob(*)`, but not `none,glob(source/*)`.
    """
    lines = []
    choices_of = cache(partial(_choices, loader=loader, search_path=search_path))
    for override in OverridesParser.create(loader).parse_overrides(arguments):
        line, value = str(override.input_line), override.value()
        items = [value] if isinstance(value, Glob) else list(getattr(value, "list", []))
        if any(isinstance(item, Glob) for item in items):
            choices = choices_of(override.key_or_group)
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
