"""The pages of reference that are generated: of the configuration from the schema and conf/, of the commands from their
own help."""

import ast
import contextlib
import inspect
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints
from unittest import mock

from alexnet.commands.main import parser
from alexnet.config import schema, values
from alexnet.config.compose import CONF, NEEDED, compose_config, default_choices, plain_values
from alexnet.config.fields import BOUNDS
from alexnet.config.schema import Config, flatten

NEW_LINE = re.compile(r"\n(?=(?:Reproduces|Ours|Command|Cluster|Time):)|(?<=\n)(Command:.*)\n")
"""Where the head of a file begins a new line: before a label, and behind a command."""
SETTING = re.compile(r"^( *)(?:- )?(?:override /)?([\w+/]+):(?: (.*?))?(?: +#(?: (.*))?)?$")
"""A line of YAML that sets a value: indentation, key, value, comment."""

CONFIGURATION = """\
# Configuration

Every value of a run. This page is made from the schema and from the comments of `conf/` when the site is built. A
misspelled key and a value outside of its limits are refused, with the nearest name.

```
python train.py lrn=none pooling=non_overlapping     # another choice of a group
python train.py lrn.k=1 optimizer.lr=0.02            # single values
python train.py 'depth.remove=[3]'                   # a list, quoted for the shell
python train.py +optimizer.lr_multipliers.conv1=0.1  # + adds a name to a mapping
python train.py -m lrn=paper,none seed=0,1,2         # several values: a sweep of all combinations
python train.py lrn=none --cfg job                   # shows the configuration, runs nothing
```

What is named later has the last word: the defaults below, then `recipe=`, `experiment=` (`demo`, unless another is
chosen), `debug=`, `+ablation=`, then single values. With `--config-dir mine`, a file `mine/GROUP/NAME.yaml` is a choice
too.
"""


@dataclass(frozen=True)
class Setting:
    """A line of a file of `conf/`."""

    key: str
    """With the keys above it, `data.root`."""
    value: str
    comment: str


@dataclass(frozen=True)
class Leaf:
    """A value of the schema."""

    key: str
    type: Any
    limits: dict[str, Any]
    meaning: str


def configuration_page() -> str:
    """Write the page of all values and choices."""
    groups: dict[str, list[Leaf]] = {}
    for leaf in leaves():
        groups.setdefault(leaf.key.partition(".")[0] if "." in leaf.key else "", []).append(leaf)
    parts = [CONFIGURATION]
    for group in dict.fromkeys([*default_choices(), *groups]):
        if group and (tables := [*_choices(group), *_values(groups.get(group, []))]):
            parts += [f"## {group}\n", _purpose(group), *tables]
    return "\n".join([*parts, "## Without a group\n", *_values(groups[""])])


def leaves(node: Any = Config, prefix: str = "") -> Iterator[Leaf]:
    """Yield every value of the schema, in its order."""
    hints = get_type_hints(node)
    for entry in fields(node):
        key, hint = f"{prefix}{entry.name}", hints[entry.name]
        if is_dataclass(hint):
            yield from leaves(hint, f"{key}.")
        else:
            yield Leaf(key, hint, dict(entry.metadata), meanings().get((node.__name__, entry.name), ""))


@cache
def meanings() -> dict[tuple[str, str], str]:
    """Return what the schema says of its fields, by class and name: the comment behind one, or the string below it."""
    found = {}
    for module in (values, schema):
        source = inspect.getsource(module)
        classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
        for owner, entry, below in ((one, *pair) for one in classes for pair in pairwise([*one.body, None])):
            if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                behind = source.splitlines()[(entry.end_lineno or 0) - 1][entry.end_col_offset or 0 :].strip()
                text = behind.removeprefix("#").strip()
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                    text = " ".join(str(below.value.value).split())
                found[owner.name, entry.target.id] = text
    return found


@cache
def defaults() -> dict[str, Any]:
    """Return the value of each key with the default choice of every group, before an experiment changes any."""
    return flatten(plain_values(compose_config(["~experiment"]))) | {"experiment": default_choices()["experiment"]}


def read_choice(file: Path) -> tuple[str, list[Setting]]:
    """Return the comment at the head of a file of `conf/`, and its lines."""
    head: list[str] = []
    settings: list[Setting] = []
    above: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            head += [line[1:].strip()] if not settings and "@package" not in line else []
        elif (match := re.match(r" +# (.*)", line)) and settings:  # the comment above continues
            settings[-1] = Setting(settings[-1].key, settings[-1].value, f"{settings[-1].comment} {match[1]}")
        elif (match := re.match(r" +- (\w+)$", line)) is not None:
            settings.append(Setting("defaults", match[1], ""))
        elif (match := SETTING.match(line)) is not None:
            above = [*(one for one in above if one[0] < len(match[1])), (len(match[1]), match[2])]
            key = ".".join(name for _, name in above).removeprefix("defaults.")
            settings.append(Setting(key, match[3] or "", match[4] or ""))
    return "\n".join(head), settings


def _purpose(group: str) -> str:
    kind = get_type_hints(Config).get(group)
    return f"{_text(inspect.getdoc(kind) or '')}\n" if is_dataclass(kind) else ""


def _choices(group: str) -> list[str]:
    usual = default_choices().get(group)
    rows = []
    for file in sorted((CONF / group).glob("*.yaml"), key=lambda file: (file.stem != usual, file)):
        head, settings = read_choice(file)
        name, sets = f"`{group}={file.stem}`", "<br>".join(filter(None, map(_sets, settings)))
        if file.stem == usual:
            name, sets = f"{name}, the default", "the defaults below" if _purpose(group) else sets
        rows.append([name, " ".join(NEW_LINE.sub(r"\1<br>", _text(head)).split("\n")), sets])
    return _table(("Choice", "What it is", "What it sets"), rows)


def _sets(setting: Setting) -> str:
    if setting.key == "defaults" and setting.value:
        return f"as `{_base(setting)}`, and:"
    reason = f": {_text(setting.comment)}" if setting.comment else ""
    return f"`{setting.key}={setting.value}`{reason}" if setting.value else ""


def _values(found: list[Leaf]) -> list[str]:
    rows = []
    for leaf in found:
        said = (leaf.meaning, _reasons().get(leaf.key, ""))
        default = defaults().get(leaf.key, "none")
        text = default if isinstance(default, str) and default.isidentifier() else json.dumps(default)
        rows.append([f"`{leaf.key}`", _limits(leaf), f"`{text}`", "<br>".join(_text(one) for one in said if one)])
    return _table(("Value", "Type and limits", "Default", "Meaning, and the reason of the default"), rows)


@cache
def _reasons() -> dict[str, str]:
    """Return what `conf/` says of its default values, by key."""
    found = {one.key: one.comment for one in read_choice(CONF / "config.yaml")[1]}
    for group, choice in default_choices().items():
        for one in _lines(group, choice):
            if one.comment:
                found.setdefault(f"{group}.{one.key}", one.comment)
    return found


def _lines(group: str, choice: str) -> Iterator[Setting]:
    """Yield the lines of a choice, then of the one that it starts from."""
    if (file := CONF / group / f"{choice}.yaml").is_file():
        settings = read_choice(file)[1]
        yield from settings
        for one in settings:
            if one.key == "defaults":
                yield from _lines(group, _base(one))


def _base(defaults_list: Setting) -> str:
    """Return the choice that a file starts from."""
    return defaults_list.value.strip("[]").partition(",")[0]


def _limits(leaf: Leaf) -> str:
    words = [NEEDED.get(leaf.type, "a mapping of names to values")]
    for name, limit in leaf.limits.items():
        if name in BOUNDS:
            words.append(f"{BOUNDS[name][1]} {limit:,}")
        elif name == "choices":
            words.append(f"one of {', '.join(f'`{choice}`' for choice in limit)}")
        elif name == "layers":
            words.append(f"of the layers {', '.join(map(str, limit))}")
        elif name == "odd":
            words.append("odd")
    return ", ".join(words)


def commands_page() -> str:
    """Write the page of all commands, each with its own help."""
    with mock.patch.dict(os.environ, COLUMNS="88"):  # how wide argparse writes
        overview = parser().format_help()
        names = re.findall(r"^    (?!train )([a-z][\w-]*)", overview, re.MULTILINE)
        helps = [f"## alexnet {name}\n\n```\n{_help(name)}```\n" for name in names]
    parts = [
        "# Command line\n",
        "`alexnet train`, or `python train.py` in a checkout, takes values of the [configuration](configuration.md).",
        f"The other commands:\n\n```\n{overview}```\n",
    ]
    return "\n".join([*parts, *helps])


def _help(command: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        parser().parse_args([command, "--help"])
    return printed.getvalue()


def _text(text: str) -> str:
    """Escape what means something in a cell of a Markdown table, outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    escaped = (re.sub(r"([\\*_\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2])
    code = (*parts[1::2], "")
    return "".join(f"{one}{two}" for one, two in zip(escaped, code, strict=True)).replace("|", "\\|")


def _table(header: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(header)
    return ["\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)) + "\n"] if rows else []
