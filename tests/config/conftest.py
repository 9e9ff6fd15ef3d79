"""What the configuration's tests share: command lines as jobs, and a look at trees that is not the code's own."""

from functools import cache
from typing import Any

import pytest

from alexnet.config.command_line import expand
from alexnet.config.compose import register
from alexnet.config.job import Job, check


@pytest.fixture(scope="session", autouse=True)
def registered() -> None:
    register()


@cache
def job(*arguments: str) -> Job:
    """The one job of a command line."""
    (overrides,) = expand(list(arguments), sweep=False)
    return check(overrides)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every value of a tree by its dotted path; lists and empty mappings are values."""
    if not isinstance(tree, dict) or not tree:
        return {".".join(path): tree}
    return {key: leaf for name, node in tree.items() for key, leaf in leaves(node, (*path, name)).items()}
